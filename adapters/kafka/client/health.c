// Health of a cluster: the circuit breaker over what is sent, probes, latency, the last error.
//
// The probe asks for the settings of a topic that need not exist, and that the user may not be
// allowed to see: every answer of a broker, a refusal too, is a sign of life. It goes by the admin
// handle, so it does not wait behind messages.
//
// Invariant: what health_admit() admits is given back by health_ended(), message by message. What
// it does not do: hold back messages; the sender asks, and refuses.

#include "adapters/kafka/client/health.h"

#include "adapters/breaker.h"
#include "adapters/kafka/client/admin_handle.h"
#include "adapters/kafka/client/client.h"
#include "adapters/kafka/client/cluster_info.h"

#include <errno.h>

#define PROBE_MS    1000
#define PROBE_TOPIC "mqp.sign-of-life"

struct health {
	struct adapter *adapter;
	struct admin_handle_call probe;
	struct admin_handle_entered probing; // while the probe is under way
	pthread_mutex_t lock;                // everything below
	struct breaker breaker;
	bool opened;         // there is a client to probe with
	bool answered;       // ever
	bool failing;        // since the last sign of life
	uint64_t latency_ns; // of the last sends; 0: none yet
};

int health_start(struct adapter *adapter)
{
	struct health *health = calloc(1, sizeof *health);

	if (!health)
		return -ENOMEM;
	health->adapter = adapter;
	pthread_mutex_init(&health->lock, NULL);
	adapter->health = health;
	return 0;
}

void health_stop(struct health *health)
{
	if (!health)
		return;
	pthread_mutex_destroy(&health->lock);
	free(health);
}

// The codes of brokers are positive, those of the client itself negative; but that a broker cannot
// describe a topic is what the broker said.
static bool is_alive(rd_kafka_resp_err_t error)
{
	return error >= RD_KAFKA_RESP_ERR_NO_ERROR ||
	       error == RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE;
}

// ---- probing

static void on_probe(struct admin_handle_call *call, rd_kafka_event_t *event);

static void probe_start(struct health *health)
{
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

// A sign of life. With the lock; true: the failure before it is over.
static bool note_life(struct health *health)
{
	bool failing = health->failing;

	health->answered = true;
	health->failing = false;
	return failing;
}

static void circuit_log(struct health *health, uint8_t before, uint8_t now)
{
	if ((before == BREAKER_CLOSED) == (now == BREAKER_CLOSED))
		return;
	if (now == BREAKER_CLOSED)
		log_warn(health->adapter->log, "KAFKA-CIRCUIT",
			 "the cluster answers again: messages are sent to it");
	else
		log_warn(health->adapter->log, "KAFKA-CIRCUIT",
			 "the cluster does not answer: messages for it are refused at once");
}

static void on_probe(struct admin_handle_call *call, rd_kafka_event_t *event)
{
	struct health *health = CONTAINER_OF(call, struct health, probe);
	bool alive = is_alive(rd_kafka_event_error(event)), again, over;
	uint8_t before, now;

	admin_handle_leave(&health->probing);
	pthread_mutex_lock(&health->lock);
	before = health->breaker.circuit;
	again = breaker_probed(&health->breaker, alive, clock_now_ns());
	now = health->breaker.circuit;
	over = alive && note_life(health);
	pthread_mutex_unlock(&health->lock);
	if (over)
		last_error_clear(&health->adapter->last_error);
	circuit_log(health, before, now);
	if (again)
		probe_start(health);
}

// A cluster that is not there is told before all clients have been made: the doubt waits for them.
void health_opened(struct adapter *adapter)
{
	struct health *health = adapter->health;
	bool probe;

	pthread_mutex_lock(&health->lock);
	health->opened = true;
	probe = health->failing && breaker_doubt(&health->breaker, clock_now_ns());
	pthread_mutex_unlock(&health->lock);
	if (probe)
		probe_start(health);
}

// ---- what is sent and what comes back

bool health_admit(struct adapter *adapter, uint32_t count)
{
	struct health *health = adapter->health;
	bool probe, admitted;

	pthread_mutex_lock(&health->lock);
	admitted = breaker_admit(&health->breaker, count, clock_now_ns(), &probe);
	pthread_mutex_unlock(&health->lock);
	if (probe)
		probe_start(health);
	return admitted;
}

void health_ended(struct adapter *adapter, uint64_t count, bool alive, uint64_t latency_ns)
{
	struct health *health = adapter->health;
	uint8_t before, now;
	bool over;

	pthread_mutex_lock(&health->lock);
	before = health->breaker.circuit;
	breaker_ended(&health->breaker, count, alive, clock_now_ns());
	now = health->breaker.circuit;
	over = alive && note_life(health);
	if (alive && latency_ns)
		health->latency_ns =
			health->latency_ns
				? health->latency_ns - health->latency_ns / 8 + latency_ns / 8
				: latency_ns;
	pthread_mutex_unlock(&health->lock);
	if (over)
		last_error_clear(&adapter->last_error);
	circuit_log(health, before, now);
}

void health_look(struct adapter *adapter)
{
	struct health *health = adapter->health;
	bool probe;

	pthread_mutex_lock(&health->lock);
	probe = health->opened && breaker_look(&health->breaker, clock_now_ns());
	pthread_mutex_unlock(&health->lock);
	if (probe)
		probe_start(health);
}

uint64_t health_under_way(struct adapter *adapter)
{
	struct health *health = adapter->health;
	uint64_t count;

	pthread_mutex_lock(&health->lock);
	count = health->breaker.waiting;
	pthread_mutex_unlock(&health->lock);
	return count;
}

void health_error(struct adapter *adapter, rd_kafka_event_t *event)
{
	const char *text = rd_kafka_event_error_string(event);
	struct health *health = adapter->health;
	bool probe;

	if (last_error_note(&adapter->last_error, rd_kafka_event_error(event), text,
			    clock_now_ns()))
		log_warn(adapter->log, "KAFKA-CLUSTER", "%s", text);
	pthread_mutex_lock(&health->lock);
	health->failing = true;
	probe = health->opened && breaker_doubt(&health->breaker, clock_now_ns());
	pthread_mutex_unlock(&health->lock);
	if (probe)
		probe_start(health);
}

void health_state(struct adapter *adapter, struct adapter_state *ret)
{
	static const uint8_t circuits[] = {[BREAKER_CLOSED] = CIRCUIT_CLOSED,
					   [BREAKER_HALF_OPEN] = CIRCUIT_HALF_OPEN,
					   [BREAKER_OPEN] = CIRCUIT_OPEN};
	struct cluster_info info = cluster_info_get(adapter);
	struct health *health = adapter->health;
	bool answered, down;

	*ret = (struct adapter_state){.known = info.known};
	pthread_mutex_lock(&health->lock);
	answered = health->answered || info.known;
	down = health->breaker.circuit != BREAKER_CLOSED;
	ret->circuit = circuits[health->breaker.circuit];
	ret->latency_us = health->latency_ns ? health->latency_ns / 1000 : info.latency_us;
	pthread_mutex_unlock(&health->lock);
	if (!last_error_since(&adapter->last_error, 0, NULL, ret->error, sizeof ret->error) && down)
		snprintf(ret->error, sizeof ret->error, "the cluster does not answer");
	ret->health = down            ? ADAPTER_DOWN
		      : ret->error[0] ? ADAPTER_DEGRADED
		      : answered      ? ADAPTER_READY
				      : ADAPTER_CONNECTING;
}
