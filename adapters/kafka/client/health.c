// Health of a cluster: the circuit breaker over what is sent, probes, latency, the last error.
//
// The probe asks for the settings of a topic that need not exist, and that the user may not be
// allowed to see: every answer of a broker, a refusal too, is a sign of life. It goes by the admin
// handle, so it does not wait behind messages.
//
// What it does not do: hold back messages (the sender asks, and refuses); count them (circuit.c).

#include "adapters/kafka/client/health.h"

#include "adapters/circuit.h"
#include "adapters/kafka/client/admin_handle.h"
#include "adapters/kafka/client/client.h"
#include "adapters/kafka/client/cluster_info.h"

#include <errno.h>

#define PROBE_MS    1000
#define PROBE_TOPIC "mqp.sign-of-life"

struct health {
	struct adapter *adapter;
	struct circuit circuit;
	struct admin_handle_call probe;
	struct admin_handle_entered probing; // while the probe is under way
};

// The codes of brokers are positive, those of the client itself negative; but that a broker cannot
// describe a topic is what the broker said.
static bool is_alive(rd_kafka_resp_err_t error)
{
	return error >= RD_KAFKA_RESP_ERR_NO_ERROR ||
	       error == RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE;
}

// ---- probing

static void on_probe(struct admin_handle_call *call, rd_kafka_event_t *event);

static void probe_start(struct circuit *circuit)
{
	struct health *health = CONTAINER_OF(circuit, struct health, circuit);
	struct admin_handle_entered entered = admin_handle_enter(health->adapter);
	struct client *client = admin_handle_client(entered.admin);
	rd_kafka_ConfigResource_t *topic =
		rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, PROBE_TOPIC);
	rd_kafka_AdminOptions_t *options =
		rd_kafka_AdminOptions_new(entered.handle, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
	char text[128];

	health->probe.answered = on_probe;
	health->probing = entered;
	rd_kafka_AdminOptions_set_request_timeout(options, PROBE_MS, text, sizeof text);
	rd_kafka_AdminOptions_set_opaque(options, &health->probe);
	rd_kafka_DescribeConfigs(entered.handle, &topic, 1, options, client_queue(client));
	rd_kafka_AdminOptions_destroy(options);
	rd_kafka_ConfigResource_destroy(topic);
}

static void on_probe(struct admin_handle_call *call, rd_kafka_event_t *event)
{
	struct health *health = CONTAINER_OF(call, struct health, probe);
	bool alive = is_alive(rd_kafka_event_error(event));

	admin_handle_leave(&health->probing);
	circuit_probed(&health->circuit, alive);
}

static void on_recovered(struct circuit *circuit)
{
	struct health *health = CONTAINER_OF(circuit, struct health, circuit);

	last_error_clear(&health->adapter->last_error);
}

int health_start(struct adapter *adapter)
{
	static const struct circuit_ops ops = {
		.probe = probe_start, .recovered = on_recovered, .event = "KAFKA-CIRCUIT"};
	struct health *health = calloc(1, sizeof *health);

	if (!health)
		return -ENOMEM;
	health->adapter = adapter;
	circuit_init(&health->circuit, &ops, adapter->log);
	adapter->health = health;
	return 0;
}

void health_stop(struct health *health)
{
	if (!health)
		return;
	circuit_deinit(&health->circuit);
	free(health);
}

void health_opened(struct adapter *adapter)
{
	circuit_opened(&adapter->health->circuit);
}

// ---- what is sent and what comes back

bool health_admit(struct adapter *adapter, uint32_t count)
{
	return circuit_admit(&adapter->health->circuit, count);
}

void health_ended(struct adapter *adapter, uint64_t count, bool alive, uint64_t latency_ns)
{
	circuit_ended(&adapter->health->circuit, count, alive, latency_ns);
}

void health_look(struct adapter *adapter)
{
	circuit_look(&adapter->health->circuit);
}

uint64_t health_under_way(struct adapter *adapter)
{
	return circuit_under_way(&adapter->health->circuit);
}

// The words come before the failure: what is over clears them.
void health_error(struct adapter *adapter, rd_kafka_event_t *event)
{
	const char *text = rd_kafka_event_error_string(event);

	if (last_error_note(&adapter->last_error, rd_kafka_event_error(event), text,
			    clock_now_ns()))
		log_warn(adapter->log, "KAFKA-CLUSTER", "%s", text);
	circuit_failed(&adapter->health->circuit);
}

void health_state(struct adapter *adapter, struct adapter_state *ret)
{
	struct cluster_info info = cluster_info_get(adapter);
	bool answered;

	*ret = (struct adapter_state){.known = info.known};
	answered = circuit_state(&adapter->health->circuit, ret) || info.known;
	if (!ret->latency_us)
		ret->latency_us = info.latency_us;
	last_error_since(&adapter->last_error, 0, NULL, ret->error, sizeof ret->error);
	circuit_health(ret, answered);
}
