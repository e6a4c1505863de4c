// Loads the cursors of a group for its source, and commits them with the writes of the retry store.
//
// Load: the committed offsets first, then the bounds of the topic and the generation it is in, then
// the rows of the retry store up to its end. In this order no row that a cursor has passed can be
// overlooked. Commit: the rows first, and when all of them are acknowledged the offsets.
// docs/adapters/kafka-internals.md says why this holds whatever a stale owner does.
//
// What it does not do: retry; the source commits again.

#include "adapters/kafka/group/cursors.h"

#include "adapters/kafka/client/task.h"
#include "adapters/kafka/offsets/group_table.h"
#include "adapters/kafka/offsets/offsets.h"
#include "adapters/kafka/retry/retry_commit.h"
#include "adapters/kafka/retry/retry_fence.h"
#include "adapters/kafka/retry/retry_rows.h"
#include "adapters/kafka/topic/topic_generation.h"
#include "adapters/kafka/topic/watermarks.h"

// ---- loading

struct loading {
	struct kafka_offsets offsets;
	struct kafka_task task;
	struct retry_fence_job look;
	struct adapter *adapter;
	struct log_cursors *load;
};

static void load_end(struct loading *loading, enum code code, const char *text)
{
	struct log_cursors *load = loading->load;

	group_table_report(loading->adapter, load->group, code, text);
	for (uint32_t i = 0; code != CODE_OK && i < load->count; ++i) {
		free(load->cursors[i].text);
		load->cursors[i].text = NULL;
	}
	free(loading);
	load->code = code;
	loop_post(load->loop, &load->task);
}

static void cursor_reset(struct log_cursor *cursor, uint64_t position)
{
	cursor->position = position;
	cursor->text[0] = '\0'; // what it says is of another position
}

// A partition without a commit was added later, or its commit has expired; a position behind the
// end belongs to a log that was cut off, and what has been written to it since is unknown. Both
// come again, from their beginning, rather than being passed over.
static void cursor_fit(struct loading *loading, struct log_cursor *cursor)
{
	const struct group *group = loading->load->group;
	uint64_t first, end;

	kafka_topic_bounds(loading->load->topic, cursor->partition, &first, &end);
	if (cursor->position == OFFSET_NONE) {
		log_info(loading->adapter->log, "KAFKA-NO-OFFSET",
			 "group %s has no offset for partition %u of %s: it begins at %llu",
			 group->physical, cursor->partition, loading->load->topic->model->physical,
			 (unsigned long long)first);
		cursor_reset(cursor, first);
	} else if (cursor->position > end) {
		log_warn(loading->adapter->log, "KAFKA-CUT-OFF",
			 "group %s stood at %llu in partition %u of %s, which ends at %llu: "
			 "it begins at %llu",
			 group->physical, (unsigned long long)cursor->position, cursor->partition,
			 loading->load->topic->model->physical, (unsigned long long)end,
			 (unsigned long long)first);
		cursor_reset(cursor, first);
	}
}

static void load_rows(struct retry_fence_job *look, struct retry_rows *rows, enum code code,
		      const char *text)
{
	struct loading *loading = CONTAINER_OF(look, struct loading, look);
	struct log_cursors *load = loading->load;

	for (uint32_t i = 0; code == CODE_OK && i < load->count; ++i)
		cursor_fit(loading, &load->cursors[i]);
	if (code == CODE_OK &&
	    retry_rows_fit(rows, load->cursors, load->count, topic_generation_of(load->topic)) < 0)
		code = CODE_OVERLOADED;
	for (uint32_t i = 0; code == CODE_OK && i < rows->fence_count; ++i) {
		load->epoch = MAX(load->epoch, rows->fences[i].epoch);
		topic_generation_epoch_seen(loading->adapter, rows->fences[i].epoch);
	}
	load_end(loading, code, text);
}

static void load_look(struct loading *loading)
{
	const struct log_cursors *load = loading->load;

	loading->look = (struct retry_fence_job){.group = load->group,
						 .topic = load->topic->model,
						 .log_generation = topic_generation_of(load->topic),
						 .partitions = load->count,
						 .opens = true,
						 .done = load_rows};
	retry_fence_look(loading->adapter, &loading->look);
}

static void bounds_run(struct adapter *adapter, struct kafka_task *task)
{
	struct loading *loading = CONTAINER_OF(task, struct loading, task);
	enum code code = watermarks_refresh(loading->load->topic);

	if (code == CODE_OK)
		code = topic_generation_await(loading->load->topic);
	if (code == CODE_OK)
		load_look(loading);
	else
		load_end(loading, code, "the bounds of its topic cannot be read");
}

// Where a partition ends is known a second late at most; a cursor may be ahead of that.
static bool bounds_suffice(const struct log_cursors *load)
{
	if (!__atomic_load_n(&load->topic->generation_known, __ATOMIC_ACQUIRE))
		return false;
	for (uint32_t i = 0; i < load->count; ++i) {
		const struct kafka_partition *partition = kafka_topic_partition(load->topic, i);
		uint64_t position = load->cursors[i].position;

		if (!partition || !__atomic_load_n(&partition->known, __ATOMIC_ACQUIRE))
			return false;
		if (position != OFFSET_NONE &&
		    position > __atomic_load_n(&partition->end, __ATOMIC_ACQUIRE))
			return false;
	}
	return true;
}

static void load_read(struct kafka_offsets *offsets)
{
	struct loading *loading = CONTAINER_OF(offsets, struct loading, offsets);

	if (offsets->code != CODE_OK) {
		load_end(loading, offsets->code, offsets->text);
	} else if (bounds_suffice(loading->load)) {
		load_look(loading);
	} else {
		loading->task.run = bounds_run;
		kafka_task_post_blocking(loading->adapter, &loading->task);
	}
}

static void cursors_answer(struct log_cursors *cursors, enum code code)
{
	cursors->code = code;
	loop_post(cursors->loop, &cursors->task);
}

void kafka_cursors_load(struct adapter *adapter, struct log_cursors *load)
{
	struct loading *loading = calloc(1, sizeof *loading);

	load->epoch = 0;
	for (uint32_t i = 0; i < load->count; ++i)
		load->cursors[i] = (struct log_cursor){.partition = i};
	if (!loading) {
		cursors_answer(load, CODE_OVERLOADED);
		return;
	}
	loading->adapter = adapter;
	loading->load = load;
	group_table_seen(adapter, load->group, load->topic->model);
	if (group_table_is_deleted(adapter, load->group)) {
		load_end(loading, CODE_NOT_FOUND, "it was deleted");
		return;
	}
	loading->offsets = (struct kafka_offsets){.group = load->group,
						  .topic = load->topic->model,
						  .cursors = load->cursors,
						  .count = load->count,
						  .done = load_read};
	kafka_offsets_read(adapter, &loading->offsets);
}

// ---- committing

struct committing {
	struct kafka_offsets offsets;
	struct loop_task wait;
	struct adapter *adapter;
	struct log_cursors *commit;
	bool begun;
};

static void commit_end(struct committing *committing, enum code code, const char *text)
{
	struct adapter *adapter = committing->adapter;
	struct log_cursors *commit = committing->commit;

	if (committing->begun)
		group_table_commit_end(adapter, commit->group, code == CODE_OK);
	group_table_report(adapter, commit->group, code, text);
	free(committing);
	cursors_answer(commit, code);
}

static void commit_written(struct kafka_offsets *offsets)
{
	commit_end(CONTAINER_OF(offsets, struct committing, offsets), offsets->code, offsets->text);
}

static void commit_offsets(struct committing *committing)
{
	struct log_cursors *commit = committing->commit;

	if (commit->count == 0) {
		commit_end(committing, CODE_OK, NULL);
		return;
	}
	committing->offsets = (struct kafka_offsets){.group = commit->group,
						     .topic = commit->topic->model,
						     .cursors = commit->cursors,
						     .count = commit->count,
						     .done = commit_written};
	kafka_offsets_commit(committing->adapter, &committing->offsets);
}

static void commit_go(struct loop_task *wait)
{
	commit_offsets(CONTAINER_OF(wait, struct committing, wait));
}

static void commit_cursors(struct committing *committing)
{
	committing->wait.fn = commit_go;
	committing->begun = true;
	if (group_table_commit_begin(committing->adapter, committing->commit->group,
				     &committing->wait))
		commit_offsets(committing);
}

static void commit_kept(void *ctx, enum code code, const char *text)
{
	struct committing *committing = ctx;

	if (code == CODE_OK)
		commit_cursors(committing);
	else
		commit_end(committing, code, text);
}

void kafka_cursors_commit(struct adapter *adapter, struct log_cursors *commit)
{
	struct committing *committing = calloc(1, sizeof *committing);

	if (!committing || group_table_is_deleted(adapter, commit->group)) {
		cursors_answer(commit, committing ? CODE_NOT_FOUND : CODE_OVERLOADED);
		free(committing);
		return;
	}
	committing->adapter = adapter;
	committing->commit = commit;
	if (commit->retry_count)
		retry_commit(adapter, commit, commit_kept, committing);
	else
		commit_cursors(committing);
}
