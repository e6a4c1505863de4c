// What is left to be done for a group: what the backend counts, and what is held here.
#pragma once

#include "adapters/queue/source_state.h"

// The slot. One row that stands for all partitions: a queue counts them together. Positions are 0,
// and acked, dead and expired are counted since the source was opened.
size_t queue_source_backlog(struct source *source, struct source_partition *partitions,
			    size_t room);

void queue_source_backlog_changed(struct source *source); // the last counts are not exact any more
void queue_source_backlog_forget(struct source *source);  // they are wrong
void queue_source_backlog_ask_if_due(struct source *source);
uint64_t queue_source_backlog_next_ns(const struct source *source); // UINT64_MAX: nothing to ask
void queue_source_backlog_counted(struct source *source, const struct queue_counts *counts);
