// A batch of records on its way from a client to the adapter.
//
// A batch is usually submitted as one part; under a quota in mode `wait` as several, in order. It
// is done once, when every part has come back and nothing waits. The records are slices of the
// owner's buffer and stay there.
//
// Invariants: a batch belongs to its connection's loop, except for a part that the adapter has.
// Batches of a connection never overtake each other.
//
// What it does not know: the frames that brought the records, and how the client gets the answer.

#include "proxy/client/batch.h"

#include "core/wire/partition.h"
#include "proxy/client/tenant_clients.h"
#include "proxy/resource/shared.h"

#define WAIT_STEP_NS MS_NS      // the least time between two looks at a quota
#define OVERLOAD_NS  (S_NS / 2) // when to try again after memory was short

// ---- what compressed batches become
//
// The window counts bytes as sent, so it does not bound what they are unpacked to. That is bounded
// beside it: as much as the window is free, more is taken from what the tenant may hold.

// False: the tenant holds as much as it may.
__attribute__((noinline)) static bool take_plain(struct batch *batch, uint32_t bytes)
{
	struct conn *conn = batch->conn;
	uint64_t window = (uint64_t)conn->session.window_base + conn->session.window_extra;
	uint64_t total = conn->session.plain_bytes + bytes;
	uint32_t more = (uint32_t)MIN(bytes, total > window ? total - window : 0);

	if (more && !quota_count_take(batch->tenant->ledger, QUOTA_MEMORY, more))
		return false;
	conn->session.plain_bytes = total;
	batch->plain_bytes = bytes;
	batch->plain_charged = more;
	return true;
}

static void give_plain_back(const struct batch *batch)
{
	if (batch->conn)
		batch->conn->session.plain_bytes -= batch->plain_bytes;
	if (batch->plain_charged)
		quota_count_give_back(batch->tenant->ledger, QUOTA_MEMORY, batch->plain_charged);
}

// ---- life

void batch_deinit(struct batch *batch)
{
	struct batch_part *part = batch->part.next;

	while (part) {
		struct batch_part *next = part->next;

		free(part);
		part = next;
	}
	budget_give_back(batch->tenant->memory, BUDGET_BODIES, batch->held_bytes);
	give_plain_back(batch);
	if (batch->storage_bytes)
		storage_release(batch->tenant->storage, batch->storage_bytes);
	list_unlink(&batch->in_session);
	list_unlink(&batch->parked);
	topic_use_unref(batch->use);
	buf_unref(batch->buf);
}

static void finish_if_done(struct batch *batch)
{
	if (batch->finished || batch->open_parts ||
	    (batch->sent < batch->valid && batch->rest_code == CODE_OK))
		return;
	batch->finished = true;
	batch->done(batch);
}

// ---- outcomes

static inline void count_run(struct batch *batch, const struct submit_run *run)
{
	struct produce_counters *tenant = &batch->tenant->produced;
	struct produce_counters *topic = batch->use ? &batch->use->stats->produced : NULL;
	size_t member;

	if (run->outcome == OUTCOME_OK)
		member = offsetof(struct produce_counters, ok);
	else if (run->outcome == OUTCOME_UNKNOWN)
		member = offsetof(struct produce_counters, unknown);
	else if (run->code == CODE_THROTTLED)
		member = offsetof(struct produce_counters, throttled);
	else
		member = offsetof(struct produce_counters, rejected);
	*(uint64_t *)(void *)((char *)tenant + member) += run->count;
	if (topic)
		*(uint64_t *)(void *)((char *)topic + member) += run->count;
	if (!batch->oneway || run->outcome == OUTCOME_OK)
		return;
	tenant->dropped += run->count;
	if (topic)
		topic->dropped += run->count;
}

void batch_count_refused(struct batch *batch, const struct submit_run *run)
{
	count_run(batch, run);
}

void batch_next_run(struct batch *batch, struct batch_cursor *cursor, uint32_t most,
		    struct submit_run *ret)
{
	const struct submit_run *run;

	if (!cursor->part && cursor->done == 0)
		cursor->part = &batch->part;
	while (cursor->part && cursor->run == cursor->part->submit.run_count) {
		cursor->part = cursor->part->next;
		cursor->run = 0;
	}
	if (!cursor->part || cursor->done >= batch->sent) {
		*ret = (struct submit_run){.count = most,
					   .outcome = OUTCOME_REJECTED,
					   .code = (uint16_t)batch->rest_code,
					   .offset = UINT64_MAX,
					   .retry_after_ms = batch->rest_retry_ms};
		cursor->done += most;
		count_run(batch, ret);
		return;
	}
	run = &cursor->part->submit.runs[cursor->run];
	*ret = *run;
	if (ret->offset != UINT64_MAX)
		ret->offset += cursor->used;
	ret->count = MIN(run->count - cursor->used, most);
	cursor->used += ret->count;
	if (cursor->used == run->count) {
		cursor->used = 0;
		++cursor->run;
	}
	cursor->done += ret->count;
	count_run(batch, ret);
}

// ---- submit

static uint64_t bytes_of(const struct submit_record *records, uint32_t count)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < count; ++i)
		bytes += records[i].size;
	return bytes;
}

static void count_stored(struct batch *batch, uint64_t bytes)
{
	batch->tenant->produced.stored_bytes += bytes;
	batch->use->stats->produced.stored_bytes += bytes;
}

// What was not stored costs nothing.
static void account_part(struct batch_part *part)
{
	const struct submit_record *record = part->submit.records;

	for (uint32_t i = 0; i < part->submit.run_count; ++i) {
		const struct submit_run *run = &part->submit.runs[i];
		uint64_t bytes = run->count == part->submit.count ? part->bytes
								  : bytes_of(record, run->count);

		if (run->outcome == OUTCOME_OK)
			count_stored(part->batch, bytes);
		else if (run->outcome == OUTCOME_REJECTED)
			quota_charge_give_back(&part->charge, run->count, bytes);
		record += run->count;
	}
	quota_charge_close(&part->charge);
}

// Refusals say nothing about how long a send takes.
static void latency_note(const struct batch_part *part)
{
	struct worker *worker = part->batch->worker;
	uint64_t stored = 0;

	for (uint32_t i = 0; i < part->submit.run_count; ++i)
		if (part->submit.runs[i].outcome == OUTCOME_OK)
			stored += part->submit.runs[i].count;
	latency_add(&worker->latencies[LATENCY_SEND],
		    loop_now_ns(worker->loop) - part->submit.submitted_ns, stored);
}

static void on_part(struct loop_task *task)
{
	struct batch_part *part = CONTAINER_OF(task, struct batch_part, task);

	latency_note(part);
	account_part(part);
	topic_use_answered(part->batch->use, &part->submit);
	--part->batch->open_parts;
	finish_if_done(part->batch);
}

static void on_submit_done(struct submit *submit)
{
	struct batch_part *part = CONTAINER_OF(submit, struct batch_part, submit);

	loop_post(part->batch->worker->loop, &part->task);
}

static void submit_part(struct batch *batch, struct batch_part *part, uint32_t count)
{
	struct backend *backend = batch->use->backend;
	const struct submit_record *first = batch->records + batch->sent;
	bool all = count == batch->valid - batch->sent;

	part->task.fn = on_part;
	part->batch = batch;
	part->bytes = all ? batch->left_bytes : bytes_of(first, count);
	part->submit = (struct submit){.topic = batch->use->handle,
				       .buf = batch->buf,
				       .records = first,
				       .count = count,
				       .runs = batch->runs + batch->sent,
				       .done = on_submit_done,
				       .submitted_ns = loop_now_ns(batch->worker->loop)};
	batch->sent += count;
	++batch->open_parts;
	batch->last_part->next = part == batch->last_part ? NULL : part;
	batch->last_part = part;
	backend->ops->submit(backend->adapter, &part->submit);
}

// Submits as many of the records as the quota lets pass now. False: some are left.
static bool submit_some(struct batch *batch, uint64_t now_ns)
{
	uint32_t want = batch->valid - batch->sent;
	const struct submit_record *first = batch->records + batch->sent;
	struct batch_part *part = batch->sent ? calloc(1, sizeof *part) : &batch->part;
	size_t passed;

	if (!part)
		return false; // memory may be there the next time
	passed = quota_charge_batch(batch->tenant->ledger, QUOTA_PRODUCE, &first->size,
				    sizeof *first, want, batch->left_bytes, now_ns, &part->charge);
	for (size_t i = 0; i < passed && passed < want; ++i)
		batch->left_bytes -= first[i].size;
	if (passed)
		submit_part(batch, part, (uint32_t)passed);
	else if (part != &batch->part)
		free(part);
	return passed == want;
}

// ---- quota

static uint64_t next_wait_ns(const struct batch *batch, uint64_t now_ns, struct quota_answer *ret)
{
	uint32_t size = batch->records[batch->sent].size;

	quota_explain(batch->tenant->ledger, QUOTA_PRODUCE, size, now_ns, ret);
	return MAX(ret->wait_ns, WAIT_STEP_NS);
}

static void refuse_rest(struct batch *batch, enum code code, uint64_t retry_ns)
{
	batch->rest_code = code;
	batch->rest_retry_ms = batch_wait_ms(retry_ns);
}

// `turn` NULL: of any.
static struct batch *first_waiting(const struct conn *conn, const struct sender_turn *turn)
{
	LIST_FOREACH(pos, next, &conn->session.parked)
	{
		struct batch *batch = LIST_ENTRY(pos, struct batch, parked);

		assert(batch->sent < batch->valid && batch->rest_code == CODE_OK);
		if (!turn || batch->turn == turn)
			return batch;
	}
	return NULL;
}

void batch_refuse_waiting(struct conn *conn, const struct sender_turn *turn, enum code code)
{
	struct batch *batch;

	while (conn_is_open(conn) && (batch = first_waiting(conn, turn))) {
		refuse_rest(batch, code, 0);
		list_unlink(&batch->parked);
		finish_if_done(batch);
	}
}

static void wait_at_most(struct tenant_clients *clients, uint64_t until_ns)
{
	if (!clients->waiting_timer.at_ns || until_ns < clients->waiting_timer.at_ns)
		loop_timer_set(&clients->waiting_timer, until_ns);
}

// Mode `wait`: parked in its connection's window, at most wait_ms.
static void park_batch(struct batch *batch, uint64_t now_ns)
{
	struct tenant_view *tenant = batch->tenant;
	struct quota_answer why;
	uint64_t wait_ns = next_wait_ns(batch, now_ns, &why);

	batch->wait_until_ns = now_ns + tenant->model->limits.wait_ms * MS_NS;
	list_push_back(&batch->conn->session.parked, &batch->parked);
	if (list_empty(&batch->conn->session.waiting))
		list_push_back(&tenant->clients->waiting, &batch->conn->session.waiting);
	wait_at_most(tenant->clients, MIN(now_ns + wait_ns, batch->wait_until_ns));
	conn_tell_throttled(batch->conn, QUOTA_PRODUCE, &why);
}

// Takes the waiting batches of a connection as far as they come. False: some still wait; then
// *ret_again_ns says when to look.
static bool serve_waiting(struct conn *conn, uint64_t now_ns, uint64_t *ret_again_ns)
{
	struct quota_answer why;
	struct batch *batch;

	while (conn_is_open(conn) && (batch = first_waiting(conn, NULL))) {
		if (!submit_some(batch, now_ns)) {
			uint64_t wait_ns = next_wait_ns(batch, now_ns, &why);

			if (now_ns < batch->wait_until_ns) {
				*ret_again_ns = MIN(now_ns + wait_ns, batch->wait_until_ns);
				return false;
			}
			refuse_rest(batch, CODE_THROTTLED, wait_ns);
		}
		list_unlink(&batch->parked);
		finish_if_done(batch);
	}
	return true;
}

// Connections take turns at the front, so that none lives on the tokens of all.
void batch_waiting_over(struct loop_timer *timer)
{
	struct tenant_clients *clients = CONTAINER_OF(timer, struct tenant_clients, waiting_timer);
	uint64_t now_ns = loop_now_ns(timer->loop), again_ns;
	struct list round = LIST_INIT(round);

	while (!list_empty(&clients->waiting))
		list_push_back(&round, list_pop_front(&clients->waiting));
	while (!list_empty(&round)) {
		struct conn *conn =
			CONTAINER_OF(list_pop_front(&round), struct conn, session.waiting);

		if (serve_waiting(conn, now_ns, &again_ns))
			continue;
		// The first to be served this time is the last the next time.
		list_push_front(&clients->waiting, &conn->session.waiting);
		wait_at_most(clients, again_ns);
	}
}

// Mode `reject`: what does not fit gets a turn of its own. Messages that are sent later never pass
// before: what was promised is the sender's alone.
__attribute__((noinline)) static void submit_in_turn(struct batch *batch, uint64_t now_ns)
{
	struct batch_part *part = &batch->part;
	struct sender_turn *turn = batch->turn;
	uint32_t count = batch->valid;
	size_t passed = sender_turn_charge(turn, batch->records, count, batch->left_bytes, now_ns,
					   &part->charge);
	uint64_t wait_ns = sender_turn_tell(turn, count, count - passed, now_ns);

	if (passed < count)
		refuse_rest(batch, CODE_THROTTLED, MAX(wait_ns, WAIT_STEP_NS));
	if (passed)
		submit_part(batch, part, (uint32_t)passed);
}

// What the quota does not let pass now.
__attribute__((noinline)) static void park_or_refuse(struct batch *batch, uint64_t now_ns)
{
	const struct tenant *model = batch->tenant->model;
	struct quota_answer why;

	if (model->limits.over == QUOTA_OVER_WAIT && model->limits.wait_ms)
		park_batch(batch, now_ns);
	else
		refuse_rest(batch, CODE_THROTTLED, next_wait_ns(batch, now_ns, &why));
}

static void charge_and_submit(struct batch *batch)
{
	const struct tenant *model = batch->tenant->model;
	uint64_t now_ns = loop_now_ns(batch->worker->loop);
	bool queue =
		!list_empty(&batch->conn->session.waiting); // batches never overtake each other

	if (!queue && model->limits.over == QUOTA_OVER_REJECT) {
		submit_in_turn(batch, now_ns);
		return;
	}
	if (batch->turn->limited || model->limits.over == QUOTA_OVER_REJECT) {
		sender_turn_tell(batch->turn, batch->valid, 0, now_ns);
		if (!batch->conn)
			return; // that closed it; nothing was charged
	}
	if (queue || !submit_some(batch, now_ns))
		park_or_refuse(batch, now_ns);
}

// ---- what the tenant may store

#define STORED_HEAD  32u         // at least what a backend adds to records that it stores together
#define STORED_CHUNK (32u << 10) // of that many bytes at least, or of one record

// What the batch takes when it is stored, at the most: records that go to one partition, without a
// refused one among them, are stored together.
static uint64_t stored_most(const struct batch *batch)
{
	uint64_t heads = 1 + batch->offered - batch->valid + batch->left_bytes / STORED_CHUNK;

	for (uint32_t i = 1; i < batch->valid; ++i)
		heads += batch->records[i].partition != batch->records[i - 1].partition;
	return batch->left_bytes + heads * STORED_HEAD;
}

// A batch passes whole or not at all. What it takes stays taken until it is answered.
__attribute__((noinline)) static bool storage_admits(struct batch *batch)
{
	struct tenant_view *tenant = batch->tenant;
	uint64_t bytes = stored_most(batch);

	if (!storage_take(tenant->storage, bytes)) {
		storage_log_refused(tenant->storage, tenant->model ? tenant->model->name : NULL,
				    loop_now_ns(batch->worker->loop));
		return false;
	}
	batch->storage_bytes = bytes;
	return true;
}

// ---- sending

enum code batch_place_by_parts(const struct topic_use *use, const uint8_t *data,
			       uint32_t *ret_partition)
{
	const struct topic *topic = use->model;
	uint32_t flags = record_flags(data);
	struct slice key;
	struct record_view view;

	if ((flags & RECORD_KEY) && topic->partitions > 1) {
		key = record_key(data);
		*ret_partition = partition_of_key(key.data, key.size, topic->partitions);
	}
	if (flags & (RECORD_PARTITION | RECORD_DUE)) {
		record_read(data, &view);
		if ((flags & RECORD_DUE) && !(backend_capabilities(use->backend) & CAP_DELAY))
			return CODE_UNSUPPORTED_BY_BACKEND;
		if ((flags & RECORD_PARTITION) && view.partition >= topic->partitions)
			return CODE_BAD_REQUEST;
		if (flags & RECORD_PARTITION)
			*ret_partition = view.partition;
	}
	return CODE_OK;
}

static void count_offered(const struct batch *batch)
{
	uint64_t bytes = batch->offered_bytes;

	batch->tenant->produced.messages += batch->offered;
	batch->tenant->produced.bytes += bytes;
	if (!batch->use)
		return;
	batch->use->stats->produced.messages += batch->offered;
	batch->use->stats->produced.bytes += bytes;
}

static void admit_batch(struct batch *batch, enum code code, uint32_t plain_bytes)
{
	if (code != CODE_OK)
		refuse_rest(batch, code, 0);
	else if (batch->conn->state == CONN_LEAVING)
		refuse_rest(batch, CODE_SHUTTING_DOWN, 0);
	else if (budget_is_full(&batch->worker->shared->budget) ||
		 (plain_bytes && !take_plain(batch, plain_bytes)))
		refuse_rest(batch, CODE_OVERLOADED, OVERLOAD_NS);
	else if (batch->valid && storage_is_limited(batch->tenant->storage) &&
		 !storage_admits(batch))
		refuse_rest(batch, CODE_LIMIT_EXCEEDED, 0);
	else if (batch->valid)
		charge_and_submit(batch);
}

void batch_send(struct batch *batch, enum code code, uint32_t plain_bytes)
{
	list_push_back(&batch->conn->session.batches, &batch->in_session);
	count_offered(batch);
	++batch->open_parts; // it lasts, should what is sent meanwhile close the connection
	admit_batch(batch, code, plain_bytes);
	--batch->open_parts;
	finish_if_done(batch);
}

void batch_detach_all(struct conn *conn)
{
	while (!list_empty(&conn->session.batches)) {
		struct batch *batch =
			LIST_ENTRY(conn->session.batches.next, struct batch, in_session);

		list_unlink(&batch->in_session);
		list_unlink(&batch->parked);
		batch->conn = NULL;
		batch->turn = NULL;
		if (batch->rest_code == CODE_OK)
			batch->rest_code = CODE_CONNECTION_LOST;
		finish_if_done(batch);
	}
}
