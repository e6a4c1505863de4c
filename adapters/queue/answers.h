// Answers to administrative requests that are alike for every queue backend.
#pragma once

#include "adapters/queue/queue.h"

// To group_backlog, from what the backend counts while no source has the group; NULL: there is no
// such group.
void queue_answers_backlog(const struct queue_counts *counts, adapter_answer_fn done, void *ctx);
// To topic_describe: of partitions without positions nothing is known but their number, and how
// many messages the topic itself keeps: that stands in the first row; ANSWER_NONE: it keeps none.
// topic NULL: there is none.
void queue_answers_describe(const struct topic *topic, uint64_t kept, adapter_answer_fn done,
			    void *ctx);
// To group_reset: how many messages are given up of those that wait, and how many come again.
// Without a history any other place than the latest is refused before; true: it was.
bool queue_answers_refuse_reset(const struct seek_target *to, adapter_answer_fn done, void *ctx);
void queue_answers_reset(uint64_t skipped, uint64_t replayed, adapter_answer_fn done, void *ctx);
