// Reads what is due in a group's retry store: the rows in memory say which messages, and one pass
// over the retry topic brings them. A row whose message is missing or damaged can never be
// delivered and is dropped from the rows. What it does not do: remove rows that are delivered; the
// commit that settles them does.

#include "adapters/kafka/retry/retry_due.h"

#include "adapters/kafka/retry/retry_index.h"
#include "adapters/kafka/retry/retry_rows.h"
#include "adapters/kafka/retry/retry_store.h"
#include "adapters/kafka/topic/topic.h"
#include "core/wire/record.h"

struct looking {
	struct retry_job job;
	struct adapter *adapter;
	struct log_due *due;
	struct log_waiting *entries; // of the wants, by tag; without records
	enum code code;
};

static void due_answer(struct looking *looking, enum code code, const char *text)
{
	struct log_due *due = looking->due;

	if (code != CODE_OK)
		log_warn(looking->adapter->log, "KAFKA-DUE", "group %s: %s", due->group->physical,
			 text ? text : code_name(code));
	free(looking->entries);
	free(looking);
	due->code = code;
	loop_post(due->loop, &due->task);
}

static void due_plan(struct retry_job *job, struct retry_rows *rows)
{
	struct looking *looking = CONTAINER_OF(job, struct looking, job);
	struct log_due *due = looking->due;
	const struct retry_row *row = retry_index_behind(&rows->index, due->after.due_ms,
							 due->after.partition, due->after.offset);
	uint64_t bytes = 0;
	uint32_t count = 0;

	free(looking->entries);
	looking->entries = calloc(due->max_messages, sizeof *looking->entries);
	job->wants = calloc(due->max_messages, sizeof *job->wants);
	due->next_ms = UINT64_MAX;
	looking->code = looking->entries && job->wants ? CODE_OK : CODE_OVERLOADED;
	for (; row && looking->code == CODE_OK; ++count) {
		due->next_ms = row->due_ms;
		if (row->due_ms > due->until_ms || count == due->max_messages ||
		    (count && bytes + row->size > due->max_bytes))
			break;
		looking->entries[count] = (struct log_waiting){.entry.offset = row->offset,
							       .due_ms = row->due_ms,
							       .partition = row->partition,
							       .attempts = row->attempts};
		job->wants[count] = (struct retry_want){.written = row->written, .tag = count};
		bytes += row->size;
		due->next_ms = UINT64_MAX;
		row = retry_index_behind(&rows->index, row->due_ms, row->partition, row->offset);
	}
	job->want_count = count;
}

static bool is_record(const struct retry_want *want)
{
	uint32_t size;

	return want->value && want->size > RETRY_HEAD &&
	       record_check(want->value + RETRY_HEAD, want->size - RETRY_HEAD, &size) ==
		       RECORD_OK &&
	       size == want->size - RETRY_HEAD;
}

// A row whose message is not there, or is none, can never be delivered.
static void row_drop(struct looking *looking, struct retry_rows *rows,
		     const struct retry_want *want)
{
	const struct log_waiting *entry = &looking->entries[want->tag];

	// Not there: another owner of the group removed it long ago.
	log_write(want->value ? LOG_ERROR : LOG_INFO, looking->adapter->log, "KAFKA-RETRY-ROW",
		  "group %s: the message of partition %u, offset %llu is %s in its retry topic at "
		  "%llu",
		  looking->due->group->physical, entry->partition,
		  (unsigned long long)entry->entry.offset, want->value ? "damaged" : "not",
		  (unsigned long long)want->written);
	retry_index_remove(&rows->index, entry->partition, entry->entry.offset, want->written + 1);
	retry_store_changed(looking->job.store, -1);
}

static enum code entries_fill(struct looking *looking, struct retry_rows *rows)
{
	struct log_due *due = looking->due;
	const struct retry_job *job = &looking->job;
	struct log_waiting *entries, *from = looking->entries;
	const struct retry_want **wants = calloc(job->want_count, sizeof *wants);
	size_t bytes = job->want_count * sizeof *entries + 16;
	uint8_t *at;

	for (uint32_t i = 0; wants && i < job->want_count; ++i) {
		const struct retry_want *want = &job->wants[i];

		bytes += want->size;
		if (is_record(want))
			wants[want->tag] = want;
		else
			row_drop(looking, rows, want);
	}
	if (!wants || buf_new(bytes, &due->buf) < 0) {
		free(wants);
		return CODE_OVERLOADED;
	}
	entries = (struct log_waiting *)(((uintptr_t)due->buf->data + 15) & ~(uintptr_t)15);
	at = (uint8_t *)(entries + job->want_count);
	due->entries = entries;
	for (uint32_t i = 0; i < job->want_count; ++i) {
		const struct retry_want *want = wants[i];
		struct log_waiting *entry = &entries[due->count];

		if (!want)
			continue;
		*entry = from[i];
		entry->entry.record = at;
		entry->entry.size = want->size - RETRY_HEAD;
		entry->entry.stored_ms = retry_rows_head_stored_ms(want->value);
		memcpy(at, want->value + RETRY_HEAD, entry->entry.size);
		at += entry->entry.size;
		++due->count;
	}
	free(wants);
	return CODE_OK;
}

static void due_done(struct retry_job *job, struct retry_rows *rows, enum code code,
		     const char *text)
{
	struct looking *looking = CONTAINER_OF(job, struct looking, job);

	if (code == CODE_OK)
		code = looking->code;
	if (code == CODE_OK && job->want_count)
		code = entries_fill(looking, rows);
	due_answer(looking, code, text);
}

void retry_due(struct adapter *adapter, struct log_due *due)
{
	struct looking *looking = calloc(1, sizeof *looking);

	due->buf = NULL;
	due->entries = NULL;
	due->count = 0;
	due->next_ms = UINT64_MAX;
	if (!looking) {
		due->code = CODE_OVERLOADED;
		loop_post(due->loop, &due->task);
		return;
	}
	looking->adapter = adapter;
	looking->due = due;
	looking->job = (struct retry_job){.group = due->group,
					  .topic = due->topic->model,
					  .opens = true,
					  .plan = due_plan,
					  .done = due_done};
	retry_store_look(adapter, &looking->job);
}
