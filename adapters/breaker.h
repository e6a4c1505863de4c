// Whether a cluster is sent anything at all: a state machine over what is sent, what comes back,
// and time, which is an argument. Pure; the caller locks.
//
// No message is the probe: the cluster is asked something that costs nothing. Only when that
// is not answered either are messages refused.
#pragma once

#include "core/base/clock.h"
#include "core/base/state_table.h"
#include "core/base/util.h"

#include <stdbool.h>

#define BREAKER_SILENCE_NS (3 * S_NS)    // of messages under way, before the cluster is asked
#define BREAKER_PAUSE_NS   (250 * MS_NS) // between two probes

enum breaker_circuit { BREAKER_CLOSED, BREAKER_HALF_OPEN, BREAKER_OPEN };

#define BREAKER_STATES(X)                                                                          \
	X(BREAKER_CLOSED, "no answer", BREAKER_OPEN,                                               \
	  "Messages under way were silent, or no broker can be reached, and the probe that this "  \
	  "began has no answer either.")                                                           \
	X(BREAKER_OPEN, "pause is over", BREAKER_HALF_OPEN, "The next probe leaves.")              \
	X(BREAKER_OPEN, "sign of life", BREAKER_CLOSED,                                            \
	  "The cluster answers a message that was sent before.")                                   \
	X(BREAKER_HALF_OPEN, "no answer", BREAKER_OPEN, "The probe has no answer either.")         \
	X(BREAKER_HALF_OPEN, "sign of life", BREAKER_CLOSED,                                       \
	  "The cluster answers the probe, or a message that was sent before.")

struct breaker {
	uint8_t circuit;         // enum breaker_circuit; breaker_set_circuit() changes it
	bool probing;            // a probe is under way
	bool answered;           // there was a sign of life since it left
	uint64_t waiting;        // messages under way
	uint64_t last_answer_ns; // the last sign of life, or when the first of those under way left
	uint64_t probed_ns;      // when the last probe left
};

// Only inside of breaker.c. A transition that BREAKER_STATES does not have is a fault of ours.
void breaker_set_circuit(struct breaker *breaker, enum breaker_circuit circuit);

// May `count` messages be sent now? Those that may are under way until they have ended.
// *ret_probe: the caller starts a probe, too.
bool breaker_admit(struct breaker *breaker, uint64_t count, uint64_t now_ns, bool *ret_probe);
// `count` have ended; `alive`: by an answer of the cluster, whatever it says.
void breaker_ended(struct breaker *breaker, uint64_t count, bool alive, uint64_t now_ns);
// Looked at now and then, because what is under way may be all there is, and no caller may ask for
// more. True: the caller starts a probe.
bool breaker_look(struct breaker *breaker, uint64_t now_ns);
// Something failed that concerns the cluster. True: the caller starts a probe.
bool breaker_doubt(struct breaker *breaker, uint64_t now_ns);
// The probe has ended. True: the caller starts the next one.
bool breaker_probed(struct breaker *breaker, bool alive, uint64_t now_ns);
