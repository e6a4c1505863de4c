// Moves a group: afterwards it has exactly the messages from the new position on. What its retry
// store holds before that position is skipped; what it holds behind comes from the log again.
// Steps: cursors and the new positions; what the retry store holds; where it holds anything, a
// fence; the cursors; then the rows are deleted. Once the fence is written the group has moved:
// rows and cursors of a lower epoch are void, also those of another owner, so whatever a crash
// leaves behind has no effect. When no row is deleted, no fence is needed. What it does not do:
// stop the owner; its late commits are what the fence is for.

#include "adapters/kafka/group/group_reset.h"

#include "adapters/kafka/group/group_job.h"
#include "adapters/kafka/offsets/group_table.h"
#include "adapters/kafka/offsets/offsets.h"
#include "adapters/kafka/retry/retry_fence.h"
#include "adapters/kafka/retry/retry_index.h"
#include "adapters/kafka/retry/retry_rows.h"
#include "adapters/kafka/retry/retry_write.h"
#include "adapters/kafka/topic/topic.h"
#include "adapters/kafka/topic/topic_generation.h"
#include "adapters/log/backlog_rows.h"
#include "adapters/log/window_text.h"

struct reset {
	struct retry_fence_job look;
	struct retry_batch fence, rows;
	struct retry_item fence_item;
	struct group_job *group;
	uint64_t *positions; // UINT64_MAX: it stays
	uint64_t *skipped;   // in each partition
	uint64_t epoch;
	bool has_rows;
};

static void reset_end(struct reset *reset, enum code code, const char *text)
{
	struct group_job *group = reset->group;
	struct adapter_answer answer = moves_answer(&group->moved);

	// The text may be in what is freed below.
	kafka_group_job_end(group, code, &answer, text);
	free(reset->fence_item.value);
	free(reset->rows.items);
	free(reset->positions);
	free(reset->skipped);
	free(reset);
}

// ---- what is skipped and what comes again

static uint64_t rows_before(const struct retry_rows *rows, uint32_t partition, uint64_t to)
{
	const struct retry_row *row;
	uint64_t count = 0;
	uint32_t at = 0;

	while ((row = retry_index_next(&rows->index, &at)))
		count += row->partition == partition && row->offset < to;
	return count;
}

static int partition_add(struct reset *reset, const struct retry_rows *rows,
			 const struct log_cursor *cursor)
{
	struct group_job *group = reset->group;
	uint64_t to = reset->positions[cursor->partition], first, end, open, epoch;

	kafka_topic_bounds(group->open, cursor->partition, &first, &end);
	if (backlog_rows_open_before(cursor, first, to == UINT64_MAX ? 0 : to, &open, &epoch) < 0)
		return -1;
	reset->epoch = MAX(reset->epoch, epoch);
	if (to == UINT64_MAX)
		return 0;
	open += rows_before(rows, cursor->partition, to);
	reset->skipped[cursor->partition] = open;
	first = MAX(cursor->position, first);
	moves_add(&group->moved, cursor->partition, first, to, open);
	return 0;
}

// ---- writing

static int fence_make(struct reset *reset)
{
	struct retry_item *item = &reset->fence_item;

	retry_rows_fence_key_put(item->key, reset->epoch);
	item->value = retry_rows_fence_make(reset->epoch, reset->positions,
					    reset->group->offsets.count, &item->size);
	return item->value ? 0 : -1;
}

// An earlier fence goes when no partition stands on it any more.
static bool fence_is_over(const struct reset *reset, const struct retry_rows *rows, uint64_t epoch)
{
	for (uint32_t i = 0; i < reset->group->offsets.count; ++i)
		if (reset->positions[i] == UINT64_MAX && retry_rows_generation(rows, i) == epoch)
			return false;
	return epoch > 0;
}

static int rows_make(struct reset *reset, const struct retry_rows *rows)
{
	struct retry_batch *batch = &reset->rows;
	const struct retry_row *row;
	uint32_t at = 0;

	batch->items =
		calloc(rows->index.count + reset->group->offsets.count, sizeof *batch->items);
	while (batch->items && (row = retry_index_next(&rows->index, &at)))
		if (row->partition < reset->group->offsets.count &&
		    reset->positions[row->partition] != UINT64_MAX)
			retry_rows_key_put(batch->items[batch->count++].key, row->partition,
					   row->offset,
					   retry_rows_generation(rows, row->partition));
	// With them the fences before; neighbours mostly stand on the same one.
	for (uint32_t i = 0; batch->count && i < reset->group->offsets.count; ++i) {
		uint64_t epoch = retry_rows_generation(rows, i);

		if ((i == 0 || epoch != retry_rows_generation(rows, i - 1)) &&
		    fence_is_over(reset, rows, epoch))
			retry_rows_fence_key_put(batch->items[batch->count++].key, epoch);
	}
	return batch->items ? 0 : -1;
}

static void rows_gone(struct retry_batch *batch, enum code code, const char *text)
{
	reset_end(CONTAINER_OF(batch, struct reset, rows), code, text);
}

static char *moved_text(const struct reset *reset, const struct log_cursor *cursor, uint64_t to)
{
	uint64_t first, end;
	struct window window;

	kafka_topic_bounds(reset->group->open, cursor->partition, &first, &end);
	window_init(&window, to);
	if (backlog_rows_move(cursor, first, reset->skipped[cursor->partition], &window) < 0)
		return NULL;
	return window_text_encode(&window, reset->epoch, window.written_ms);
}

static int cursors_move(struct reset *reset)
{
	struct kafka_offsets *offsets = &reset->group->offsets;
	uint32_t moved = 0;

	for (uint32_t i = 0; i < offsets->count; ++i) {
		struct log_cursor *cursor = &offsets->cursors[i];
		uint64_t to = reset->positions[cursor->partition];
		char *text = to == UINT64_MAX ? NULL : moved_text(reset, cursor, to);

		free(cursor->text);
		cursor->text = NULL;
		if (to == UINT64_MAX)
			continue;
		offsets->cursors[moved++] =
			(struct log_cursor){.position = to, .text = text, .partition = i};
		if (!text)
			return -1;
	}
	for (uint32_t i = moved; i < offsets->count; ++i)
		offsets->cursors[i].text = NULL;
	offsets->count = moved;
	return 0;
}

static struct reset *reset_of(struct group_job *group)
{
	return group->private;
}

static void move_run(struct adapter *adapter, struct kafka_task *task)
{
	struct group_job *group = CONTAINER_OF(task, struct group_job, task);
	struct reset *reset = reset_of(group);
	struct kafka_offsets *offsets = &group->offsets;

	if (cursors_move(reset) < 0) {
		reset_end(reset, CODE_OVERLOADED, NULL);
		return;
	}
	if (offsets->count)
		kafka_offsets_commit_wait(adapter, offsets);
	if (offsets->code != CODE_OK || reset->rows.count == 0) {
		reset_end(reset, offsets->code, offsets->text);
		return;
	}
	reset->rows.group = group->request.group;
	reset->rows.topic = group->request.topic;
	reset->rows.done = rows_gone;
	retry_write(adapter, &reset->rows);
}

static void fence_there(struct retry_batch *batch, enum code code, const char *text)
{
	struct reset *reset = CONTAINER_OF(batch, struct reset, fence);

	if (code == CODE_OK)
		kafka_group_job_post(reset->group, move_run);
	else
		reset_end(reset, code, text);
}

static void fence_write(struct reset *reset)
{
	reset->fence = (struct retry_batch){.group = reset->group->request.group,
					    .topic = reset->group->request.topic,
					    .items = &reset->fence_item,
					    .count = 1,
					    .done = fence_there};
	retry_write(reset->group->adapter, &reset->fence);
}

static void reset_looked(struct retry_fence_job *look, struct retry_rows *rows, enum code code,
			 const char *text)
{
	struct reset *reset = CONTAINER_OF(look, struct reset, look);
	struct group_job *group = reset->group;
	struct kafka_offsets *offsets = &group->offsets;

	if (code == CODE_OK && retry_rows_fit(rows, offsets->cursors, offsets->count,
					      topic_generation_of(group->open)) < 0)
		code = CODE_OVERLOADED;
	for (uint32_t i = 0; code == CODE_OK && i < offsets->count; ++i)
		if (partition_add(reset, rows, &offsets->cursors[i]) < 0)
			code = CODE_OVERLOADED;
	for (uint32_t i = 0; code == CODE_OK && i < rows->fence_count; ++i)
		topic_generation_epoch_seen(group->adapter, rows->fences[i].epoch);
	// Above every epoch that an owner may still use. Those that are committed do not tell,
	// because a stale owner's commit may have taken the place of a later one; the time does,
	// and, if the clock was set back, what was read back.
	topic_generation_epoch_seen(group->adapter, reset->epoch);
	reset->epoch = topic_generation_epoch_fence(group->adapter);
	if (code == CODE_OK && !group->request.preview &&
	    (fence_make(reset) < 0 || rows_make(reset, rows) < 0))
		code = CODE_OVERLOADED;
	if (code != CODE_OK || group->request.preview)
		reset_end(reset, code, text);
	else if (reset->rows.count)
		fence_write(reset);
	else
		kafka_group_job_post(group, move_run);
}

static void reset_run(struct adapter *adapter, struct kafka_task *task)
{
	struct group_job *group = CONTAINER_OF(task, struct group_job, task);
	struct reset *reset;
	bool there;

	if (group_table_is_deleted(adapter, group->request.group)) {
		kafka_group_job_end(group, CODE_NOT_FOUND, NULL, "it was deleted");
		return;
	}
	if (!kafka_group_job_read(group, &there))
		return;
	reset = calloc(1, sizeof *reset);
	if (reset) {
		reset->positions = calloc(group->offsets.count, sizeof *reset->positions);
		reset->skipped = calloc(group->offsets.count, sizeof *reset->skipped);
	}
	if (!reset || !reset->positions || !reset->skipped ||
	    moves_begin(&group->moved, group->offsets.count) < 0) {
		if (reset) {
			free(reset->positions);
			free(reset->skipped);
		}
		free(reset);
		kafka_group_job_end(group, CODE_OVERLOADED, NULL, NULL);
		return;
	}
	reset->group = group;
	group->private = reset;
	group->offsets.code = kafka_group_job_resolve(&group->to, group->open, reset->positions,
						      group->offsets.count);
	if (group->offsets.code != CODE_OK) {
		reset_end(reset, group->offsets.code,
			  "the positions of that time cannot be asked for");
		return;
	}
	kafka_group_job_fit(group);
	reset->look = (struct retry_fence_job){
		.group = group->request.group,
		.topic = group->request.topic,
		.log_generation = group->request.preview ? 0 : topic_generation_of(group->open),
		.partitions = group->offsets.count,
		.done = reset_looked};
	retry_fence_look(adapter, &reset->look);
}

void kafka_group_reset(struct adapter *adapter, const struct group *group,
		       const struct topic *topic, const struct seek_target *to, bool preview,
		       adapter_answer_fn done, void *ctx)
{
	struct group_job *job = kafka_group_job_new(adapter, &(struct request){.group = group,
									       .topic = topic,
									       .preview = preview,
									       .answer_done = done,
									       .ctx = ctx});

	if (!job)
		return;
	if (seek_target_copy(to, &job->to) < 0)
		kafka_group_job_end(job, CODE_OVERLOADED, NULL, NULL);
	else
		kafka_group_job_post(job, reset_run);
}
