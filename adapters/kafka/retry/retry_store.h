// The retry store of one group: what its jobs ask of it, and what its stream brings.
#pragma once

#include "adapters/kafka/retry/retry_rows.h"
#include "adapters/kafka/retry/retry_thread.h"
#include "adapters/kafka/retry/retry_topic.h"

// A message of the retry topic whose value is wanted.
struct retry_want {
	uint64_t written;
	uint8_t *value; // malloc'ed; NULL: it is not there any more
	uint32_t size;
	uint32_t tag; // the caller's
};

// A look into the store of a group. Embedded in what the caller allocated; the models are
// referenced from the call until `done`.
struct retry_job {
	struct loop_task event; // retry_store.c's, as the stores are
	struct retry_stores *stores;
	struct list in_store;
	struct retry_store *store;
	const struct group *group;
	const struct topic *topic;
	bool fresh; // everything that was written before the call is to be seen, writes of other
		    // owners too
	bool opens; // the group's source has been opened
	// With the rows in memory: which values are wanted; NULL: none. May be called a second
	// time.
	void (*plan)(struct retry_job *job, struct retry_rows *rows);
	// Rows are NULL unless code is OK, and good until it returns; wants are freed then.
	void (*done)(struct retry_job *job, struct retry_rows *rows, enum code code,
		     const char *text);
	struct retry_want *wants; // malloc'ed by plan
	uint32_t want_count;
	// The thread's.
	uint32_t want_at, missing;
	uint64_t deadline_ns;
	enum { JOB_NEW, JOB_ASKING, JOB_CATCHING_UP, JOB_READING } phase;
	bool again, doubted; // doubted: nothing came for a while, and the cluster was asked
};
void retry_store_look(struct adapter *adapter, struct retry_job *job); // @thread any

// The slot of the log source: the source of the group is closed.
void retry_store_closed(struct adapter *adapter, const struct group *group); // @thread any
// The retry topic is deleted, and what is known of it. Blocks. @thread a task's
enum code retry_store_delete(struct adapter *adapter, const struct group *group);

// ---- for the thread and the streams. @thread kafka-retry

#define RETRY_AHEAD     1024u // messages
#define RETRY_NO_STREAM UINT64_MAX

struct retry_store {
	struct map_node by_id; // of the group
	struct retry_stores *stores;
	struct list line; // of those that read, or wait for their turn
	const struct group *group;
	const struct topic *topic;
	char *name;
	rd_kafka_topic_t *reading; // the consumer's
	enum retry_presence presence;
	struct retry_rows rows; // what the topic comes to, up to `next`, and own writes behind it
	uint64_t next, written; // written: own writes lie before this
	bool loaded, open, streaming;
	bool lost;         // the topic was deleted: one that is there was made by other clients
	bool doubted;      // the cluster is being asked whether the topic is still there
	uint64_t position; // what the stream brings next
	// What it has brought and no job wanted yet, a ring; everything from ahead_from on.
	rd_kafka_message_t *ahead[RETRY_AHEAD];
	uint32_t ahead_head, ahead_count;
	uint64_t ahead_bytes, ahead_from;
	uint64_t used_ns;
	struct list jobs;       // the first one is at work
	uint32_t writing_count; // batches under way
};

struct retry_store *retry_store_get(struct retry_stores *stores, const struct group *group,
				    const struct topic *topic); // NULL: no memory
void retry_store_free(struct retry_store *store);
void retry_store_forget_topic(struct retry_store *store); // stops reading; no row is known any more
void retry_store_changed(struct retry_store *store, int64_t change); // rows were added or removed

// Another client deleted the topic, or recreated it: what was in it is gone.
void retry_store_topic_lost(struct retry_store *store, const char *text);
// Asks the cluster whether the topic is still there, and forgets it if it is not. A client that
// reads a topic or writes into it learns of its end late, or never.
void retry_store_doubt(struct retry_store *store);

struct retry_job *retry_store_first_job(const struct retry_store *store); // at work; NULL: none
void retry_store_next_job(struct retry_store *store);                     // begins
void retry_store_job_extend(struct retry_job *job);                       // its deadline
void retry_store_job_plan(struct retry_job *job);                         // the rows are up to date
bool retry_store_job_take_value(struct retry_job *job, const rd_kafka_message_t *message);
void retry_store_job_read(struct retry_job *job); // nothing more of what it wants will come
void retry_store_job_again(struct retry_job *job);
void retry_store_job_end(struct retry_job *job, enum code code, const char *text);
void retry_store_job_finish(struct retry_job *job, struct retry_rows *rows, enum code code,
			    const char *text); // the same for one that is in no queue
