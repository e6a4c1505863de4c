// The cursors and the retry store of a group on Kafka, with several owners at once: nobody is
// fenced there, so a stale owner goes on reading, settling and committing, and what it asked for
// may happen long after it died.
//
// Real: the log source with its window, the rows of the retry store in memory and what they make of
// cursors (adapters/kafka/retry_rows.c, retry_index.c). Modelled, with the broker: committed
// offsets, the last commit to arrive stands; a compacted topic; and the order of the adapter's
// steps (load: offsets, then rows; commit: rows, and when all are acknowledged offsets; reset:
// fences, offsets, rows), each step of which may be late, fail, or fail and happen later.
//
// After every event the durable state alone must still hold every message that nobody acknowledged:
// not passed by the cursor, or in the retry topic; and so must what an owner begins with. At the
// end an owner that begins from it hands out all of them.

#include "tests/sim/sim.h"
#include "tests/sim/world.h"

#include "adapters/kafka/retry_rows.h"
#include "adapters/log/window.h"
#include "core/base/clock.h"
#include "core/base/list.h"
#include "core/wire/record.h"

enum { PARTITIONS = 2, MESSAGES = 60, RECORDS = 20000, LIVES = 3, OUT = 400 };

struct message {
	uint64_t due_ms;
	bool acked;   // some owner has accepted the ack
	bool skipped; // the group was moved past it
	uint8_t record[112];
	uint32_t size;
};

// One message of the retry topic; its place is its offset.
struct record {
	uint8_t key[RETRY_KEY];
	uint8_t *value; // NULL: a tombstone
	uint32_t size;
	bool gone; // compacted
};

struct adapter { // one life of an owner
	struct adapter *next;
	struct source *source; // NULL: closed
	struct retry_rows rows;
	uint64_t read_to; // of the retry topic
	uint64_t epoch;
	uint32_t works; // under way
	bool dead;      // nothing it asked for goes on
	bool closing, closed, closing_works;
};

struct out { // handed out and not settled
	struct adapter *life;
	struct delivery delivery;
};

static struct {
	struct loop *loop;
	struct topic topic;
	struct group group;
	struct message messages[PARTITIONS][MESSAGES];
	uint32_t counts[PARTITIONS];
	struct {
		uint64_t position;
		char *text;
	} offsets[PARTITIONS];
	struct record records[RECORDS];
	uint32_t record_count;
	struct adapter *lives; // and dead ones, until the end
	struct out out[OUT];
	uint32_t out_count;
	struct list works, watches;
	uint64_t delay_ns;
	unsigned fail; // one step of so many; 0: none
	uint32_t pending;
} m;

static uint64_t now_ms(void)
{
	return (uint64_t)clock_wall_ms();
}

static bool alive(const struct adapter *life)
{
	return !life->dead && !life->closing;
}

// ---- what is durable

static uint64_t record_append(const uint8_t key[RETRY_KEY], const uint8_t *value, uint32_t size)
{
	struct record *record = &m.records[m.record_count];

	SIM_MUST(m.record_count < RECORDS);
	memcpy(record->key, key, RETRY_KEY);
	record->value = NULL;
	record->size = size;
	record->gone = false;
	if (value) {
		record->value = malloc(size);
		SIM_MUST(record->value);
		memcpy(record->value, value, size);
	}
	sim_trace("  retry topic %u: %02x/%02x %s", m.record_count, key[3], key[11],
		  value ? "is put" : "is removed");
	return m.record_count++;
}

static void offset_commit(uint32_t partition, uint64_t position, const char *text)
{
	free(m.offsets[partition].text);
	m.offsets[partition].position = position;
	m.offsets[partition].text = strdup(text);
	sim_trace("  the offset of partition %u is %llu", partition, (unsigned long long)position);
}

// What another message of the same key stands behind goes; so do tombstones.
static void compact(void)
{
	for (uint32_t i = 0; i < m.record_count; ++i) {
		struct record *record = &m.records[i];
		bool superseded = i + 1 < m.record_count && !record->value && sim_one_in(3);

		for (uint32_t k = i + 1; !superseded && k < m.record_count; ++k)
			superseded = memcmp(record->key, m.records[k].key, RETRY_KEY) == 0;
		record->gone = record->gone || (superseded && sim_one_in(2));
	}
}

static void rows_read(struct retry_rows *rows, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; ++i) {
		const struct record *record = &m.records[i];

		if (!record->gone)
			SIM_EQUAL(
				retry_rows_apply(rows, i, (struct slice){record->key, RETRY_KEY},
						 (struct slice){record->value,
								record->value ? record->size : 0}),
				0);
	}
}

static void offsets_read(struct log_cursor *cursors)
{
	for (uint32_t p = 0; p < PARTITIONS; ++p)
		cursors[p] = (struct log_cursor){.position = m.offsets[p].position,
						 .text = strdup(m.offsets[p].text),
						 .partition = p};
}

// Whether an owner that begins now would find the message.
static bool is_kept(const struct retry_rows *rows, const struct window *window, uint32_t partition,
		    uint64_t offset)
{
	return offset >= window_next(window) || window_state_at(window, offset) != WINDOW_DONE ||
	       retry_index_find(&rows->index, partition, offset);
}

static void check_partition(const struct retry_rows *rows, const struct log_cursor *cursor,
			    bool at_the_end)
{
	uint32_t p = cursor->partition;
	uint64_t epoch, in_store = 0;
	struct window window;

	window_init(&window, cursor->position);
	SIM_EQUAL(window_decode(&window, cursor->text, &epoch), 0);
	for (uint32_t i = 0; i < m.counts[p]; ++i) {
		const struct message *message = &m.messages[p][i];

		in_store += retry_index_find(&rows->index, p, i) != NULL;
		if (message->acked || message->skipped || is_kept(rows, &window, p, i))
			continue;
		sim_trace("%u/%u is lost", p, i);
		SIM_MUST(!"a message that nobody acknowledged is still there");
	}
	SIM_EQUAL(cursor->retrying + cursor->delayed, in_store);
	SIM_MUST(!at_the_end || (window.base == m.counts[p] && in_store == 0));
	window_deinit(&window);
}

static void check(bool at_the_end)
{
	struct log_cursor cursors[PARTITIONS];
	struct retry_rows rows;

	retry_rows_init(&rows);
	offsets_read(cursors);
	rows_read(&rows, 0, m.record_count);
	SIM_EQUAL(retry_rows_fit(&rows, cursors, PARTITIONS, now_ms()), 0);
	for (uint32_t p = 0; p < PARTITIONS; ++p) {
		check_partition(&rows, &cursors[p], at_the_end);
		free(cursors[p].text);
	}
	retry_rows_deinit(&rows);
}

// ---- work: steps, each some time after the one before

struct work {
	struct list all;
	struct loop_timer timer;
	struct adapter *life;
	void (*step)(struct work *work);
	void *request;
	unsigned stage, at;
	uint64_t end;
	// Of a commit: a message for each position.
	struct write {
		struct log_retry *last;
		uint8_t key[RETRY_KEY];
		uint8_t *value;
		uint32_t size;
		uint64_t written;
	} *writes;
	uint32_t write_count;
};

static void work_again(struct work *work)
{
	loop_timer_set(&work->timer, loop_now_ns(m.loop) + sim_below(m.delay_ns + 1));
}

static void work_end(struct work *work)
{
	for (uint32_t i = 0; i < work->write_count; ++i)
		free(work->writes[i].value);
	free(work->writes);
	list_unlink(&work->all);
	--work->life->works;
	free(work);
}

static void on_work(struct loop_timer *timer)
{
	struct work *work = CONTAINER_OF(timer, struct work, timer);

	work->step(work);
}

static struct work *work_start(struct adapter *life, void (*step)(struct work *), void *request)
{
	struct work *work = calloc(1, sizeof *work);

	SIM_MUST(work);
	*work = (struct work){.life = life, .step = step, .request = request};
	++life->works;
	list_push_back(&m.works, &work->all);
	loop_timer_init(&work->timer, m.loop, on_work);
	work_again(work);
	return work;
}

static bool fails(void)
{
	return m.fail && sim_one_in(m.fail);
}

// Something on its way to the broker that arrives whatever becomes of who sent it.
struct late {
	struct loop_timer timer;
	uint8_t key[RETRY_KEY];
	uint8_t *value;
	uint32_t size;
	bool is_offset;
	uint32_t partition;
	uint64_t position;
	char *text;
};

static void on_late(struct loop_timer *timer)
{
	struct late *late = CONTAINER_OF(timer, struct late, timer);

	sim_trace("  late:");
	if (late->is_offset)
		offset_commit(late->partition, late->position, late->text);
	else
		record_append(late->key, late->value, late->size);
	free(late->text);
	free(late->value);
	free(late);
	--m.pending;
}

static struct late *late_new(void)
{
	static const uint64_t spans_ms[] = {5, 500, 5000, 60000};
	struct late *late = calloc(1, sizeof *late);

	SIM_MUST(late);
	++m.pending;
	loop_timer_init(&late->timer, m.loop, on_late);
	loop_timer_set(&late->timer,
		       loop_now_ns(m.loop) + MS_NS * sim_below(spans_ms[sim_below(4)] + 1));
	return late;
}

static void write_late(const struct write *write)
{
	struct late *late = late_new();

	memcpy(late->key, write->key, RETRY_KEY);
	late->size = write->size;
	if (!write->value)
		return;
	late->value = malloc(write->size);
	SIM_MUST(late->value);
	memcpy(late->value, write->value, write->size);
}

static void cursor_late(const struct log_cursor *cursor)
{
	struct late *late = late_new();

	late->is_offset = true;
	late->partition = cursor->partition;
	late->position = cursor->position;
	late->text = strdup(cursor->text);
}

// ---- load: offsets, then rows

static void load_answer(struct work *work, enum code code)
{
	struct log_cursors *load = work->request;

	load->code = code;
	for (uint32_t i = 0; code != CODE_OK && i < load->count; ++i) {
		free(load->cursors[i].text);
		load->cursors[i].text = NULL;
	}
	work_end(work);
	loop_post(load->loop, &load->task);
}

static void load_step(struct work *work)
{
	struct adapter *life = work->life;
	struct log_cursors *load = work->request;

	if (life->dead || fails()) {
		load_answer(work, CODE_BACKEND_DOWN);
		return;
	}
	switch (work->stage) {
	case 0:
		offsets_read(load->cursors);
		work->stage = 1;
		break;
	case 1:
		retry_rows_deinit(&life->rows);
		life->read_to = 0;
		work->stage = 2;
		break;
	case 2: {
		uint64_t to = life->read_to + 1 + sim_below(30);

		to = MIN(to, (uint64_t)m.record_count);
		rows_read(&life->rows, life->read_to, to);
		life->read_to = to;
		work->stage = to < m.record_count ? 2 : 3;
		break;
	}
	default:
		SIM_EQUAL(retry_rows_fit(&life->rows, load->cursors, load->count, now_ms()), 0);
		// What the owner begins with holds everything, too.
		for (uint32_t p = 0; p < load->count; ++p)
			check_partition(&life->rows, &load->cursors[p], false);
		for (uint32_t i = 0; i < life->rows.fence_count; ++i)
			load->epoch = MAX(load->epoch, life->rows.fences[i].epoch);
		load_answer(work, CODE_OK);
		return;
	}
	work_again(work);
}

static void kafka_load(struct adapter *life, struct log_cursors *load)
{
	load->epoch = 0;
	for (uint32_t p = 0; p < load->count; ++p)
		load->cursors[p] = (struct log_cursor){.partition = p};
	work_start(life, load_step, load);
}

// ---- commit: rows, and when all are acknowledged offsets

// The value of a row, read back. Where it is gone somebody else has written: the rows are brought
// up to date. Where it is gone then, it was removed, so long ago that the tombstone is gone too.
static const struct record *value_of(struct adapter *life, uint32_t partition, uint64_t offset)
{
	const struct retry_row *row = retry_index_find(&life->rows.index, partition, offset);

	if (row && m.records[row->written].gone) {
		rows_read(&life->rows, life->read_to, m.record_count);
		life->read_to = m.record_count;
		row = retry_index_find(&life->rows.index, partition, offset);
	}
	if (row && m.records[row->written].gone) {
		retry_index_remove(&life->rows.index, partition, offset, row->written + 1);
		row = NULL;
	}
	return row ? &m.records[row->written] : NULL;
}

static void write_fill(struct adapter *life, struct write *write)
{
	const struct log_retry *last = write->last;
	const struct message *message = &m.messages[last->partition][last->offset];
	const struct record *record;

	retry_key_put(write->key, last->partition, last->offset,
		      retry_rows_generation(&life->rows, last->partition));
	if (!last->put)
		return;
	record = value_of(life, last->partition, last->offset);
	write->size = record ? record->size : RETRY_HEAD + message->size;
	write->value = malloc(write->size);
	SIM_MUST(write->value);
	if (record)
		memcpy(write->value, record->value, record->size);
	else
		memcpy(write->value + RETRY_HEAD, message->record, message->size);
	retry_head_put(write->value, last, 0);
}

static void writes_make(struct work *work)
{
	struct log_cursors *commit = work->request;

	work->writes = calloc(commit->retry_count + 1, sizeof *work->writes);
	SIM_MUST(work->writes);
	for (uint32_t i = 0; i < commit->retry_count; ++i) {
		struct log_retry *own = &commit->retries[i];
		bool is_last = true;

		own->missing = false;
		for (uint32_t k = i + 1; k < commit->retry_count; ++k)
			is_last = is_last && (commit->retries[k].partition != own->partition ||
					      commit->retries[k].offset != own->offset);
		if (is_last)
			work->writes[work->write_count++].last = own;
	}
	for (uint32_t i = 0; i < work->write_count; ++i)
		write_fill(work->life, &work->writes[i]);
}

static void write_acknowledged(struct adapter *life, const struct write *write, uint64_t written)
{
	SIM_EQUAL(retry_rows_apply(&life->rows, written, (struct slice){write->key, RETRY_KEY},
				   (struct slice){write->value, write->size}),
		  0);
	if (written == life->read_to)
		++life->read_to;
}

static void commit_answer(struct work *work, enum code code)
{
	struct log_cursors *commit = work->request;

	commit->code = code;
	work_end(work);
	loop_post(commit->loop, &commit->task);
}

// What is under way when it fails, or when its owner dies, may arrive later.
static void commit_fail(struct work *work, bool rows)
{
	struct log_cursors *commit = work->request;

	if (rows)
		for (uint32_t i = work->at; i < work->write_count && sim_one_in(2); ++i)
			write_late(&work->writes[i]);
	else if (sim_one_in(2))
		for (uint32_t i = 0; i < commit->count; ++i)
			cursor_late(&commit->cursors[i]);
	commit_answer(work, work->life->dead ? CODE_OK : CODE_BACKEND_DOWN);
}

static void commit_step(struct work *work)
{
	struct log_cursors *commit = work->request;

	switch (work->stage) {
	case 0: // rows
		if (work->life->dead || fails()) {
			commit_fail(work, true);
			return;
		}
		if (work->at < work->write_count) {
			struct write *write = &work->writes[work->at++];

			write_acknowledged(work->life, write,
					   record_append(write->key, write->value, write->size));
			break;
		}
		work->stage = 1;
		break;
	default: // offsets
		if (work->life->dead || fails()) {
			commit_fail(work, false);
			return;
		}
		for (uint32_t i = 0; i < commit->count; ++i)
			offset_commit(commit->cursors[i].partition, commit->cursors[i].position,
				      commit->cursors[i].text);
		commit_answer(work, CODE_OK);
		return;
	}
	work_again(work);
}

static void kafka_commit(struct adapter *life, struct log_cursors *commit)
{
	struct work *work = work_start(life, commit_step, commit);

	if (!life->dead)
		writes_make(work);
}

// ---- what is due

static void due_answer(struct work *work)
{
	enum { MOST = 8 };
	struct adapter *life = work->life;
	struct log_due *due = work->request;
	const struct retry_row *row = retry_index_behind(&life->rows.index, due->after.due_ms,
							 due->after.partition, due->after.offset);
	struct log_waiting *entries;
	uint8_t *at;

	due->code = CODE_OK;
	due->next_ms = UINT64_MAX;
	SIM_EQUAL(buf_new(MOST * (sizeof *entries + sizeof(((struct message *)0)->record)) + 16,
			  &due->buf),
		  0);
	entries = (struct log_waiting *)(((uintptr_t)due->buf->data + 15) & ~(uintptr_t)15);
	at = (uint8_t *)(entries + MOST);
	due->entries = entries;
	while (row) {
		struct retry_row own = *row;
		const struct record *record;

		if (own.due_ms > due->until_ms || due->count == MOST) {
			due->next_ms = own.due_ms;
			return;
		}
		record = value_of(life, own.partition, own.offset);
		if (record && record->value) {
			memcpy(at, record->value + RETRY_HEAD, record->size - RETRY_HEAD);
			entries[due->count++] = (struct log_waiting){
				.entry = {own.offset, 0, at, record->size - RETRY_HEAD},
				.due_ms = own.due_ms,
				.partition = own.partition,
				.attempts = own.attempts};
			at += record->size - RETRY_HEAD;
		}
		row = retry_index_behind(&life->rows.index, own.due_ms, own.partition, own.offset);
	}
}

static void due_step(struct work *work)
{
	struct log_due *due = work->request;

	due->code = CODE_BACKEND_DOWN;
	if (!work->life->dead && !fails())
		due_answer(work);
	work_end(work);
	loop_post(due->loop, &due->task);
}

static void kafka_model_due(struct adapter *life, struct log_due *due)
{
	due->buf = NULL;
	due->count = 0;
	work_start(life, due_step, due);
}

// ---- the topic

static bool kafka_model_fetch(struct adapter *life, struct log_fetch *fetch)
{
	uint64_t end = MIN(fetch->until, (uint64_t)m.counts[fetch->partition]);
	uint32_t most = 1 + (uint32_t)sim_below(20), count = 0;
	struct log_entry *entries;

	fetch->buf = NULL;
	fetch->count = 0;
	fetch->code = life->dead || fails() ? CODE_BACKEND_DOWN : CODE_OK;
	if (fetch->code != CODE_OK)
		return true;
	SIM_EQUAL(buf_new(20 * sizeof *entries + 16, &fetch->buf), 0);
	entries = (struct log_entry *)(((uintptr_t)fetch->buf->data + 15) & ~(uintptr_t)15);
	for (uint64_t at = fetch->offset; at < end && count < MIN(most, fetch->max_messages);
	     ++at) {
		const struct message *message = &m.messages[fetch->partition][at];

		entries[count++] = (struct log_entry){at, 0, message->record, message->size};
	}
	fetch->entries = entries;
	fetch->count = count;
	fetch->next = count ? fetch->offset + count : fetch->until;
	return true;
}

static bool kafka_model_bounds(struct adapter_topic *topic, uint32_t partition, uint64_t *ret_first,
			       uint64_t *ret_end)
{
	*ret_first = 0;
	*ret_end = m.counts[partition];
	return true;
}

static void kafka_model_watch(struct adapter_topic *topic, struct log_watch *watch)
{
	list_push_back(&m.watches, &watch->node);
}

static void kafka_model_unwatch(struct adapter_topic *topic, struct log_watch *watch)
{
	list_unlink(&watch->node);
}

static const struct log_ops kafka_model = {.fetch = kafka_model_fetch,
					   .due = kafka_model_due,
					   .load = kafka_load,
					   .commit = kafka_commit,
					   .bounds = kafka_model_bounds,
					   .watch = kafka_model_watch,
					   .unwatch = kafka_model_unwatch};

static void message_append(uint32_t partition, uint64_t due_ms)
{
	struct message *message = &m.messages[partition][m.counts[partition]];
	uint8_t id[RECORD_ID_SIZE] = {0}, body[8] = {0};
	struct record_parts parts = {.id = id,
				     .created_ms = clock_wall_ms(),
				     .due_ms = (int64_t)due_ms,
				     .flags = due_ms ? RECORD_DUE : 0,
				     .body = {body, sizeof body}};

	if (m.counts[partition] == MESSAGES)
		return;
	*message = (struct message){.due_ms = due_ms, .size = (uint32_t)record_parts_size(&parts)};
	SIM_MUST(message->size <= sizeof message->record);
	record_write(&parts, message->record);
	sim_trace("%u/%u is written%s", partition, m.counts[partition],
		  due_ms ? ", due later" : "");
	++m.counts[partition];
	LIST_FOREACH(node, next, &m.watches)
	{
		struct log_watch *watch = LIST_ENTRY(node, struct log_watch, node);

		if (watch->posted)
			continue;
		watch->posted = true;
		loop_post(watch->loop, &watch->task);
	}
}

// ---- owners

static void on_deliver(void *ctx, const struct delivery *deliveries, size_t count)
{
	struct adapter *life = ctx;

	SIM_MUST(alive(life));
	for (size_t i = 0; i < count; ++i) {
		SIM_MUST(m.out_count < OUT);
		SIM_MUST(now_ms() >=
			 m.messages[deliveries[i].partition][deliveries[i].offset].due_ms);
		m.out[m.out_count++] = (struct out){life, deliveries[i]};
		sim_trace("  %p: %u/%llu comes, attempt %u", (void *)life, deliveries[i].partition,
			  (unsigned long long)deliveries[i].offset, deliveries[i].attempt);
	}
}

static void on_state(void *ctx, enum source_state state, enum code code, const char *text)
{
	SIM_MUST(state != SOURCE_GONE);
}

static const struct source_handlers handlers = {on_deliver, on_state};

static struct adapter *life_begin(void)
{
	struct source_config config = {
		.group = &m.group, .topic = &m.topic, .loop = m.loop, .handlers = &handlers};
	struct adapter *life = calloc(1, sizeof *life);

	SIM_MUST(life);
	config.ctx = life;
	retry_rows_init(&life->rows);
	life->next = m.lives;
	m.lives = life;
	sim_trace("%p begins", (void *)life);
	SIM_EQUAL(log_source_open(life, &kafka_model, &config, &life->source), 0);
	return life;
}

static void on_closed(void *ctx)
{
	struct adapter *life = ctx;

	life->closed = true;
	retry_rows_deinit(&life->rows);
}

static void life_end(struct adapter *life, bool dies)
{
	uint32_t kept = 0;

	sim_trace("%p %s", (void *)life, dies ? "dies" : "closes");
	for (uint32_t i = 0; i < m.out_count; ++i)
		if (m.out[i].life != life)
			m.out[kept++] = m.out[i];
	m.out_count = kept;
	life->dead = dies;
	life->closing = true;
	log_source_close(life->source, on_closed, life);
}

static struct adapter *life_any(void)
{
	struct adapter *found = NULL;
	uint64_t seen = 0;

	for (struct adapter *life = m.lives; life; life = life->next)
		if (alive(life) && sim_below(++seen) == 0)
			found = life;
	return found;
}

static uint32_t lives_count(void)
{
	uint32_t count = 0;

	for (const struct adapter *life = m.lives; life; life = life->next)
		count += alive(life);
	return count;
}

// ---- settling

static void settle(uint32_t at, enum settle_verb verb)
{
	struct out out = m.out[at];
	struct settle settle = {.epoch = out.delivery.epoch,
				.offset = out.delivery.offset,
				.count = 1,
				.partition = out.delivery.partition,
				.attempt = out.delivery.attempt,
				.delay_ms = sim_one_in(3)   ? 0
					    : sim_one_in(2) ? (uint32_t)sim_below(3000)
							    : WINDOW_DELAY_MAX_MS + 1 +
								      (uint32_t)sim_below(20000),
				.verb = (uint8_t)verb};

	if (out.delivery.rejected)
		settle.verb = SETTLE_ACK; // its copy is made
	m.out[at] = m.out[--m.out_count];
	sim_trace("%p: settle %u/%llu, attempt %u: %s, %u ms", (void *)out.life, settle.partition,
		  (unsigned long long)settle.offset, settle.attempt,
		  settle.verb == SETTLE_ACK    ? "ack"
		  : settle.verb == SETTLE_NACK ? "nack"
					       : "other",
		  settle.delay_ms);
	log_source_settle(out.life->source, &settle, 1, NULL, NULL);
	if (settle.settled && settle.verb == SETTLE_ACK)
		m.messages[settle.partition][settle.offset].acked = true;
}

static void settle_some(void)
{
	static const enum settle_verb verbs[] = {SETTLE_ACK,  SETTLE_ACK,     SETTLE_NACK,
						 SETTLE_NACK, SETTLE_RELEASE, SETTLE_REJECT};

	for (uint64_t count = 1 + sim_below(6); count && m.out_count; --count)
		settle((uint32_t)sim_below(m.out_count), verbs[sim_below(ARRAY_SIZE(verbs))]);
}

// ---- moving the group: fences, offsets, rows, while others go on

struct moving {
	struct loop_timer timer;
	struct retry_rows rows;
	uint64_t to[PARTITIONS], epoch;
	unsigned stage;
	uint32_t at;
};

// From here on a message before the position may be lost, and one behind it may not.
static void moved(const struct moving *moving)
{
	for (uint32_t p = 0; p < PARTITIONS; ++p)
		for (uint32_t i = 0; i < moving->to[p] && i < m.counts[p]; ++i)
			m.messages[p][i].skipped = true;
}

static void move_fences(const struct moving *moving)
{
	for (uint32_t p = 0; p < PARTITIONS; ++p) {
		struct retry_fence fence = {moving->epoch, moving->to[p]};
		uint8_t key[RETRY_KEY], value[RETRY_FENCE];

		retry_key_put(key, p, RETRY_FENCE_OFFSET, moving->epoch);
		retry_fence_put(value, &fence);
		record_append(key, value, sizeof value);
	}
}

static void move_offsets(const struct moving *moving)
{
	for (uint32_t p = 0; p < PARTITIONS; ++p) {
		struct window window;
		char *text;

		window_init(&window, moving->to[p]);
		text = window_encode(&window, moving->epoch, now_ms());
		offset_commit(p, moving->to[p], text);
		free(text);
	}
}

// The fences before go with the rows. false: none is left.
static bool move_row(struct moving *moving)
{
	const struct retry_row *row = retry_index_next(&moving->rows.index, &moving->at);
	uint8_t key[RETRY_KEY];

	for (uint32_t p = 0; !row && moving->rows.index.count && p < PARTITIONS; ++p) {
		retry_key_put(key, p, RETRY_FENCE_OFFSET, retry_rows_generation(&moving->rows, p));
		record_append(key, NULL, 0);
	}
	if (!row)
		return false;
	retry_key_put(key, row->partition, row->offset,
		      retry_rows_generation(&moving->rows, row->partition));
	record_append(key, NULL, 0);
	return true;
}

static void on_moving(struct loop_timer *timer)
{
	struct moving *moving = CONTAINER_OF(timer, struct moving, timer);
	bool goes_on = !sim_one_in(6); // else whoever does it dies

	if (goes_on && moving->stage == 0) {
		moved(moving);
		if (moving->rows.index.count)
			move_fences(moving);
		else
			move_offsets(moving);
		moving->stage = moving->rows.index.count ? 1 : 2;
	} else if (goes_on && moving->stage == 1) {
		move_offsets(moving);
		moving->stage = 2;
	} else if (goes_on) {
		goes_on = move_row(moving);
	}
	if (goes_on) {
		loop_timer_set(&moving->timer, loop_now_ns(m.loop) + sim_below(m.delay_ns + 1));
		return;
	}
	retry_rows_deinit(&moving->rows);
	free(moving);
	--m.pending;
}

static void group_move(void)
{
	struct moving *moving = calloc(1, sizeof *moving);
	struct log_cursor cursors[PARTITIONS];

	SIM_MUST(moving);
	++m.pending;
	retry_rows_init(&moving->rows);
	offsets_read(cursors);
	rows_read(&moving->rows, 0, m.record_count);
	SIM_EQUAL(retry_rows_fit(&moving->rows, cursors, PARTITIONS, now_ms()), 0);
	for (uint32_t p = 0; p < PARTITIONS; ++p) {
		struct window window;
		uint64_t epoch;

		window_init(&window, cursors[p].position);
		SIM_EQUAL(window_decode(&window, cursors[p].text, &epoch), 0);
		moving->epoch = MAX(moving->epoch, epoch);
		moving->to[p] = sim_one_in(3) ? m.counts[p] : sim_below(m.counts[p] + 1);
		window_deinit(&window);
		free(cursors[p].text);
	}
	moving->epoch = MAX(moving->epoch + 2, now_ms() << 20);
	sim_trace("the group moves to %llu and %llu, epoch %llu", (unsigned long long)moving->to[0],
		  (unsigned long long)moving->to[1], (unsigned long long)moving->epoch);
	loop_timer_init(&moving->timer, m.loop, on_moving);
	loop_timer_set(&moving->timer, loop_now_ns(m.loop) + sim_below(m.delay_ns + 1));
}

// ---- events

static void step_life(void)
{
	struct adapter *life = life_any();

	if (lives_count() < LIVES && sim_one_in(2))
		life_begin();
	else if (life)
		life_end(life, sim_one_in(2));
}

static void step_time(void)
{
	static const uint64_t spans_ms[] = {1, 20, 600, 4000, 32000, 70000};

	world_pass(MS_NS * sim_below(spans_ms[sim_below(ARRAY_SIZE(spans_ms))] + 1));
}

// An idle group: what is committed is read and committed again, some time later.
static void step_keep(void)
{
	struct log_cursor cursors[PARTITIONS];

	offsets_read(cursors);
	for (uint32_t p = 0; p < PARTITIONS; ++p) {
		cursor_late(&cursors[p]);
		free(cursors[p].text);
	}
}

static void step(void)
{
	uint64_t event = sim_below(24);
	struct adapter *life = life_any();

	if (event < 3)
		for (uint64_t count = sim_below(8); count; --count)
			message_append((uint32_t)sim_below(PARTITIONS),
				       sim_one_in(4) ? now_ms() + sim_below(90000) : 0);
	else if (event < 9)
		step_time();
	else if (event < 12 && life && m.out_count < OUT / 2)
		log_source_demand(life->source, (uint32_t)sim_below(40), 1 << 20, 5);
	else if (event < 18)
		settle_some();
	else if (event == 18)
		compact();
	else if (event == 19)
		step_life();
	else if (event == 20 && sim_one_in(6))
		group_move();
	else if (event == 21 && sim_one_in(2))
		step_keep();
	else if (event == 22) {
		m.delay_ns = sim_one_in(2) ? sim_below(5 * MS_NS) : sim_below(3000 * MS_NS);
		m.fail = sim_one_in(2) ? 1 + (unsigned)sim_below(10) : 0;
	}
	for (life = m.lives; life; life = life->next) // demand is what is left of it
		if (alive(life) && m.out_count > OUT / 2)
			log_source_demand(life->source, 0, 0, 0);
	world_run();
	check(false);
}

static void start(void)
{
	memset(&m, 0, sizeof m);
	m.loop = world_start(S_NS, 1700000000000);
	m.topic = (struct topic){.object.refs = 1, .partitions = PARTITIONS};
	m.group = (struct group){.object.refs = 1};
	list_init(&m.works);
	list_init(&m.watches);
	m.delay_ns = MS_NS;
	for (uint32_t p = 0; p < PARTITIONS; ++p)
		m.offsets[p].text = strdup("");
	life_begin();
}

// ---- the end: one owner, begun from what is durable, gets everything that is owed

static void settle_all(void)
{
	while (m.out_count)
		settle(m.out_count - 1, SETTLE_ACK);
}

static void finish(void)
{
	struct adapter *life;

	m.fail = 0;
	m.delay_ns = MS_NS;
	for (life = m.lives; life; life = life->next)
		if (alive(life))
			life_end(life, sim_one_in(2));
	world_pass(90 * S_NS); // until all that is late has arrived
	SIM_MUST(m.pending == 0 && list_empty(&m.works));
	check(false);
	life = life_begin();
	for (unsigned i = 0; i < 300; ++i) {
		log_source_demand(life->source, 100, 1 << 20, 100);
		world_pass(S_NS);
		settle_all();
	}
	for (uint32_t p = 0; p < PARTITIONS; ++p)
		for (uint32_t i = 0; i < m.counts[p]; ++i)
			SIM_MUST(m.messages[p][i].acked || m.messages[p][i].skipped);
	life_end(life, false);
	world_pass(5 * S_NS);
	check(true);
	for (uint32_t p = 0; p < PARTITIONS; ++p)
		free(m.offsets[p].text);
	while ((life = m.lives)) {
		m.lives = life->next;
		SIM_MUST(life->closed && life->works == 0);
		free(life);
	}
	SIM_MUST(list_empty(&m.works) && list_empty(&m.watches));
	SIM_MUST(m.topic.object.refs == 1 && m.group.object.refs == 1);
	for (uint32_t i = 0; i < m.record_count; ++i)
		free(m.records[i].value);
	world_end();
}

const struct sim_engine sim_kafka = {"kafka", 200, start, step, finish};
