// Making durable what a source knows: cursors, and writes of the retry store beside them.
#pragma once

#include "adapters/log/source_state.h"

bool source_commit_add_waiter(struct source *source, void (*done)(void *ctx, enum code code),
			      void *ctx);
void source_commit_claim(struct source *source);                       // makes the epoch durable
uint64_t source_commit_if_due(struct source *source, uint64_t now_ns); // returns when to look again
bool source_commit_pending(const struct source *source);
void source_commit_end_waiters(struct source *source); // at the end: nothing more becomes durable
void source_commit_deinit(struct source *source);
