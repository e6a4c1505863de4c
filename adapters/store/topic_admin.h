// Changes of topics in a durable log. Topic and group are borrowed until the call returns; `done`
// comes once, on a thread of the log or before the call returns. @thread any
#pragma once

#include "adapters/adapter.h"

struct durable_log;

// Makes it, or changes one that is there: more partitions, another retention. CONFLICT: it has more
// partitions, another class or another incarnation.
void store_topic_admin_create(struct durable_log *log, const struct topic *topic,
			      adapter_done_fn done, void *ctx);
// The same, but CONFLICT when it is not there.
void store_topic_admin_change(struct durable_log *log, const struct topic *topic,
			      adapter_done_fn done, void *ctx);
// Sends are answered NOT_FOUND and sources end at once; the answer comes when nothing of it is
// left. OK when it is not there.
void store_topic_admin_delete(struct durable_log *log, const struct topic *topic,
			      adapter_done_fn done, void *ctx);
// Deletes what is there at the time of the call; `preview`: says only how much it is.
void store_topic_admin_purge(struct durable_log *log, const struct topic *topic, bool preview,
			     adapter_answer_fn done, void *ctx);
