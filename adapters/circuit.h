// The circuit of a cluster: its breaker under a lock, the probes that the breaker asks for, and the
// latency of sends. All calls @thread any, but for init and deinit.
//
// A message that circuit_admit() admits is given back by circuit_ended().
#pragma once

#include "adapters/adapter.h"
#include "adapters/breaker.h"
#include "core/base/log.h"

#include <pthread.h>

struct circuit;

// Called without the lock, on the thread of the call that leads to them.
struct circuit_ops {
	// Asks the cluster something that costs nothing; its end is told by circuit_probed(). One
	// at a time.
	void (*probe)(struct circuit *circuit);
	// The first sign of life after circuit_failed(). NULL: nothing is to be done.
	void (*recovered)(struct circuit *circuit);
	const char *event; // that opening and closing are logged as
};

struct circuit {
	const struct circuit_ops *ops;
	struct log_ctx *log;
	pthread_mutex_t lock; // everything below
	struct breaker breaker;
	bool opened;         // there is something to probe with
	bool answered;       // the cluster, ever
	bool failing;        // since the last sign of life
	uint64_t latency_ns; // of the last sends; 0: none yet
};

void circuit_init(struct circuit *circuit, const struct circuit_ops *ops, struct log_ctx *log);
void circuit_deinit(struct circuit *circuit); // nothing that may call is left
// Probes can be sent from now on: a failure before waits for it.
void circuit_opened(struct circuit *circuit);

// May `count` messages be sent?
bool circuit_admit(struct circuit *circuit, uint64_t count);
// `alive`: by an answer of the cluster, whatever it says; with a count of 0 it is a mere sign of
// life. latency_ns: of the send; 0: unknown.
void circuit_ended(struct circuit *circuit, uint64_t count, bool alive, uint64_t latency_ns);
void circuit_look(struct circuit *circuit);   // about once a second
void circuit_failed(struct circuit *circuit); // something that concerns the cluster as a whole
void circuit_probed(struct circuit *circuit, bool alive); // the probe has ended
uint64_t circuit_under_way(struct circuit *circuit);      // messages admitted and not ended

// Sets `circuit` and `latency_us` (0: none yet) of it. Whether the cluster has ever answered.
bool circuit_state(struct circuit *circuit, struct adapter_state *ret);
// What follows for the whole from `circuit` and `error`; an open circuit without an error gets one.
void circuit_health(struct adapter_state *state, bool answered);
