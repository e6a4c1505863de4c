// How the cluster is doing: the circuit breaker of its sends, their latency, what the links met
// last. All calls @thread any.
#pragma once

#include "adapters/rabbitmq/link/rabbitmq_adapter.h"

int rabbitmq_health_start(struct adapter *adapter);
void rabbitmq_health_opened(struct adapter *adapter); // requests can be asked
void rabbitmq_health_stop(struct adapter *adapter);   // nothing of the adapter runs any more

// May `count` messages be sent? Those that may have ended when rabbitmq_health_ended() says so.
bool rabbitmq_health_admit(struct adapter *adapter, uint32_t count);
// `alive`: by an answer of the cluster, whatever it says. latency_ns: of the send; 0: unknown.
void rabbitmq_health_ended(struct adapter *adapter, uint64_t count, bool alive,
			   uint64_t latency_ns);
void rabbitmq_health_look(struct adapter *adapter); // about once a second
// What a link met: code OK clears it.
void rabbitmq_health_note(struct adapter *adapter, enum code code, const char *text);
void rabbitmq_health_blocked(struct adapter *adapter, const char *reason); // NULL: no more
// The slot of the adapter.
void rabbitmq_health_state(struct adapter *adapter, struct adapter_state *ret);
