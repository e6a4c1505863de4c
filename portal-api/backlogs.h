// What every group has still to do, looked at in turn without being asked: for metrics, and
// for callers that want all of it in one call. For the portal's thread.
#pragma once

#include "core/registry/registry.h"

#include <jansson.h>

struct backlogs;
struct portal;

struct backlog_row {
	uint64_t group, tenant;
	// Messages: sent + replayed = the four of the backlog + acked + dead + expired + skipped.
	uint64_t ready, in_flight, retrying, delayed;
	uint64_t sent, replayed, acked, dead, expired, skipped;
	bool positions;    // the cluster keeps them; else `sent` is what the others make of it
	int64_t oldest_ms; // when the oldest one was stored that is neither acknowledged nor
			   // waiting for a time; 0: there is none, -1: not known
	int64_t at_ms;     // wall clock of the look; 0: none has succeeded yet
};

int backlogs_new(struct portal *portal, struct backlogs **ret);
void backlogs_free(struct backlogs *backlogs); // no query of it is under way
void backlogs_tick(struct backlogs *backlogs); // about once a second

// What is wrong with the group, in words: its cluster does not have it, or its dead-letter topic
// refuses copies. NULL: neither, or not known.
const char *backlogs_problem(const struct backlogs *backlogs, uint64_t group);

typedef void (*backlog_row_fn)(void *ctx, const struct backlog_row *row);
void backlogs_each(const struct backlogs *backlogs, backlog_row_fn fn, void *ctx);
