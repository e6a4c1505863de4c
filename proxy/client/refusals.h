// Connections that ended before they were authenticated: a few are written to the log one by one,
// the rest is counted.
#pragma once

#include "core/base/code.h"
#include "core/loop/loop.h"

struct conn;

struct refusals {
	struct loop_timer timer; // set while something has ended since the last line
	uint32_t written;
	uint64_t counts[CODE_COUNT], turned_away; // since then, not written
	char last[56];                            // where the last one came from
};

// "UNAUTHENTICATED 9120, TIMEOUT 3", and the sum.
uint64_t refusals_counts_text(const uint64_t counts[CODE_COUNT], char *text, size_t room);

void refusals_init(struct refusals *refusals, struct loop *loop);
void refusals_deinit(struct refusals *refusals); // writes what is left
void refusals_ended(struct conn *conn, enum code code, const char *text);
void refusals_turned_away(struct refusals *refusals,
			  const char *peer); // closed when it was accepted
