// Whether the queues of groups are still there: another client may delete them.
//
// A queue that was seen once is looked for every few seconds, until its group is deleted here. One
// that is missing is an incident: told in the log with the span of time in which it happened, and
// listed until the queue is there again or the group is deleted.
#pragma once

#include "adapters/rabbitmq/ask/ask.h"
#include "adapters/rabbitmq/ask/incident.h"

struct rabbitmq_presence;

int rabbitmq_presence_start(struct adapter *adapter); // the ask link is there
void rabbitmq_presence_stop(struct adapter *adapter); // before the ask link is
void rabbitmq_presence_free(struct adapter *adapter); // behind it

// All @thread any.
// The queue of the group was there `ago_ns` ago.
void rabbitmq_presence_seen(struct adapter *adapter, const struct group *group, uint64_t ago_ns);
// The cluster says that it is not there. ret_text: what is known of that, in words that name
// cluster and queue.
void rabbitmq_presence_missing(struct adapter *adapter, const struct group *group,
			       char ret_text[RABBITMQ_INCIDENT_TEXT]);
// Is it an incident, as of the last look? Then ret_text is what presence_missing() would say.
bool rabbitmq_presence_is_missing(struct adapter *adapter, const struct group *group,
				  char ret_text[RABBITMQ_INCIDENT_TEXT]);
// The group is deleted here: from then on its queue is not looked for, and may be missing.
void rabbitmq_presence_forget(struct adapter *adapter, const struct group *group);
// Calls `use` with the queue of each imported group that is known and there. In it nothing else of
// this header may be called.
void rabbitmq_presence_imported(struct adapter *adapter, void (*use)(void *ctx, const char *queue),
				void *ctx);
// How many messages of the queue are set aside because they are too large, and the size of the last
// one; 0: none any more. From RABBITMQ_PRESENCE_ASIDE_MAX on they take the places of others.
#define RABBITMQ_PRESENCE_ASIDE_MAX 1024u
void rabbitmq_presence_too_large(struct adapter *adapter, const struct group *group, uint32_t count,
				 uint64_t bytes);
// Adds the incidents; what finds no memory is left out.
void rabbitmq_presence_list(struct adapter *adapter, struct rabbitmq_incidents *to);
