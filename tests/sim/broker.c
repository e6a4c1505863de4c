// What the broker keeps, and what it does for its clients.

#include "tests/sim/broker.h"

#include "adapters/log/window_text.h"
#include "core/wire/record.h"
#include "tests/sim/sim.h"

struct broker broker;

// ---- what is durable

uint64_t broker_put(const uint8_t key[RETRY_KEY], const uint8_t *value, uint32_t size)
{
	struct broker_record *record = &broker.records[broker.record_count];

	SIM_MUST(broker.record_count < BROKER_RECORDS);
	memcpy(record->key, key, RETRY_KEY);
	record->value = NULL;
	record->size = size;
	record->gone = false;
	if (value) {
		record->value = malloc(size);
		SIM_MUST(record->value);
		memcpy(record->value, value, size);
	}
	sim_trace("  retry topic %u: %02x/%02x %s", broker.record_count, key[3], key[11],
		  value ? "is put" : "is removed");
	return broker.record_count++;
}

void broker_commit(uint32_t partition, uint64_t position, const char *text)
{
	free(broker.offsets[partition].text);
	broker.offsets[partition].position = position;
	broker.offsets[partition].text = strdup(text);
	sim_trace("  the offset of partition %u is %llu", partition, (unsigned long long)position);
}

// What another message of the same key stands behind goes; so do tombstones.
void broker_compact(void)
{
	for (uint32_t i = 0; i < broker.record_count; ++i) {
		struct broker_record *record = &broker.records[i];
		bool superseded = i + 1 < broker.record_count && !record->value && sim_one_in(3);

		for (uint32_t k = i + 1; !superseded && k < broker.record_count; ++k)
			superseded = memcmp(record->key, broker.records[k].key, RETRY_KEY) == 0;
		record->gone = record->gone || (superseded && sim_one_in(2));
	}
}

void broker_rows_read(struct retry_rows *rows, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; ++i) {
		const struct broker_record *record = &broker.records[i];

		if (!record->gone)
			SIM_EQUAL(
				retry_rows_apply(rows, i, (struct slice){record->key, RETRY_KEY},
						 (struct slice){record->value,
								record->value ? record->size : 0}),
				0);
	}
}

void broker_offsets_read(struct log_cursor *cursors)
{
	for (uint32_t p = 0; p < BROKER_PARTITIONS; ++p)
		cursors[p] = (struct log_cursor){.position = broker.offsets[p].position,
						 .text = strdup(broker.offsets[p].text),
						 .partition = p};
}

void broker_begin_anew(void)
{
	sim_trace("the topic is made anew");
	++broker.log;
	broker.marked = false;
	for (uint32_t p = 0; p < BROKER_PARTITIONS; ++p) {
		broker.counts[p] = 0;
		broker_commit(p, 0, "");
	}
}

// As adapters/kafka/topic/topic_generation.c.
static uint64_t life_now(void)
{
	return broker.marked ? broker.life
			     : MAX(now_ms() + 1, (broker.epoch_floor >> 20) + 1) << 20;
}

uint64_t broker_epoch_above(uint64_t epoch)
{
	broker.epoch_floor = MAX(broker.epoch_floor, MAX(now_ms(), (epoch >> 20) + 1) << 20);
	return broker.epoch_floor;
}

uint64_t broker_life(void)
{
	if (!broker.marked)
		sim_trace("the topic is marked");
	broker.life = life_now();
	broker.epoch_floor = MAX(broker.epoch_floor, broker.life);
	broker.marked = true;
	return broker.life;
}

// A row of the current generation.
static bool has_row(const struct retry_rows *rows, uint32_t partition, uint64_t offset,
		    uint64_t life)
{
	return retry_rows_generation(rows, partition) >= life &&
	       retry_index_find(&rows->index, partition, offset);
}

// Whether an owner that begins now would find the message.
static bool is_kept(const struct window *window, uint64_t offset)
{
	return offset >= window_next(window) || window_state_at(window, offset) != WINDOW_DONE;
}

static void check_partition(const struct retry_rows *rows, const struct log_cursor *cursor,
			    uint64_t life, bool at_the_end)
{
	uint32_t p = cursor->partition;
	uint64_t epoch, in_store = 0;
	struct window window;

	window_init(&window, cursor->position);
	SIM_EQUAL(window_text_decode(&window, cursor->text, &epoch), 0);
	for (uint32_t i = 0; i < broker.counts[p]; ++i) {
		const struct broker_message *message = &broker.messages[p][i];

		in_store += has_row(rows, p, i, life);
		if (message->acked || message->skipped || is_kept(&window, i) ||
		    has_row(rows, p, i, life))
			continue;
		sim_trace("%u/%u is lost", p, i);
		SIM_MUST(!"an unacknowledged message is still there");
	}
	SIM_EQUAL(cursor->retrying + cursor->delayed, in_store);
	SIM_MUST(!at_the_end || (window.base == broker.counts[p] && in_store == 0));
	window_deinit(&window);
}

void broker_check(bool at_the_end)
{
	struct log_cursor cursors[BROKER_PARTITIONS];
	struct retry_rows rows;

	retry_rows_init(&rows);
	broker_offsets_read(cursors);
	broker_rows_read(&rows, 0, broker.record_count);
	SIM_EQUAL(retry_rows_fit(&rows, cursors, BROKER_PARTITIONS, life_now()), 0);
	for (uint32_t p = 0; p < BROKER_PARTITIONS; ++p) {
		check_partition(&rows, &cursors[p], life_now(), at_the_end);
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
	loop_timer_set(&work->timer, loop_now_ns(broker.loop) + sim_below(broker.delay_ns + 1));
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
	list_push_back(&broker.works, &work->all);
	loop_timer_init(&work->timer, broker.loop, on_work);
	work_again(work);
	return work;
}

static bool fails(void)
{
	return broker.fail && sim_one_in(broker.fail);
}

// Something on its way to the broker that arrives whatever becomes of its sender.
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
		broker_commit(late->partition, late->position, late->text);
	else
		broker_put(late->key, late->value, late->size);
	free(late->text);
	free(late->value);
	free(late);
	--broker.pending;
}

static struct late *late_new(void)
{
	static const uint64_t spans_ms[] = {5, 500, 5000, 60000};
	struct late *late = calloc(1, sizeof *late);

	SIM_MUST(late);
	++broker.pending;
	loop_timer_init(&late->timer, broker.loop, on_late);
	loop_timer_set(&late->timer,
		       loop_now_ns(broker.loop) + MS_NS * sim_below(spans_ms[sim_below(4)] + 1));
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

void broker_commit_late(const struct log_cursor *cursor)
{
	struct late *late = late_new();

	late->is_offset = true;
	late->partition = cursor->partition;
	late->position = cursor->position;
	late->text = strdup(cursor->text);
}

// ---- load: offsets, then rows, and when they are of another life fences, and the rows once more

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

bool broker_is_fenced(const struct retry_rows *rows, uint64_t life)
{
	for (uint32_t p = 0; p < BROKER_PARTITIONS; ++p)
		if (retry_rows_generation(rows, p) < life)
			return false;
	return true;
}

void broker_fence_put(uint64_t epoch, const uint64_t *positions)
{
	uint8_t key[RETRY_KEY], *value;
	uint32_t size;

	retry_rows_fence_key_put(key, epoch);
	value = retry_rows_fence_make(epoch, positions, BROKER_PARTITIONS, &size);
	broker_put(key, value, size);
	free(value);
}

static void load_done(struct work *work)
{
	struct adapter *life = work->life;
	struct log_cursors *load = work->request;

	SIM_EQUAL(retry_rows_fit(&life->rows, load->cursors, load->count, life->log_life), 0);
	// What the owner begins with holds everything, too.
	for (uint32_t p = 0; broker.marked && life->log_life == broker.life && p < load->count; ++p)
		check_partition(&life->rows, &load->cursors[p], life->log_life, false);
	for (uint32_t i = 0; i < life->rows.fence_count; ++i)
		load->epoch = MAX(load->epoch, life->rows.fences[i].epoch);
	load_answer(work, CODE_OK);
}

// Two that begin at once both write it.
static bool fence_wanted(const struct work *work)
{
	const struct adapter *life = work->life;

	return !broker_is_fenced(&life->rows, life->log_life) ||
	       (life->log_life && !work->at && sim_one_in(4));
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
		broker_offsets_read(load->cursors);
		work->stage = 1;
		break;
	case 1:
		retry_rows_deinit(&life->rows);
		life->read_to = 0;
		work->stage = 2;
		break;
	case 2: {
		uint64_t to = life->read_to + 1 + sim_below(30);

		to = MIN(to, (uint64_t)broker.record_count);
		broker_rows_read(&life->rows, life->read_to, to);
		life->read_to = to;
		work->stage = to < broker.record_count ? 2 : 3;
		break;
	}
	default:
		if (!fence_wanted(work)) {
			load_done(work);
			return;
		}
		++work->at;
		broker_fence_put(life->log_life, NULL);
		work->stage = 1;
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

enum { STALE = 100 }; // a stage: it writes nothing

// The value of a row, read back. Where it is gone another owner has written: the rows are brought
// up to date. Where it is gone then, it was removed, so long ago that the tombstone is gone too.
static const struct broker_record *value_of(struct adapter *life, uint32_t partition,
					    uint64_t offset)
{
	const struct retry_row *row = retry_index_find(&life->rows.index, partition, offset);

	if (row && broker.records[row->written].gone) {
		broker_rows_read(&life->rows, life->read_to, broker.record_count);
		life->read_to = broker.record_count;
		row = retry_index_find(&life->rows.index, partition, offset);
	}
	if (row && broker.records[row->written].gone) {
		retry_index_remove(&life->rows.index, partition, offset, row->written + 1);
		row = NULL;
	}
	return row ? &broker.records[row->written] : NULL;
}

static void write_fill(struct adapter *life, struct write *write)
{
	struct log_retry *last = write->last;
	const struct broker_message *message;
	const struct broker_record *record;

	SIM_MUST(last);
	message = &broker.messages[last->partition][last->offset];
	retry_rows_key_put(write->key, last->partition, last->offset,
			   retry_rows_generation(&life->rows, last->partition));
	if (!last->put)
		return;
	record = value_of(life, last->partition, last->offset);
	last->missing = !record && last->offset >= broker.counts[last->partition];
	if (last->missing)
		return; // it is gone with its log
	write->size = record ? record->size : RETRY_HEAD + message->size;
	write->value = malloc(write->size);
	SIM_MUST(write->value);
	if (record)
		memcpy(write->value, record->value, record->size);
	else
		memcpy(write->value + RETRY_HEAD, message->record, message->size);
	retry_rows_head_put(write->value, last, 0);
}

// A fence has made the owner void.
static bool is_stale(const struct work *work)
{
	const struct log_cursors *commit = work->request;

	for (uint32_t i = 0; i < work->write_count; ++i)
		if (retry_rows_generation(&work->life->rows, work->writes[i].last->partition) >
		    commit->epoch)
			return true;
	return false;
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
	if (is_stale(work))
		work->stage = STALE;
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
			broker_commit_late(&commit->cursors[i]);
	commit_answer(work, work->life->dead ? CODE_OK : CODE_BACKEND_DOWN);
}

static void commit_step(struct work *work)
{
	struct log_cursors *commit = work->request;

	switch (work->stage) {
	case STALE: commit_answer(work, CODE_STALE); return;
	case 0: // rows
		if (work->life->dead || fails()) {
			commit_fail(work, true);
			return;
		}
		if (work->at < work->write_count) {
			struct write *write = &work->writes[work->at++];

			write_acknowledged(work->life, write,
					   broker_put(write->key, write->value, write->size));
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
			broker_commit(commit->cursors[i].partition, commit->cursors[i].position,
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
	SIM_EQUAL(buf_new(MOST * (sizeof *entries + sizeof(((struct broker_message *)0)->record)) +
				  16,
			  &due->buf),
		  0);
	entries = (struct log_waiting *)(((uintptr_t)due->buf->data + 15) & ~(uintptr_t)15);
	at = (uint8_t *)(entries + MOST);
	due->entries = entries;
	while (row) {
		struct retry_row own = *row;
		const struct broker_record *record;

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
	uint64_t end = MIN(fetch->until, (uint64_t)broker.counts[fetch->partition]);
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
		const struct broker_message *message = &broker.messages[fetch->partition][at];

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
	struct adapter *life = (struct adapter *)topic;

	// What is known of an end only rises.
	life->ends[partition] = MAX(life->ends[partition], (uint64_t)broker.counts[partition]);
	*ret_first = 0;
	*ret_end = life->ends[partition];
	return true;
}

static void kafka_model_watch(struct adapter_topic *topic, struct log_watch *watch)
{
	list_push_back(&broker.watches, &watch->node);
}

static void kafka_model_unwatch(struct adapter_topic *topic, struct log_watch *watch)
{
	list_unlink(&watch->node);
}

const struct log_ops broker_ops = {.fetch = kafka_model_fetch,
				   .due = kafka_model_due,
				   .load = kafka_load,
				   .commit = kafka_commit,
				   .bounds = kafka_model_bounds,
				   .watch = kafka_model_watch,
				   .unwatch = kafka_model_unwatch};

void broker_append(uint32_t partition, uint64_t due_ms)
{
	struct broker_message *message = &broker.messages[partition][broker.counts[partition]];
	uint8_t id[RECORD_ID_SIZE] = {(uint8_t)broker.log}, body[8] = {0};
	struct record_parts parts = {.id = id,
				     .created_ms = clock_wall_ms(),
				     .due_ms = (int64_t)due_ms,
				     .flags = due_ms ? RECORD_DUE : 0,
				     .body = {body, sizeof body}};

	if (broker.counts[partition] == BROKER_MESSAGES)
		return;
	*message = (struct broker_message){.due_ms = due_ms,
					   .size = (uint32_t)record_parts_size(&parts)};
	SIM_MUST(message->size <= sizeof message->record);
	record_write(&parts, message->record);
	sim_trace("%u/%u is written%s", partition, broker.counts[partition],
		  due_ms ? ", due later" : "");
	++broker.counts[partition];
	LIST_FOREACH(node, next, &broker.watches)
	{
		struct log_watch *watch = LIST_ENTRY(node, struct log_watch, node);

		if (watch->posted)
			continue;
		watch->posted = true;
		loop_post(watch->loop, &watch->task);
	}
}

uint32_t broker_log_of(const uint8_t *record)
{
	struct record_view view;

	record_read(record, &view);
	return view.id[0];
}

// ---- start and end

void broker_start(struct loop *loop)
{
	memset(&broker, 0, sizeof broker);
	broker.loop = loop;
	list_init(&broker.works);
	list_init(&broker.watches);
	broker.delay_ns = MS_NS;
	broker.marked = true; // when it was made
	for (uint32_t p = 0; p < BROKER_PARTITIONS; ++p)
		broker.offsets[p].text = strdup("");
}

void broker_end(void)
{
	SIM_MUST(list_empty(&broker.works) && list_empty(&broker.watches));
	for (uint32_t p = 0; p < BROKER_PARTITIONS; ++p)
		free(broker.offsets[p].text);
	for (uint32_t i = 0; i < broker.record_count; ++i)
		free(broker.records[i].value);
}
