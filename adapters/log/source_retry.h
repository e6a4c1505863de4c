// What a source puts into its group's retry store, and hands out of it again.
#pragma once

#include "adapters/log/source_state.h"

void source_retry_init(struct source *source);
void source_retry_deinit(struct source *source);
// A position that has left the window goes to the store. `in_flight`: it is still handed out.
// NULL: no memory; nothing changed.
struct retry_inflight *source_retry_put(struct part *part, uint64_t offset, uint32_t attempts,
					uint64_t due_ms, bool in_flight);
bool source_retry_has_room(const struct source *source); // for more than what must be put
bool source_retry_settle(struct part *part, const struct settle *settle, uint64_t offset,
			 uint64_t now_ms);
void source_retry_hand_out(struct source *source, struct source_time now);
// How long until rows are due; UINT64_MAX: none waits.
uint64_t source_retry_next_in_ms(const struct source *source, struct source_time now);
void source_retry_look_anew(
	struct source *source); // the clocks have parted, or come together again
// These writes are durable now.
void source_retry_committed(struct source *source, const struct log_retry *retries, uint32_t count);
