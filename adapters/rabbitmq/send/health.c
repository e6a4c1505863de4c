// Health of a cluster: the circuit breaker over what is sent, probes, latency, the last error.
//
// The probe looks on the ask link for an exchange that every vhost has: every answer, a refusal
// too, is a sign of life. It does not wait behind messages, and passes while publishers are
// blocked.
//
// Invariant: what rabbitmq_health_admit() admits is given back by rabbitmq_health_ended(), message
// by message. What it does not do: hold back messages; the sender asks, and refuses.

#include "adapters/rabbitmq/send/health.h"

#include "adapters/breaker.h"
#include "adapters/rabbitmq/ask/ask.h"
#include "core/base/clock.h"

#include <errno.h>
#include <stdio.h>

#define PROBE_NS       (1 * S_NS)
#define PROBE_EXCHANGE "amq.fanout"
#define TELL_NS        (60 * S_NS) // between two lines in the log that say the same

struct rabbitmq_health {
	struct adapter *adapter;
	struct rabbitmq_ask probe;
	struct rabbitmq_step probe_step;
	pthread_mutex_t lock; // everything below
	struct breaker breaker;
	bool opened;         // there is something to probe with
	bool answered;       // ever
	uint64_t latency_ns; // of the last sends; 0: none yet
	uint64_t told_ns;    // when the error was last in the log
	char error[256];     // "": none
	char blocked[128];   // why the broker takes no messages; "": it does
};

int rabbitmq_health_start(struct adapter *adapter)
{
	struct rabbitmq_health *health = calloc(1, sizeof *health);

	if (!health)
		return -ENOMEM;
	health->adapter = adapter;
	pthread_mutex_init(&health->lock, NULL);
	adapter->health = health;
	return 0;
}

void rabbitmq_health_stop(struct adapter *adapter)
{
	pthread_mutex_destroy(&adapter->health->lock);
	free(adapter->health);
	adapter->health = NULL;
}

// ---- probing

// Whether such an answer comes from the cluster, and not from our side of it.
static bool is_alive(enum code code)
{
	return code != CODE_BACKEND_DOWN && code != CODE_TIMEOUT && code != CODE_OVERLOADED;
}

static void on_probe(struct rabbitmq_ask *ask, enum code code, const char *text);

static void probe_start(struct rabbitmq_health *health)
{
	health->probe_step = (struct rabbitmq_step){
		.verb = RABBITMQ_EXCHANGE_LOOK, .may_miss = true, .name = PROBE_EXCHANGE};
	health->probe = (struct rabbitmq_ask){.adapter = health->adapter,
					      .steps = &health->probe_step,
					      .count = 1,
					      .deadline_ns = clock_now_ns() + PROBE_NS,
					      .done = on_probe};
	rabbitmq_ask_run(&health->probe);
}

// A sign of life, with the lock: what was wrong is over.
static void note_life(struct rabbitmq_health *health)
{
	health->answered = true;
	health->error[0] = '\0';
}

static void circuit_log(struct rabbitmq_health *health, uint8_t before, uint8_t now)
{
	if ((before == BREAKER_CLOSED) == (now == BREAKER_CLOSED))
		return;
	if (now == BREAKER_CLOSED)
		log_warn(health->adapter->log, "RABBITMQ-CIRCUIT",
			 "the cluster answers again: messages are sent to it");
	else
		log_warn(health->adapter->log, "RABBITMQ-CIRCUIT",
			 "the cluster does not answer: messages for it are refused at once");
}

// A login that is refused ends the question with the broker's words, and is no answer to it.
static void on_probe(struct rabbitmq_ask *ask, enum code code, const char *text)
{
	struct rabbitmq_health *health = CONTAINER_OF(ask, struct rabbitmq_health, probe);
	bool alive = is_alive(code) && rabbitmq_link_is_up(health->adapter->ask), again;
	uint8_t before, now;

	if (code == CODE_SHUTTING_DOWN) // no probe any more
		return;
	pthread_mutex_lock(&health->lock);
	before = health->breaker.circuit;
	again = breaker_probed(&health->breaker, alive, clock_now_ns());
	now = health->breaker.circuit;
	if (alive)
		note_life(health);
	pthread_mutex_unlock(&health->lock);
	circuit_log(health, before, now);
	if (again)
		probe_start(health);
}

// Links tell what they meet while there is no probe yet: the doubt waits for it.
void rabbitmq_health_opened(struct adapter *adapter)
{
	struct rabbitmq_health *health = adapter->health;
	bool probe;

	pthread_mutex_lock(&health->lock);
	health->opened = true;
	probe = health->error[0] && breaker_doubt(&health->breaker, clock_now_ns());
	pthread_mutex_unlock(&health->lock);
	if (probe)
		probe_start(health);
}

// ---- what is sent and what comes back

bool rabbitmq_health_admit(struct adapter *adapter, uint32_t count)
{
	struct rabbitmq_health *health = adapter->health;
	bool probe, admitted;

	pthread_mutex_lock(&health->lock);
	admitted = breaker_admit(&health->breaker, count, clock_now_ns(), &probe);
	pthread_mutex_unlock(&health->lock);
	if (probe)
		probe_start(health);
	return admitted;
}

void rabbitmq_health_ended(struct adapter *adapter, uint64_t count, bool alive, uint64_t latency_ns)
{
	struct rabbitmq_health *health = adapter->health;
	uint8_t before, now;

	pthread_mutex_lock(&health->lock);
	before = health->breaker.circuit;
	breaker_ended(&health->breaker, count, alive, clock_now_ns());
	now = health->breaker.circuit;
	if (alive)
		note_life(health);
	if (alive && latency_ns)
		health->latency_ns =
			health->latency_ns
				? health->latency_ns - health->latency_ns / 8 + latency_ns / 8
				: latency_ns;
	pthread_mutex_unlock(&health->lock);
	circuit_log(health, before, now);
}

void rabbitmq_health_look(struct adapter *adapter)
{
	struct rabbitmq_health *health = adapter->health;
	bool probe;

	pthread_mutex_lock(&health->lock);
	probe = health->opened && breaker_look(&health->breaker, clock_now_ns());
	pthread_mutex_unlock(&health->lock);
	if (probe)
		probe_start(health);
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

void rabbitmq_health_note(struct adapter *adapter, enum code code, const char *text)
{
	struct rabbitmq_health *health = adapter->health;
	bool probe, news;

	if (code == CODE_OK) {
		rabbitmq_health_ended(adapter, 0, true, 0);
		return;
	}
	pthread_mutex_lock(&health->lock);
	news = error_note(health, text ? text : code_sentence(code), clock_now_ns());
	probe = health->opened && breaker_doubt(&health->breaker, clock_now_ns());
	pthread_mutex_unlock(&health->lock);
	if (news)
		log_warn(adapter->log, "RABBITMQ-CLUSTER", "%s", text ? text : code_sentence(code));
	if (probe)
		probe_start(health);
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
	static const uint8_t circuits[] = {[BREAKER_CLOSED] = CIRCUIT_CLOSED,
					   [BREAKER_HALF_OPEN] = CIRCUIT_HALF_OPEN,
					   [BREAKER_OPEN] = CIRCUIT_OPEN};
	struct rabbitmq_health *health = adapter->health;
	bool answered, down;

	*ret = (struct adapter_state){0};
	pthread_mutex_lock(&health->lock);
	answered = health->answered;
	ret->known = answered;
	down = health->breaker.circuit != BREAKER_CLOSED;
	ret->circuit = circuits[health->breaker.circuit];
	ret->latency_us = health->latency_ns / 1000;
	if (health->error[0])
		snprintf(ret->error, sizeof ret->error, "%s", health->error);
	else if (down)
		snprintf(ret->error, sizeof ret->error, "the cluster does not answer");
	else if (health->blocked[0])
		snprintf(ret->error, sizeof ret->error,
			 "the broker takes no messages until its alarm ends: %s", health->blocked);
	pthread_mutex_unlock(&health->lock);
	ret->health = down            ? ADAPTER_DOWN
		      : ret->error[0] ? ADAPTER_DEGRADED
		      : answered      ? ADAPTER_READY
				      : ADAPTER_CONNECTING;
}
