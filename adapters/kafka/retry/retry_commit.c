// The retry store's part of a commit: puts and removals of rows become one batch of messages to the
// retry topic.
//
// When a commit holds several writes for one position, only the last one counts. The record of a
// put comes from the retry topic when a row is there already, else from the topic. When it is in
// neither it is missing, and nothing is written for it.
//
// Steps: on the stores' thread it is found out which rows are there, and their values; on the
// group's loop, records are read from the topic; then one batch is written.
//
// Invariant: an owner that a fence has made void writes nothing, because its rows would be taken
// for those of another generation.

#include "adapters/kafka/retry/retry_commit.h"

#include "adapters/kafka/read/fetcher.h"
#include "adapters/kafka/retry/retry_index.h"
#include "adapters/kafka/retry/retry_rows.h"
#include "adapters/kafka/retry/retry_store.h"
#include "adapters/kafka/retry/retry_thread.h"
#include "adapters/kafka/retry/retry_write.h"

#define FETCH_MESSAGES 4096u
#define FETCH_BYTES    (1u << 20)
#define FETCH_NEAR     64u // positions to read past rather than ask again

struct commit_item {
	struct log_retry *last; // of its position
	uint8_t *value;         // with room for the head before the record
	uint32_t size;
	uint64_t generation;
};

struct retry_commit {
	struct retry_job job;
	struct retry_batch batch;
	struct adapter *adapter;
	struct log_cursors *commit;
	struct loop_task task;
	struct log_fetch fetch;
	struct commit_item *items;
	uint32_t count, at;
	bool full, stale;
	void (*done)(void *ctx, enum code code, const char *text);
	void *ctx;
};

static void commit_free(struct retry_commit *self)
{
	for (uint32_t i = 0; self->items && i < self->count; ++i)
		free(self->items[i].value);
	free(self->items);
	free(self->batch.items);
	free(self);
}

static void commit_end(struct retry_commit *self, enum code code, const char *text)
{
	self->done(self->ctx, code, text);
	commit_free(self);
}

// ---- what is to be written

static int by_position(const void *a, const void *b)
{
	const struct log_retry *left = ((const struct commit_item *)a)->last,
			       *right = ((const struct commit_item *)b)->last;

	if (left->partition != right->partition)
		return left->partition < right->partition ? -1 : 1;
	if (left->offset != right->offset)
		return left->offset < right->offset ? -1 : 1;
	return left < right ? -1 : left > right; // in the order given
}

static void items_make(struct retry_commit *self)
{
	struct log_cursors *commit = self->commit;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < commit->retry_count; ++i) {
		commit->retries[i].missing = false;
		self->items[i].last = &commit->retries[i];
	}
	qsort(self->items, commit->retry_count, sizeof *self->items, by_position);
	for (uint32_t i = 0; i < commit->retry_count; ++i) {
		const struct log_retry *own = self->items[i].last,
				       *next = i + 1 < commit->retry_count ? self->items[i + 1].last
									   : NULL;

		if (!next || next->partition != own->partition || next->offset != own->offset)
			self->items[kept++] = self->items[i];
	}
	self->count = kept;
}

// A record out of the retry topic has its head already.
static void value_head(struct commit_item *item, int64_t stored_ms)
{
	retry_rows_head_put(item->value, item->last, stored_ms);
}

// ---- rows that are there

static void rows_plan(struct retry_job *job, struct retry_rows *rows)
{
	struct retry_commit *self = CONTAINER_OF(job, struct retry_commit, job);
	int64_t more = 0;

	job->wants = calloc(self->count, sizeof *job->wants);
	for (uint32_t i = 0; job->wants && i < self->count; ++i) {
		const struct log_retry *write = self->items[i].last;
		const struct retry_row *row =
			retry_index_find(&rows->index, write->partition, write->offset);

		self->items[i].generation = retry_rows_generation(rows, write->partition);
		self->stale = self->stale || self->items[i].generation > self->commit->epoch;
		more += write->put && !row;
		if (write->put && row)
			job->wants[job->want_count++] =
				(struct retry_want){.written = row->written, .tag = i};
	}
	self->full = more && retry_thread_count_rows(self->adapter->retries, 0) + more >
				     self->adapter->options.retry_positions;
	if (!job->wants)
		self->full = true;
}

static void batch_go(struct retry_commit *self);
static void fetch_next(struct loop_task *task);

static void rows_done(struct retry_job *job, struct retry_rows *rows, enum code code,
		      const char *text)
{
	struct retry_commit *self = CONTAINER_OF(job, struct retry_commit, job);
	bool more = false;

	if (code == CODE_OK && self->stale) {
		code = CODE_STALE;
		text = "another owner has begun the group anew";
	} else if (code == CODE_OK && self->full) {
		code = CODE_BACKEND_FULL;
		text = "the retry stores hold as many messages as the option retry_positions "
		       "allows";
	}
	if (code != CODE_OK) {
		commit_end(self, code, text);
		return;
	}
	for (uint32_t i = 0; i < job->want_count; ++i) {
		struct retry_want *want = &job->wants[i];
		struct commit_item *item = &self->items[want->tag];

		if (!want->value || want->size < RETRY_HEAD)
			continue;
		item->value = want->value;
		item->size = want->size;
		want->value = NULL;
		value_head(item, retry_rows_head_stored_ms(item->value));
	}
	for (uint32_t i = 0; i < self->count; ++i)
		more = more || (self->items[i].last->put && !self->items[i].value);
	self->at = 0;
	self->task.fn = fetch_next;
	if (more)
		loop_post(self->commit->loop, &self->task);
	else
		batch_go(self);
}

// ---- records out of the topic

static bool is_wanted(const struct commit_item *item)
{
	return item->last->put && !item->value && !item->last->missing;
}

static int entry_take(struct retry_commit *self, const struct log_entry *entry)
{
	const struct log_fetch *fetch = &self->fetch;

	for (uint32_t i = self->at; i < self->count; ++i) {
		struct commit_item *item = &self->items[i];

		if (item->last->partition != fetch->partition || item->last->offset > entry->offset)
			break;
		if (item->last->offset != entry->offset || !is_wanted(item))
			continue;
		item->value = malloc(RETRY_HEAD + (size_t)entry->size);
		if (!item->value)
			return -1;
		item->size = RETRY_HEAD + entry->size;
		memcpy(item->value + RETRY_HEAD, entry->record, entry->size);
		value_head(item, entry->stored_ms);
	}
	return 0;
}

// false: it has failed and ended.
static bool fetch_take(struct retry_commit *self)
{
	struct log_fetch *fetch = &self->fetch;
	enum code code = fetch->code;

	if (code == CODE_OK && fetch->next <= fetch->offset)
		code = CODE_BACKEND_DOWN; // nothing can be said
	for (uint32_t i = 0; code == CODE_OK && i < fetch->count; ++i)
		if (entry_take(self, &fetch->entries[i]) < 0)
			code = CODE_OVERLOADED;
	fetch->buf = buf_unref(fetch->buf);
	if (code != CODE_OK) {
		commit_end(self, code, "a message that is to wait cannot be read");
		return false;
	}
	// What was passed and did not come is nowhere any more.
	for (uint32_t i = self->at; i < self->count; ++i) {
		struct commit_item *item = &self->items[i];

		if (item->last->partition != fetch->partition || item->last->offset >= fetch->next)
			break;
		if (is_wanted(item))
			item->last->missing = true;
	}
	return true;
}

static void fetch_done(struct loop_task *task)
{
	struct retry_commit *self = CONTAINER_OF(task, struct retry_commit, fetch.task);

	if (fetch_take(self))
		fetch_next(&self->task);
}

// The next range of positions that are wanted. true: there is one.
static bool range_next(struct retry_commit *self)
{
	const struct log_retry *first, *last;
	uint32_t at;

	while (self->at < self->count && !is_wanted(&self->items[self->at]))
		++self->at;
	if (self->at == self->count)
		return false;
	first = last = self->items[self->at].last;
	for (at = self->at + 1; at < self->count; ++at) {
		const struct log_retry *next = self->items[at].last;

		if (next->partition != first->partition || next->offset - last->offset > FETCH_NEAR)
			break;
		if (is_wanted(&self->items[at]))
			last = next;
	}
	self->fetch = (struct log_fetch){.task = {.fn = fetch_done},
					 .loop = self->commit->loop,
					 .topic = self->commit->topic,
					 .offset = first->offset,
					 .until = last->offset + 1,
					 .partition = first->partition,
					 .max_messages = FETCH_MESSAGES,
					 .max_bytes = FETCH_BYTES};
	return true;
}

static void fetch_next(struct loop_task *task)
{
	struct retry_commit *self = CONTAINER_OF(task, struct retry_commit, task);

	while (range_next(self)) {
		if (!fetcher_fetch(self->adapter, &self->fetch))
			return; // fetch_done() goes on
		if (!fetch_take(self))
			return;
	}
	batch_go(self);
}

// ---- writing

static void batch_done(struct retry_batch *batch, enum code code, const char *text)
{
	commit_end(CONTAINER_OF(batch, struct retry_commit, batch), code, text);
}

static void batch_go(struct retry_commit *self)
{
	struct retry_batch *batch = &self->batch;

	batch->items = calloc(self->count, sizeof *batch->items);
	if (!batch->items) {
		commit_end(self, CODE_OVERLOADED, NULL);
		return;
	}
	for (uint32_t i = 0; i < self->count; ++i) {
		const struct commit_item *item = &self->items[i];
		struct retry_item *message = &batch->items[batch->count];

		// A removal is written whether the row is known or not: another owner may have put
		// it.
		if (item->last->put && !item->value)
			continue;
		retry_rows_key_put(message->key, item->last->partition, item->last->offset,
				   item->generation);
		message->value = item->value;
		message->size = item->size;
		++batch->count;
	}
	batch->group = self->commit->group;
	batch->topic = self->commit->topic->model;
	batch->done = batch_done;
	if (batch->count)
		retry_write(self->adapter, batch);
	else
		commit_end(self, CODE_OK, NULL);
}

void retry_commit(struct adapter *adapter, struct log_cursors *commit,
		  void (*done)(void *ctx, enum code code, const char *text), void *ctx)
{
	struct retry_commit *self = calloc(1, sizeof *self);

	if (self)
		self->items = calloc(commit->retry_count, sizeof *self->items);
	if (!self || !self->items) {
		free(self);
		done(ctx, CODE_OVERLOADED, NULL);
		return;
	}
	self->adapter = adapter;
	self->commit = commit;
	self->done = done;
	self->ctx = ctx;
	items_make(self);
	self->job = (struct retry_job){.group = commit->group,
				       .topic = commit->topic->model,
				       .opens = true,
				       .plan = rows_plan,
				       .done = rows_done};
	retry_store_look(adapter, &self->job);
}
