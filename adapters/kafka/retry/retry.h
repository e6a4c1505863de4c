// The retry stores of a cluster's groups: what each of its parts asks of the others.
//
// One thread owns all stores (retry_thread.h): it reads retry topics, keeps what they come to in
// memory, and runs one job of a store after the other. Others hand it letters.
#pragma once

#include "adapters/kafka/client/task.h"
#include "adapters/kafka/retry/retry_rows.h"
#include "core/base/map.h"

// Something for the thread to do.
struct retry_letter {
	struct retry_letter *next;
	void (*run)(struct retry_stores *stores, struct retry_letter *letter);
};

// A message of the retry topic whose value is wanted.
struct retry_want {
	uint64_t written;
	uint8_t *value; // malloc'ed; NULL: it is not there any more
	uint32_t size;
	uint32_t tag; // the asker's
};

// A look into the store of a group. Embedded in what the asker allocated; the models are referenced
// from the call until `done`.
struct retry_job {
	struct retry_letter letter;
	struct list in_store;
	struct retry_store *store;
	const struct group *group;
	const struct topic *topic;
	bool fresh; // everything that was written before the call is to be seen, whoever wrote it
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
	bool again;
};
void retry_look(struct adapter *adapter, struct retry_job *job); // @thread any

// One message to be written. No value: a tombstone.
struct retry_item {
	uint8_t key[RETRY_KEY];
	uint8_t *value; // malloc'ed; borrowed until done
	uint32_t size;
	bool skip; // out: nothing was written, because there is nothing to remove
	// retry_write.c's
	struct retry_batch *batch;
	uint64_t written;
	rd_kafka_resp_err_t error;
};

// Messages to be written in this order. All or some may be there when the code is not OK.
struct retry_batch {
	struct retry_letter letter;
	struct kafka_task task;
	struct retry_store *store;
	const struct group *group;
	const struct topic *topic;
	struct retry_item *items;
	uint32_t count;
	uint32_t left; // atomic
	enum code code;
	char text[256];
	void (*done)(struct retry_batch *batch, enum code code, const char *text);
};
void retry_write(struct adapter *adapter, struct retry_batch *batch); // @thread any

// A look by who will write cursors (retry_fence.c); embedded in what the asker allocated.
struct retry_life {
	const struct group *group; // borrowed until done
	const struct topic *topic;
	uint64_t log_generation; // of the topic
	uint32_t partitions;
	bool opens; // as that of a job
	void (*done)(struct retry_life *self, struct retry_rows *rows, enum code code,
		     const char *text); // as that of a job
	// retry_fence.c's
	struct retry_job job;
	struct retry_batch batch;
	struct retry_item item;
	struct adapter *adapter;
};
void retry_look_in_life(struct adapter *adapter, struct retry_life *self); // @thread any

// The retry store's part of a commit (retry_commit.c): brings the records and writes all; `done` on
// any thread.
void retry_commit(struct adapter *adapter, struct log_cursors *commit,
		  void (*done)(void *ctx, enum code code, const char *text), void *ctx);

// The source of the group is closed.
void retry_closed(struct adapter *adapter, const struct group *group); // @thread any
// The retry topic is deleted, and what is known of it. @thread questions, or the second one
enum code retry_topic_forget(struct adapter *adapter, const struct group *group);

int retry_stores_start(struct adapter *adapter);      // after the fetcher
void retry_stores_stop(struct retry_stores *retries); // accepts NULL; ends what is asked of it
void retry_stores_free(struct retry_stores *retries); // accepts NULL
void kafka_due(struct adapter *adapter, struct log_due *due); // retry_due.c

// ---- inside

#define RETRY_AHEAD 1024u // messages

enum retry_presence { RETRY_UNKNOWN, RETRY_ABSENT, RETRY_THERE };

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
	uint64_t position; // what the stream brings next
	// What it has brought and nobody wanted yet, a ring; everything from ahead_from on.
	rd_kafka_message_t *ahead[RETRY_AHEAD];
	uint32_t ahead_head, ahead_count;
	uint64_t ahead_bytes, ahead_from;
	uint64_t used_ns;
	struct list jobs;       // the first one is at work
	uint32_t writing_count; // batches under way
};

// false: the thread has ended; the letter is the caller's again. @thread any
bool retry_post(struct retry_stores *stores, struct retry_letter *letter);
struct adapter *retry_adapter(const struct retry_stores *stores);
struct retry_store *retry_store_get(struct retry_stores *stores, const struct group *group,
				    const struct topic *topic);          // NULL: no memory
int64_t retry_rows_counted(struct retry_stores *stores, int64_t change); // of all stores
void retry_store_changed(struct retry_store *store, int64_t change); // rows were added or removed
void retry_batch_under_way(struct retry_stores *stores, int change);
// retry_topic.c: blocking
enum code retry_topic_ask(struct adapter *adapter, const char *name, enum retry_presence *ret);
enum code retry_topic_make(struct adapter *adapter, const char *name, const struct topic *topic,
			   char *text, size_t room);
enum code retry_topic_delete(struct adapter *adapter, const char *name);
char *retry_topic_name(const struct group *group); // malloc'ed
