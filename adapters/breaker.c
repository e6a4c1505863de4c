// The state machine of breaker.h, one function an event.
//
// Time is an argument and the caller locks, so a test can take every path.
//
// Invariant: at most one probe is under way. What it does not do: probe (health.c).

#include "adapters/breaker.h"

void breaker_set_circuit(struct breaker *breaker, enum breaker_circuit circuit)
{
	assert(state_table_has(STATE_TABLE_MOVES(BREAKER_STATES), breaker->circuit, circuit));
	breaker->circuit = (uint8_t)circuit;
}

static bool probe_start(struct breaker *breaker, uint64_t now_ns)
{
	if (breaker->probing ||
	    (breaker->probed_ns && now_ns - breaker->probed_ns < BREAKER_PAUSE_NS))
		return false;
	breaker->probing = true;
	breaker->answered = false;
	breaker->probed_ns = now_ns;
	if (breaker->circuit == BREAKER_OPEN)
		breaker_set_circuit(breaker, BREAKER_HALF_OPEN);
	return true;
}

static void note_life(struct breaker *breaker, uint64_t now_ns)
{
	breaker->answered = true;
	breaker->last_answer_ns = now_ns;
	if (breaker->circuit != BREAKER_CLOSED)
		breaker_set_circuit(breaker, BREAKER_CLOSED);
}

static bool is_silent(const struct breaker *breaker, uint64_t now_ns)
{
	return breaker->waiting && now_ns - breaker->last_answer_ns >= BREAKER_SILENCE_NS;
}

bool breaker_admit(struct breaker *breaker, uint64_t count, uint64_t now_ns, bool *ret_probe)
{
	*ret_probe = false;
	if (breaker->circuit != BREAKER_CLOSED) {
		*ret_probe = probe_start(breaker, now_ns);
		return false;
	}
	if (breaker->waiting == 0)
		breaker->last_answer_ns = now_ns;
	if (is_silent(breaker, now_ns))
		*ret_probe = probe_start(breaker, now_ns);
	breaker->waiting += count;
	return true;
}

void breaker_ended(struct breaker *breaker, uint64_t count, bool alive, uint64_t now_ns)
{
	assert(count <= breaker->waiting);
	breaker->waiting -= count;
	if (alive)
		note_life(breaker, now_ns);
}

bool breaker_look(struct breaker *breaker, uint64_t now_ns)
{
	return (breaker->circuit != BREAKER_CLOSED || is_silent(breaker, now_ns)) &&
	       probe_start(breaker, now_ns);
}

bool breaker_doubt(struct breaker *breaker, uint64_t now_ns)
{
	return probe_start(breaker, now_ns);
}

bool breaker_probed(struct breaker *breaker, bool alive, uint64_t now_ns)
{
	breaker->probing = false;
	if (alive)
		note_life(breaker, now_ns);
	if (breaker->answered)
		return false;
	breaker_set_circuit(breaker, BREAKER_OPEN);
	return probe_start(breaker, now_ns);
}
