// How many messages a subscription has asked for: totals since SUBSCRIBED that only rise. Pure.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct credit_totals {
	uint64_t granted_messages;
	uint64_t granted_bytes;
	uint64_t delivered_messages;
	uint64_t delivered_bytes;
	uint64_t drain; // number of the last drain asked for
	bool draining;  // DRAINED is not there yet: no credit may be given
};

// Push: tops up to `window` less what is held. Says whether a CREDIT frame is worth sending: when
// half of the window would be new, or nothing is outstanding.
bool credit_totals_top_up(struct credit_totals *credit, uint64_t window_messages,
			  uint64_t window_bytes, uint64_t held_messages, uint64_t held_bytes);
// Pull: asks for exactly so much beyond what was delivered.
void credit_totals_ask(struct credit_totals *credit, uint64_t messages, uint64_t bytes);
// Asks to give back what is not used; the same CREDIT frame may carry new credit.
void credit_totals_drain(struct credit_totals *credit);

// Counts a DELIVER frame. False: the peer sent what it was not granted.
bool credit_totals_delivered(struct credit_totals *credit, uint64_t messages, uint64_t bytes);
// DRAINED came; false: not the number asked for.
bool credit_totals_drained(struct credit_totals *credit, uint64_t drain);
