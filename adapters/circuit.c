// The breaker of breaker.h with a lock, a clock, and what its transitions lead to.
//
// Each call takes the lock, tells the breaker what happened, and does what follows from that
// without the lock: a probe, a line in the log.
//
// What it does not do: hold back messages (the sender asks, and refuses), or know how a cluster is
// probed.

#include "adapters/circuit.h"

#include <stdio.h>

// How much a send counts in the latency: an eighth.
#define LATENCY_SHARE 8

void circuit_init(struct circuit *circuit, const struct circuit_ops *ops, struct log_ctx *log)
{
	*circuit = (struct circuit){.ops = ops, .log = log};
	pthread_mutex_init(&circuit->lock, NULL);
}

void circuit_deinit(struct circuit *circuit)
{
	pthread_mutex_destroy(&circuit->lock);
}

// A sign of life, with the lock. True: the failure before it is over.
static bool note_life(struct circuit *circuit)
{
	bool failing = circuit->failing;

	circuit->answered = true;
	circuit->failing = false;
	return failing;
}

static void on_life(struct circuit *circuit, bool recovered)
{
	if (recovered && circuit->ops->recovered)
		circuit->ops->recovered(circuit);
}

static void probe_if(struct circuit *circuit, bool probe)
{
	if (probe)
		circuit->ops->probe(circuit);
}

static void transition_log(struct circuit *circuit, uint8_t before, uint8_t now)
{
	if ((before == BREAKER_CLOSED) == (now == BREAKER_CLOSED))
		return;
	if (now == BREAKER_CLOSED)
		log_warn(circuit->log, circuit->ops->event,
			 "the cluster answers again: messages are sent to it");
	else
		log_warn(circuit->log, circuit->ops->event,
			 "the cluster does not answer: messages for it are refused at once");
}

void circuit_opened(struct circuit *circuit)
{
	bool probe;

	pthread_mutex_lock(&circuit->lock);
	circuit->opened = true;
	probe = circuit->failing && breaker_doubt(&circuit->breaker, clock_now_ns());
	pthread_mutex_unlock(&circuit->lock);
	probe_if(circuit, probe);
}

bool circuit_admit(struct circuit *circuit, uint64_t count)
{
	bool probe, admitted;

	pthread_mutex_lock(&circuit->lock);
	admitted = breaker_admit(&circuit->breaker, count, clock_now_ns(), &probe);
	pthread_mutex_unlock(&circuit->lock);
	probe_if(circuit, probe);
	return admitted;
}

static void latency_note(struct circuit *circuit, uint64_t latency_ns)
{
	if (circuit->latency_ns)
		circuit->latency_ns +=
			latency_ns / LATENCY_SHARE - circuit->latency_ns / LATENCY_SHARE;
	else
		circuit->latency_ns = latency_ns;
}

void circuit_ended(struct circuit *circuit, uint64_t count, bool alive, uint64_t latency_ns)
{
	uint8_t before, now;
	bool recovered;

	pthread_mutex_lock(&circuit->lock);
	before = circuit->breaker.circuit;
	breaker_ended(&circuit->breaker, count, alive, clock_now_ns());
	now = circuit->breaker.circuit;
	recovered = alive && note_life(circuit);
	if (alive && latency_ns)
		latency_note(circuit, latency_ns);
	pthread_mutex_unlock(&circuit->lock);
	on_life(circuit, recovered);
	transition_log(circuit, before, now);
}

void circuit_look(struct circuit *circuit)
{
	bool probe;

	pthread_mutex_lock(&circuit->lock);
	probe = circuit->opened && breaker_look(&circuit->breaker, clock_now_ns());
	pthread_mutex_unlock(&circuit->lock);
	probe_if(circuit, probe);
}

void circuit_failed(struct circuit *circuit)
{
	bool probe;

	pthread_mutex_lock(&circuit->lock);
	circuit->failing = true;
	probe = circuit->opened && breaker_doubt(&circuit->breaker, clock_now_ns());
	pthread_mutex_unlock(&circuit->lock);
	probe_if(circuit, probe);
}

void circuit_probed(struct circuit *circuit, bool alive)
{
	bool again, recovered;
	uint8_t before, now;

	pthread_mutex_lock(&circuit->lock);
	before = circuit->breaker.circuit;
	again = breaker_probed(&circuit->breaker, alive, clock_now_ns());
	now = circuit->breaker.circuit;
	recovered = alive && note_life(circuit);
	pthread_mutex_unlock(&circuit->lock);
	on_life(circuit, recovered);
	transition_log(circuit, before, now);
	probe_if(circuit, again);
}

uint64_t circuit_under_way(struct circuit *circuit)
{
	uint64_t count;

	pthread_mutex_lock(&circuit->lock);
	count = circuit->breaker.waiting;
	pthread_mutex_unlock(&circuit->lock);
	return count;
}

bool circuit_state(struct circuit *circuit, struct adapter_state *ret)
{
	static const uint8_t circuits[] = {[BREAKER_CLOSED] = CIRCUIT_CLOSED,
					   [BREAKER_HALF_OPEN] = CIRCUIT_HALF_OPEN,
					   [BREAKER_OPEN] = CIRCUIT_OPEN};
	bool answered;

	pthread_mutex_lock(&circuit->lock);
	answered = circuit->answered;
	ret->circuit = circuits[circuit->breaker.circuit];
	ret->latency_us = circuit->latency_ns / 1000;
	pthread_mutex_unlock(&circuit->lock);
	return answered;
}

void circuit_health(struct adapter_state *state, bool answered)
{
	bool down = state->circuit != CIRCUIT_CLOSED;

	if (down && !state->error[0])
		snprintf(state->error, sizeof state->error, "the cluster does not answer");
	state->health = down              ? ADAPTER_DOWN
			: state->error[0] ? ADAPTER_DEGRADED
			: answered        ? ADAPTER_READY
					  : ADAPTER_CONNECTING;
}
