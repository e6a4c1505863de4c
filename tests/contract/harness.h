// What the cases of the contract stand on: a loop on a thread, an adapter of one kind on a fresh
// directory, and every slot as a call that waits.
//
// Cases run on the main thread; the loop runs on its own. source_* slots are called on the loop.
#pragma once

#include "adapters/adapter.h"
#include "tests/unit/unit.h"

#include <pthread.h>

#define BENCH_WAIT_MS 60000 // longer than anything a healthy backend needs

struct bench {
	const struct adapter_ops *ops;
	struct adapter *adapter;
	struct loop *loop;
	pthread_t thread;
	char dir[100];
	char options[400];          // JSON; "" for the kind's own
	enum durability durability; // of topics, unless a wish says otherwise
	uint32_t capabilities;
	uint64_t next_id;
	unsigned sends; // batches so far
};

// Called for every answer that is OK before the call that waits for it returns; NULL: nothing.
// @thread that of the answer
extern void (*bench_on_ok)(void);

// A kind of the program's own, beside those of adapters/kinds.h; NULL: there is none.
extern const struct adapter_ops *bench_own_kind;

// On a fresh directory, or on the one given, with the options given ("": the usual).
void bench_open(struct bench *bench, const char *kind, enum durability durability, const char *dir,
		const char *options);
void bench_leave(struct bench *bench);                   // the directory stays
void bench_close(struct bench *bench);                   // and removes it
void bench_reopen(struct bench *bench);                  // in order
bool bench_start(struct bench *bench, char **ret_error); // the adapter on the directory
void bench_stop(struct bench *bench);

// ---- models

struct topic_wish {
	uint32_t partitions;
	enum durability durability;
	uint64_t retention_ms, retention_bytes;
	uint64_t dead_letter_of;
	const char *name;
};
const struct topic *bench_topic(struct bench *bench, const struct topic_wish *wish);
const struct topic *bench_topic_like(const struct topic *topic, uint64_t incarnation,
				     uint32_t partitions); // the same one, changed
const struct topic *bench_topic_kept(const struct topic *topic, uint64_t retention_ms);
const struct group *bench_group(struct bench *bench, const struct topic *topic,
				enum group_start start, int64_t start_ms);

// ---- administration, waited for

enum code bench_topic_create(struct bench *bench, const struct topic *topic);
enum code bench_topic_change(struct bench *bench, const struct topic *topic);
enum code bench_topic_delete(struct bench *bench, const struct topic *topic);
enum code bench_group_create(struct bench *bench, const struct group *group,
			     const struct topic *topic);
enum code bench_group_delete(struct bench *bench, const struct group *group,
			     const struct topic *topic);
// The answer is the caller's to free; NULL with another code than OK.
json_t *bench_describe(struct bench *bench, const struct topic *topic, enum code *ret);
json_t *bench_purge(struct bench *bench, const struct topic *topic, bool preview, enum code *ret);
json_t *bench_skip(struct bench *bench, const struct topic *topic, bool preview, enum code *ret);
json_t *bench_reset(struct bench *bench, const struct group *group, const struct topic *topic,
		    json_t *to, bool preview, enum code *ret); // takes over `to`
json_t *bench_backlog(struct bench *bench, const struct group *group, const struct topic *topic,
		      enum code *ret);
json_t *bench_read(struct bench *bench, const struct topic *topic, json_t *query,
		   enum code *ret); // takes over `query`
json_t *bench_probe(struct bench *bench, enum code *ret);

// ---- sending

struct message {
	uint32_t partition;
	struct slice key, body;
	int64_t due_ms, created_ms;
	uint32_t ttl_ms;
	uint32_t number;          // becomes part of its id
	const char *tag, *header; // a header of this name and value
};

#define TEXT(text) ((struct slice){(const uint8_t *)(text), strlen(text)})

struct sent {
	struct submit_run runs[64];
	uint32_t run_count;
};
// Sends the messages as one batch and waits for its end.
void bench_send(struct bench *bench, const struct topic *topic, const struct message *messages,
		uint32_t count, struct sent *ret);
// All of them OK; their first offset.
uint64_t bench_send_ok(struct bench *bench, const struct topic *topic,
		       const struct message *messages, uint32_t count);
// `count` messages with numbers from `number` on, in one partition.
void bench_fill(struct bench *bench, const struct topic *topic, uint32_t partition, uint32_t number,
		uint32_t count);

// ---- consuming

struct got {
	struct delivery delivery; // with a reference of its buf
	uint32_t number;          // of its id
};

struct reader; // a source with what it has delivered

struct reader *reader_open(struct bench *bench, const struct topic *topic,
			   const struct group *group);
void reader_close(struct reader *reader);
void reader_demand(struct reader *reader, uint32_t messages, uint64_t bytes);
void reader_demand_rejected(struct reader *reader, uint32_t messages); // and nothing else
// Waits until `count` more have come and takes them; returns how many came in time.
size_t reader_take(struct reader *reader, struct got *got, size_t count, unsigned wait_ms);
void reader_drop(struct got *got, size_t count);
struct settle reader_receipt(const struct got *got, enum settle_verb verb, uint32_t delay_ms);
// Settles and waits until it is durable.
enum code reader_settle(struct reader *reader, struct settle *settles, size_t count);
void reader_settle_soon(struct reader *reader, struct settle *settles,
			size_t count); // without waiting for durability
// Waits until the counts are current. Of a kind without positions one row stands for all.
void reader_backlog(struct reader *reader, struct source_partition *partitions, size_t count);
const struct bench *reader_bench(const struct reader *reader);
enum source_state reader_state(struct reader *reader);
unsigned reader_losses(struct reader *reader); // times that what it was handed out was void
bool reader_wait_state(struct reader *reader, enum source_state state, unsigned wait_ms);
