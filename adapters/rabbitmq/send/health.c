// Health of a cluster: the circuit breaker over what is sent, probes, latency, the last error.
//
// The probe looks on the ask link for an exchange that every vhost has: every answer, a refusal
// too, is a sign of life. It does not wait behind messages, and passes while publishers are
// blocked.
//
// What it does not do: hold back messages (the sender asks, and refuses); count them (circuit.c).

#include "adapters/rabbitmq/send/health.h"

#include "adapters/circuit.h"
#include "adapters/rabbitmq/ask/ask.h"
#include "core/base/clock.h"

#include <errno.h>
#include <stdio.h>

#define PROBE_NS       (1 * S_NS)
#define PROBE_EXCHANGE "amq.fanout"
#define TELL_NS        (60 * S_NS) // between two lines in the log that say the same

struct rabbitmq_health {
	struct adapter *adapter;
	struct circuit circuit;
	struct rabbitmq_ask probe;
	struct rabbitmq_step probe_step;
	pthread_mutex_t lock; // everything below
	uint64_t told_ns;     // when the error was last in the log
	char error[256];      // "": none
	char blocked[128];    // why the broker takes no messages; "": it does
};

// ---- probing

// Whether such an answer comes from the cluster, and not from our side of it.
static bool is_alive(enum code code)
{
	return code != CODE_BACKEND_DOWN && code != CODE_TIMEOUT && code != CODE_OVERLOADED;
}

static void on_probe(struct rabbitmq_ask *ask, enum code code, const char *text);

static void probe_start(struct circuit *circuit)
{
	struct rabbitmq_health *health = CONTAINER_OF(circuit, struct rabbitmq_health, circuit);

	health->probe_step = (struct rabbitmq_step){
		.verb = RABBITMQ_EXCHANGE_LOOK, .may_miss = true, .name = PROBE_EXCHANGE};
	health->probe = (struct rabbitmq_ask){.adapter = health->adapter,
					      .steps = &health->probe_step,
					      .count = 1,
					      .deadline_ns = clock_now_ns() + PROBE_NS,
					      .done = on_probe};
	rabbitmq_ask_run(&health->probe);
}

// A login that is refused ends the question with the broker's words, and is no answer to it.
static void on_probe(struct rabbitmq_ask *ask, enum code code, const char *text)
{
	struct rabbitmq_health *health = CONTAINER_OF(ask, struct rabbitmq_health, probe);

	if (code != CODE_SHUTTING_DOWN) // else no probe any more
		circuit_probed(&health->circuit,
			       is_alive(code) && rabbitmq_link_is_up(health->adapter->ask));
}

static void on_recovered(struct circuit *circuit)
{
	struct rabbitmq_health *health = CONTAINER_OF(circuit, struct rabbitmq_health, circuit);

	pthread_mutex_lock(&health->lock);
	health->error[0] = '\0';
	pthread_mutex_unlock(&health->lock);
}

int rabbitmq_health_start(struct adapter *adapter)
{
	static const struct circuit_ops ops = {
		.probe = probe_start, .recovered = on_recovered, .event = "RABBITMQ-CIRCUIT"};
	struct rabbitmq_health *health = calloc(1, sizeof *health);

	if (!health)
		return -ENOMEM;
	health->adapter = adapter;
	circuit_init(&health->circuit, &ops, adapter->log);
	pthread_mutex_init(&health->lock, NULL);
	adapter->health = health;
	return 0;
}

void rabbitmq_health_stop(struct adapter *adapter)
{
	pthread_mutex_destroy(&adapter->health->lock);
	circuit_deinit(&adapter->health->circuit);
	free(adapter->health);
	adapter->health = NULL;
}

void rabbitmq_health_opened(struct adapter *adapter)
{
	circuit_opened(&adapter->health->circuit);
}

// ---- what is sent and what comes back

bool rabbitmq_health_admit(struct adapter *adapter, uint32_t count)
{
	return circuit_admit(&adapter->health->circuit, count);
}

void rabbitmq_health_ended(struct adapter *adapter, uint64_t count, bool alive, uint64_t latency_ns)
{
	circuit_ended(&adapter->health->circuit, count, alive, latency_ns);
}

void rabbitmq_health_look(struct adapter *adapter)
{
	circuit_look(&adapter->health->circuit);
}

// ---- what the links tell

// With the lock: whether it is worth a line in the log.
static bool error_note(struct rabbitmq_health *health, const char *text, uint64_t now_ns)
{
	bool news = strncmp(health->error, text, sizeof health->error - 1) != 0 &&
		    (health->error[0] == '\0' || now_ns - health->told_ns >= S_NS);

	news = news || now_ns - health->told_ns >= TELL_NS;
	snprintf(health->error, sizeof health->error, "%s", text);
	if (news)
		health->told_ns = now_ns;
	return news;
}

// The words come before the failure: what is over clears them.
void rabbitmq_health_note(struct adapter *adapter, enum code code, const char *text)
{
	struct rabbitmq_health *health = adapter->health;
	bool news;

	if (code == CODE_OK) {
		circuit_ended(&health->circuit, 0, true, 0);
		return;
	}
	if (!text)
		text = code_sentence(code);
	pthread_mutex_lock(&health->lock);
	news = error_note(health, text, clock_now_ns());
	pthread_mutex_unlock(&health->lock);
	if (news)
		log_warn(adapter->log, "RABBITMQ-CLUSTER", "%s", text);
	circuit_failed(&health->circuit);
}

void rabbitmq_health_blocked(struct adapter *adapter, const char *reason)
{
	struct rabbitmq_health *health = adapter->health;

	pthread_mutex_lock(&health->lock);
	snprintf(health->blocked, sizeof health->blocked, "%s", reason ? reason : "");
	if (reason && !reason[0])
		snprintf(health->blocked, sizeof health->blocked, "no reason given");
	pthread_mutex_unlock(&health->lock);
	if (reason)
		log_warn(adapter->log, "RABBITMQ-BLOCKED",
			 "the broker takes no messages until its alarm ends: %s", reason);
	else
		log_warn(adapter->log, "RABBITMQ-BLOCKED", "the broker takes messages again");
}

void rabbitmq_health_state(struct adapter *adapter, struct adapter_state *ret)
{
	struct rabbitmq_health *health = adapter->health;

	*ret = (struct adapter_state){0};
	ret->known = circuit_state(&health->circuit, ret);
	pthread_mutex_lock(&health->lock);
	if (health->error[0])
		snprintf(ret->error, sizeof ret->error, "%s", health->error);
	else if (ret->circuit == CIRCUIT_CLOSED && health->blocked[0])
		snprintf(ret->error, sizeof ret->error,
			 "the broker takes no messages until its alarm ends: %s", health->blocked);
	pthread_mutex_unlock(&health->lock);
	circuit_health(ret, ret->known);
}
