// How the cluster is doing: the circuit breaker of its sends, their latency, errors of its clients.
// All calls @thread any.
#pragma once

#include "adapters/kafka/client/kafka_adapter.h"

int health_start(struct adapter *adapter);
void health_opened(struct adapter *adapter); // every client has been made
void health_stop(struct health *health);     // accepts NULL; no client of the adapter runs any more

// May `count` messages be sent, rows of retry stores among them? Those that may have ended when
// health_ended() says so.
bool health_admit(struct adapter *adapter, uint32_t count);
// `alive`: by an answer of the cluster, whatever it says. latency_ns: of the send; 0: unknown.
void health_ended(struct adapter *adapter, uint64_t count, bool alive, uint64_t latency_ns);
void health_look(struct adapter *adapter);          // about once a second
uint64_t health_under_way(struct adapter *adapter); // messages admitted and not ended
void health_error(struct adapter *adapter, rd_kafka_event_t *event); // of a client as a whole
// The slot of the adapter: health, circuit, latency and the last error. `known` once a broker has
// told what cluster_info_capabilities() depends on: D2 and D3 need more than one node.
void health_state(struct adapter *adapter, struct adapter_state *ret);
