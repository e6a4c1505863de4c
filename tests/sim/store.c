// Every request becomes a piece of work with a timer: when it rings first the request is carried
// out, when it rings again the answer is posted. So what a read tells may be old when it arrives.

#include "tests/sim/store.h"

#include "adapters/log/backlog_rows.h"
#include "core/base/clock.h"
#include "core/base/list.h"
#include "core/wire/record.h"
#include "tests/sim/sim.h"

#include <stdio.h>

struct store store;

struct work {
	struct list all;
	struct loop_timer timer;
	struct adapter *adapter;
	struct loop_task *answer;
	void (*carry_out)(struct work *work);
	void *request;
	bool carried_out, fails;
};

static struct list works, watches;

// ---- messages

struct store_message *store_find(uint32_t partition, uint64_t offset)
{
	struct store_partition *in = &store.partitions[partition];
	uint32_t low = 0, high = in->count;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (in->messages[middle].offset < offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low < in->count && in->messages[low].offset == offset ? &in->messages[low] : NULL;
}

// A producer's clock may be hours behind, or ahead.
static int64_t clock_of_producer(void)
{
	return sim_one_in(2) ? 0 : 7200000 - (int64_t)sim_below(14400000);
}

static void record_make(struct store_message *message, uint32_t partition, uint64_t ttl_ms)
{
	uint8_t id[RECORD_ID_SIZE] = {0}, body[40] = {0};
	struct record_parts parts = {.id = id,
				     .created_ms = clock_wall_ms() + clock_of_producer(),
				     .due_ms = (int64_t)message->due_ms,
				     .ttl_ms = (uint32_t)ttl_ms,
				     .body = {body, (size_t)sim_below(sizeof body)}};

	le32_put(id, partition);
	le64_put(id + 4, message->offset);
	if (message->due_ms)
		parts.flags |= RECORD_DUE;
	if (ttl_ms)
		parts.flags |= RECORD_TTL;
	message->size = (uint32_t)record_parts_size(&parts);
	SIM_MUST(message->size <= sizeof message->record);
	record_write(&parts, message->record);
}

static void tell_watches(void)
{
	LIST_FOREACH(pos, next, &watches)
	{
		struct log_watch *watch = LIST_ENTRY(pos, struct log_watch, node);

		if (watch->posted)
			continue;
		watch->posted = true;
		loop_post(watch->loop, &watch->task);
	}
}

void store_append(uint32_t partition, uint64_t gap, uint64_t due_ms, uint64_t ttl_ms)
{
	struct store_partition *in = &store.partitions[partition];
	struct store_message *message = &in->messages[in->count];
	uint64_t from_ms = due_ms ? due_ms : (uint64_t)clock_wall_ms();

	if (in->count == STORE_MESSAGES)
		return;
	*message = (struct store_message){.offset = in->end + gap,
					  .stored_ms = clock_wall_ms(),
					  .due_ms = due_ms,
					  .expiry_ms = ttl_ms ? from_ms + ttl_ms : UINT64_MAX};
	record_make(message, partition, ttl_ms);
	sim_trace("%u/%llu is written%s%s", partition, (unsigned long long)message->offset,
		  due_ms ? ", due later" : "", ttl_ms ? ", will expire" : "");
	++in->count;
	in->end = message->offset + 1;
	tell_watches();
}

void store_trim(uint32_t partition, uint64_t first)
{
	struct store_partition *in = &store.partitions[partition];

	in->first = MAX(in->first, MIN(first, in->end));
	sim_trace("partition %u begins at %llu", partition, (unsigned long long)in->first);
}

// ---- reading a range

static void fetch_copy(struct log_fetch *fetch, const struct store_message *from, uint32_t count)
{
	struct log_entry *entries;
	uint8_t *at;
	size_t bytes = count * sizeof *entries + 16;

	for (uint32_t i = 0; i < count; ++i)
		bytes += from[i].size;
	SIM_EQUAL(buf_new(bytes, &fetch->buf), 0);
	entries = (struct log_entry *)(((uintptr_t)fetch->buf->data + 15) & ~(uintptr_t)15);
	at = (uint8_t *)(entries + count);
	for (uint32_t i = 0; i < count; ++i) {
		memcpy(at, from[i].record, from[i].size);
		entries[i] =
			(struct log_entry){from[i].offset, from[i].stored_ms, at, from[i].size};
		at += from[i].size;
	}
	fetch->entries = entries;
	fetch->count = count;
}

static void fetch_run(struct work *work)
{
	struct log_fetch *fetch = work->request;
	const struct store_partition *in = &store.partitions[fetch->partition];
	uint64_t from = MAX(fetch->offset, in->first);
	uint32_t most = 1 + (uint32_t)sim_below(MIN(fetch->max_messages, 20)), at = 0, count = 0;

	fetch->code = CODE_OK;
	fetch->next = fetch->until;
	while (at < in->count && in->messages[at].offset < from)
		++at;
	while (at + count < in->count && count < most &&
	       in->messages[at + count].offset < fetch->until)
		++count;
	if (count)
		fetch_copy(fetch, &in->messages[at], count);
	if (count == most)
		fetch->next = in->messages[at + count - 1].offset + 1;
}

// ---- the retry store

static int row_compare(const struct log_retry *a, uint64_t due_ms, uint32_t partition,
		       uint64_t offset)
{
	if (a->due_ms != due_ms)
		return a->due_ms < due_ms ? -1 : 1;
	if (a->partition != partition)
		return a->partition < partition ? -1 : 1;
	return a->offset < offset ? -1 : a->offset > offset;
}

// The first row behind `after`.
static struct store_message *row_next(const struct log_retry *after, uint32_t *ret_partition)
{
	struct store_message *first = NULL;

	for (uint32_t p = 0; p < store.count; ++p) {
		for (uint32_t i = 0; i < store.partitions[p].count; ++i) {
			struct store_message *message = &store.partitions[p].messages[i];
			struct log_retry row = {.offset = message->offset,
						.due_ms = message->kept_due_ms,
						.partition = p};

			if (!message->kept || row_compare(after, row.due_ms, p, row.offset) >= 0)
				continue;
			if (first && row_compare(&row, first->kept_due_ms, *ret_partition,
						 first->offset) > 0)
				continue;
			first = message;
			*ret_partition = p;
		}
	}
	return first;
}

static void due_run(struct work *work)
{
	enum { MOST = 8 };
	struct log_due *due = work->request;
	struct log_retry after = due->after;
	uint32_t most = MIN(due->max_messages, 1 + (uint32_t)sim_below(MOST)), partition = 0;
	struct store_message *message;
	struct log_waiting *entries;
	uint8_t *at;

	due->code = CODE_OK;
	due->next_ms = UINT64_MAX;
	SIM_EQUAL(buf_new(MOST * (sizeof *entries + sizeof message->record) + 16, &due->buf), 0);
	entries = (struct log_waiting *)(((uintptr_t)due->buf->data + 15) & ~(uintptr_t)15);
	at = (uint8_t *)(entries + MOST);
	due->entries = entries;
	while ((message = row_next(&after, &partition))) {
		if (message->kept_due_ms > due->until_ms || due->count == most) {
			due->next_ms = message->kept_due_ms;
			return;
		}
		memcpy(at, message->record, message->size);
		entries[due->count++] = (struct log_waiting){
			.entry = {message->offset, message->stored_ms, at, message->size},
			.due_ms = message->kept_due_ms,
			.partition = partition,
			.attempts = message->kept_attempts,
		};
		at += sizeof message->record;
		after = (struct log_retry){.offset = message->offset,
					   .due_ms = message->kept_due_ms,
					   .partition = partition};
	}
}

static void row_write(struct log_retry *row)
{
	struct store_message *message = store_find(row->partition, row->offset);

	SIM_MUST(message);
	row->missing =
		row->put && !message->kept && row->offset < store.partitions[row->partition].first;
	message->kept = row->put && !row->missing;
	message->kept_due_ms = row->due_ms;
	message->kept_attempts = row->attempts;
	sim_trace("  the retry store: %u/%llu %s", row->partition, (unsigned long long)row->offset,
		  message->kept ? "is in" : "is out");
}

// ---- cursors

// The caller frees the text.
static struct log_cursor cursor_of(uint32_t p)
{
	const struct store_partition *in = &store.partitions[p];
	struct log_cursor cursor = {
		.position = in->position, .text = strdup(in->text), .partition = p};

	for (uint32_t i = 0; i < in->count; ++i) {
		const struct store_message *message = &in->messages[i];

		cursor.retrying += message->kept && message->kept_attempts;
		cursor.delayed += message->kept && !message->kept_attempts;
	}
	return cursor;
}

struct source_partition store_backlog_row(uint32_t partition)
{
	const struct store_partition *in = &store.partitions[partition];
	struct log_cursor cursor = cursor_of(partition);
	struct source_partition row;

	SIM_MUST(backlog_row_read(&cursor, in->first, in->end, &row) == 0);
	free(cursor.text);
	return row;
}

static void load_run(struct work *work)
{
	struct log_cursors *load = work->request;

	load->code = CODE_OK;
	load->epoch = 0;
	for (uint32_t p = 0; p < load->count; ++p)
		load->cursors[p] = cursor_of(p);
}

static void commit_apply(struct log_cursors *commit)
{
	for (uint32_t i = 0; i < commit->retry_count; ++i)
		row_write(&commit->retries[i]);
	for (uint32_t i = 0; i < commit->count; ++i) {
		struct store_partition *in = &store.partitions[commit->cursors[i].partition];

		in->position = commit->cursors[i].position;
		free(in->text);
		in->text = strdup(commit->cursors[i].text);
		sim_trace("  the cursor of partition %u is %llu", commit->cursors[i].partition,
			  (unsigned long long)in->position);
	}
}

static void commit_run(struct work *work)
{
	struct log_cursors *commit = work->request;

	commit->code = CODE_OK;
	commit_apply(commit);
}

// ---- work

static enum code *code_of(struct work *work)
{
	if (work->carry_out == fetch_run)
		return &((struct log_fetch *)work->request)->code;
	if (work->carry_out == due_run)
		return &((struct log_due *)work->request)->code;
	return &((struct log_cursors *)work->request)->code;
}

static void load_nothing(struct log_cursors *load)
{
	for (uint32_t p = 0; p < load->count; ++p)
		load->cursors[p] = (struct log_cursor){.partition = p};
}

// A failure: a commit may have happened all the same.
static void fail(struct work *work)
{
	if (work->carry_out == commit_run) {
		if (sim_one_in(2))
			commit_apply(work->request);
	} else if (work->carry_out == load_run) {
		load_nothing(work->request);
	}
	*code_of(work) = CODE_BACKEND_DOWN;
	sim_trace("  a %s fails", work->carry_out == commit_run  ? "commit"
				  : work->carry_out == fetch_run ? "fetch"
								 : "look");
}

static void carry_out(struct work *work)
{
	work->carried_out = true;
	if (!work->adapter->dead && !work->fails) {
		work->carry_out(work);
	} else if (!work->adapter->dead) {
		fail(work);
	} else if (work->carry_out == commit_run) {
		*code_of(work) = CODE_OK; // so that the dead end in peace
	} else {
		if (work->carry_out == load_run)
			load_nothing(work->request);
		*code_of(work) = CODE_BACKEND_DOWN;
	}
}

static void on_timer(struct loop_timer *timer)
{
	struct work *work = CONTAINER_OF(timer, struct work, timer);

	if (!work->carried_out) {
		carry_out(work);
		loop_timer_set(&work->timer,
			       loop_now_ns(timer->loop) + sim_below(store.delay_ns + 1));
		return;
	}
	store.failures += work->carry_out == commit_run && *code_of(work) != CODE_OK;
	loop_post(timer->loop, work->answer);
	list_unlink(&work->all);
	free(work);
}

static void work_start(struct adapter *adapter, struct loop *loop, struct loop_task *answer,
		       void (*run)(struct work *), void *request, unsigned fails)
{
	struct work *work = calloc(1, sizeof *work);

	SIM_MUST(work);
	*work = (struct work){.adapter = adapter,
			      .answer = answer,
			      .carry_out = run,
			      .request = request,
			      .fails = fails && sim_one_in(fails)};
	list_push_back(&works, &work->all);
	loop_timer_init(&work->timer, loop, on_timer);
	loop_timer_set(&work->timer, loop_now_ns(loop) + sim_below(store.delay_ns + 1));
}

void store_kill(struct adapter *adapter)
{
	LIST_FOREACH(pos, next, &works)
	{
		struct work *work = LIST_ENTRY(pos, struct work, all);

		if (work->adapter == adapter && work->carry_out == commit_run &&
		    !work->carried_out && sim_one_in(2))
			carry_out(work);
	}
	adapter->dead = true;
}

// ---- log_ops

static bool store_fetch(struct adapter *adapter, struct log_fetch *fetch)
{
	struct work at_once = {.adapter = adapter, .carry_out = fetch_run, .request = fetch};

	fetch->buf = NULL;
	fetch->count = 0;
	if (sim_one_in(3)) {
		at_once.fails = store.fetches_fail && sim_one_in(store.fetches_fail);
		carry_out(&at_once);
		return true;
	}
	work_start(adapter, fetch->loop, &fetch->task, fetch_run, fetch, store.fetches_fail);
	return false;
}

static void store_due(struct adapter *adapter, struct log_due *due)
{
	due->buf = NULL;
	due->count = 0;
	work_start(adapter, due->loop, &due->task, due_run, due, store.looks_fail);
}

static void store_load(struct adapter *adapter, struct log_cursors *load)
{
	work_start(adapter, load->loop, &load->task, load_run, load, store.loads_fail);
}

static void store_commit(struct adapter *adapter, struct log_cursors *commit)
{
	work_start(adapter, commit->loop, &commit->task, commit_run, commit, store.commits_fail);
}

static bool store_bounds(struct adapter_topic *topic, uint32_t partition, uint64_t *ret_first,
			 uint64_t *ret_end)
{
	*ret_first = store.partitions[partition].first;
	*ret_end = store.partitions[partition].end;
	return true;
}

static void store_watch(struct adapter_topic *topic, struct log_watch *watch)
{
	list_push_back(&watches, &watch->node);
}

static void store_unwatch(struct adapter_topic *topic, struct log_watch *watch)
{
	list_unlink(&watch->node);
}

const struct log_ops store_ops = {.fetch = store_fetch,
				  .due = store_due,
				  .load = store_load,
				  .commit = store_commit,
				  .bounds = store_bounds,
				  .watch = store_watch,
				  .unwatch = store_unwatch};

void store_start(uint32_t partitions)
{
	memset(&store, 0, sizeof store);
	list_init(&works);
	list_init(&watches);
	store.count = partitions;
	for (uint32_t p = 0; p < partitions; ++p)
		store.partitions[p].text = strdup("");
}

void store_end(void)
{
	SIM_MUST(list_empty(&works) && list_empty(&watches));
	for (uint32_t p = 0; p < store.count; ++p)
		free(store.partitions[p].text);
}
