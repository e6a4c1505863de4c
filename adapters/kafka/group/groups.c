// Groups: a consumer group under the group's physical name that nobody joins, with an offset
// committed for every partition when the group is made. A consumer group that is there already
// keeps what it has committed: that is how an existing one is taken over.

#include "adapters/kafka/group/group_job.h"
#include "adapters/kafka/topic/topic_generation.h"
#include "adapters/log/standing.h"
#include "core/base/clock.h"

#include <stdio.h>

#define BOUNDS_NS (2 * S_NS)

// ---- jobs

static void job_free(struct group_job *job)
{
	for (uint32_t i = 0; job->offsets.cursors && i < job->offsets.count; ++i)
		free(job->offsets.cursors[i].text);
	free(job->offsets.cursors);
	if (job->open)
		kafka_topic_close(job->open);
	model_unref(job->group);
	model_unref(job->topic);
	json_decref(job->to);
	json_decref(job->moved);
	free(job);
}

void kafka_job_end(struct group_job *job, enum code code, json_t *answer, const char *text)
{
	if (text && !*text)
		text = NULL;
	caller_answer(&job->caller, code, answer, text);
	job_free(job);
}

struct group_job *kafka_job_new(struct adapter *adapter, const struct group *group,
				const struct topic *topic, struct caller caller)
{
	struct group_job *job = calloc(1, sizeof *job);
	uint32_t count = topic->partitions;

	if (!job) {
		caller_answer(&caller, CODE_OVERLOADED, NULL, NULL);
		return NULL;
	}
	job->adapter = adapter;
	job->group = model_ref(group);
	job->topic = model_ref(topic);
	job->caller = caller;
	job->open = kafka_topic_open(adapter, topic);
	job->offsets = (struct kafka_offsets){.group = job->group,
					      .topic = job->topic,
					      .cursors = calloc(count, sizeof(struct log_cursor)),
					      .count = count};
	if (!job->offsets.cursors) {
		job->offsets.count = 0;
		kafka_job_end(job, CODE_OVERLOADED, NULL, NULL);
		return NULL;
	}
	for (uint32_t i = 0; i < count; ++i)
		job->offsets.cursors[i].partition = i;
	return job;
}

static struct group_job *job_of(struct kafka_question *question)
{
	return CONTAINER_OF(question, struct group_job, question);
}

void kafka_job_ask(struct group_job *job,
		   void (*run)(struct adapter *adapter, struct kafka_question *question))
{
	job->question.run = run;
	kafka_ask_aside(job->adapter, &job->question);
}

// A topic that was just made may not have all its leaders yet.
static enum code bounds_await(struct adapter_topic *topic)
{
	uint64_t until_ns = clock_now_ns() + BOUNDS_NS;
	enum code code = kafka_bounds_ask(topic);

	for (unsigned pause_ms = 5; code == CODE_BACKEND_DOWN && clock_now_ns() < until_ns;
	     pause_ms = MIN(2 * pause_ms, 200u)) {
		usleep(pause_ms * 1000);
		code = kafka_bounds_ask(topic);
	}
	return code;
}

// A cursor may be ahead of what was known when it was read.
static bool bounds_suffice(const struct group_job *job)
{
	for (uint32_t i = 0; i < job->offsets.count; ++i) {
		const struct log_cursor *cursor = &job->offsets.cursors[i];
		uint64_t first, end;

		kafka_bounds(job->open, cursor->partition, &first, &end);
		if (cursor->position != OFFSET_NONE && cursor->position > end)
			return false;
	}
	return true;
}

bool kafka_job_read(struct group_job *job, bool *ret_there)
{
	enum code code = job->open ? bounds_await(job->open) : CODE_NOT_FOUND;

	*ret_there = false;
	if (code == CODE_OK)
		code = life_await(job->open);
	if (code != CODE_OK) {
		kafka_job_end(job, code, NULL,
			      code == CODE_NOT_FOUND ? "its topic is not there"
						     : "its topic cannot be reached");
		return false;
	}
	kafka_offsets_read_wait(job->adapter, &job->offsets);
	if (job->offsets.code != CODE_OK) {
		kafka_job_end(job, job->offsets.code, NULL, job->offsets.text);
		return false;
	}
	if (!bounds_suffice(job))
		kafka_bounds_ask(job->open); // else they are as they were
	for (uint32_t i = 0; i < job->offsets.count; ++i)
		*ret_there = *ret_there || job->offsets.cursors[i].position != OFFSET_NONE;
	return true;
}

void kafka_job_fit(struct group_job *job)
{
	for (uint32_t i = 0; i < job->offsets.count; ++i) {
		struct log_cursor *cursor = &job->offsets.cursors[i];
		uint64_t first, end;

		kafka_bounds(job->open, cursor->partition, &first, &end);
		if (cursor->position != OFFSET_NONE && cursor->position <= end)
			continue;
		cursor->position = first; // as a source does
		cursor->text[0] = '\0';
	}
}

// ---- places

static enum code times_resolve(struct adapter_topic *topic, int64_t time_ms, uint64_t *positions,
			       uint32_t count)
{
	_cleanup_(kafka_handle_leave) struct kafka_handle entered =
		kafka_handle_enter(topic->adapter);
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
	rd_kafka_resp_err_t error;

	for (uint32_t i = 0; i < count; ++i)
		rd_kafka_topic_partition_list_add(list, topic->model->physical, (int32_t)i)
			->offset = time_ms;
	error = rd_kafka_offsets_for_times(entered.handle, list, KAFKA_ASK_MS);
	for (uint32_t i = 0; !error && i < count; ++i) {
		const rd_kafka_topic_partition_t *found = &list->elems[i];

		error = found->err;
		if (found->offset >= 0) // else nothing is as young as that: the end
			positions[found->partition] = (uint64_t)found->offset;
	}
	rd_kafka_topic_partition_list_destroy(list);
	return kafka_code(error);
}

enum code kafka_target_resolve(const struct group_target *target, struct adapter_topic *topic,
			       uint64_t *positions, uint32_t count)
{
	const json_t *position;
	enum code code = CODE_OK;
	uint64_t first, end;
	size_t at;

	for (uint32_t i = 0; i < count; ++i) {
		kafka_bounds(topic, i, &first, &end);
		positions[i] = target->place == PLACE_EARLIEST    ? first
			       : target->place == PLACE_POSITIONS ? UINT64_MAX
								  : end;
	}
	if (target->place == PLACE_TIME)
		code = times_resolve(topic, target->time_ms, positions, count);
	json_array_foreach(target->positions, at, position)
	{
		json_int_t number = json_integer_value(json_object_get(position, "partition")),
			   offset = json_integer_value(json_object_get(position, "offset"));

		if (number >= 0 && number < (json_int_t)count)
			positions[number] = (uint64_t)MAX(offset, 0);
	}
	for (uint32_t i = 0; i < count; ++i) {
		kafka_bounds(topic, i, &first, &end);
		if (positions[i] != UINT64_MAX)
			positions[i] = MIN(MAX(positions[i], first), end);
	}
	return code;
}

// ---- making

static void texts_set(struct kafka_offsets *offsets, const uint64_t *positions)
{
	for (uint32_t i = 0; i < offsets->count; ++i) {
		offsets->cursors[i].position = positions[i];
		offsets->cursors[i].text[0] = '\0';
	}
}

static void create_run(struct adapter *adapter, struct kafka_question *question)
{
	struct group_job *job = job_of(question);
	struct group_target target = target_of_start(job->group);
	uint32_t count = job->offsets.count;
	uint64_t *positions;
	bool there;

	if (!kafka_job_read(job, &there))
		return;
	positions = calloc(count, sizeof *positions);
	if (!positions)
		job->offsets.code = CODE_OVERLOADED;
	else if (!there)
		job->offsets.code = kafka_target_resolve(&target, job->open, positions, count);
	if (job->offsets.code == CODE_OK && !there) {
		texts_set(&job->offsets, positions);
		kafka_offsets_commit_wait(adapter, &job->offsets);
	}
	free(positions);
	if (job->offsets.code == CODE_OK)
		known_group_deleted(adapter, job->group, job->topic, false);
	kafka_job_end(job, job->offsets.code, NULL, job->offsets.text);
}

void kafka_group_create(struct adapter *adapter, const struct group *group,
			const struct topic *topic, adapter_done_fn done, void *ctx)
{
	struct group_job *job =
		kafka_job_new(adapter, group, topic, (struct caller){.done = done, .ctx = ctx});

	if (job)
		kafka_job_ask(job, create_run);
}

// ---- deleting

static void group_delete_wait(struct group_job *job)
{
	rd_kafka_DeleteGroup_t *request = rd_kafka_DeleteGroup_new(job->group->physical);
	const rd_kafka_group_result_t **groups;
	const rd_kafka_error_t *error = NULL;
	struct kafka_wait wait;
	rd_kafka_resp_err_t code;
	const char *text;
	size_t count = 0;

	kafka_wait_begin(job->adapter, RD_KAFKA_ADMIN_OP_DELETEGROUPS, &wait);
	rd_kafka_DeleteGroups(wait.handle, &request, 1, wait.options, wait.queue);
	rd_kafka_DeleteGroup_destroy(request);
	code = kafka_wait_end(&wait, &text);
	if (!code) {
		groups = rd_kafka_DeleteGroups_result_groups(
			rd_kafka_event_DeleteGroups_result(wait.event), &count);
		error = count ? rd_kafka_group_result_error(groups[0]) : NULL;
		code = error ? rd_kafka_error_code(error) : code;
		text = error ? rd_kafka_error_string(error) : text;
	}
	if (code == RD_KAFKA_RESP_ERR_NON_EMPTY_GROUP)
		text = "it has members of its own on the cluster (a native consumer)";
	job->offsets.code =
		code == RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND ? CODE_OK : kafka_code(code);
	if (job->offsets.code != CODE_OK)
		snprintf(job->offsets.text, sizeof job->offsets.text, "consumer group %s: %s",
			 job->group->physical, text);
	kafka_wait_deinit(&wait);
}

static void delete_run(struct adapter *adapter, struct kafka_question *question)
{
	struct group_job *job = job_of(question);

	if (!job->group->imported) // else its offsets belong to whoever had them before
		group_delete_wait(job);
	if (job->offsets.code == CODE_OK) {
		job->offsets.code = retry_topic_forget(adapter, job->group);
		snprintf(job->offsets.text, sizeof job->offsets.text, "%s",
			 job->offsets.code == CODE_OK ? "" : "its retry topic cannot be deleted");
	}
	if (job->offsets.code == CODE_OK)
		known_group_deleted(adapter, job->group, job->topic, true);
	kafka_job_end(job, job->offsets.code, NULL, job->offsets.text);
}

void kafka_group_delete(struct adapter *adapter, const struct group *group,
			const struct topic *topic, adapter_done_fn done, void *ctx)
{
	struct group_job *job =
		kafka_job_new(adapter, group, topic, (struct caller){.done = done, .ctx = ctx});

	if (job)
		kafka_job_ask(job, delete_run);
}

// ---- backlog of a group whose source is not open

static json_t *backlog_json(const struct group_job *job)
{
	json_t *partitions = json_array(), *answer = NULL;
	bool complete = true;

	for (uint32_t i = 0; complete && i < job->offsets.count; ++i) {
		const struct log_cursor *cursor = &job->offsets.cursors[i];
		uint64_t first, end;

		kafka_bounds(job->open, cursor->partition, &first, &end);
		complete = json_array_append_new(partitions,
						 standing_backlog(cursor, first, end)) == 0;
	}
	if (complete)
		answer = json_pack("{s:O,s:b}", "partitions", partitions, "holes",
				   kafka_topic_has_holes(job->open));
	json_decref(partitions);
	return answer;
}

static void backlog_looked(struct retry_job *look, struct retry_rows *rows, enum code code,
			   const char *text)
{
	struct group_job *job = CONTAINER_OF(look, struct group_job, look);
	json_t *answer = NULL;

	if (code == CODE_OK &&
	    retry_rows_fit(rows, job->offsets.cursors, job->offsets.count, life_of(job->open)) == 0)
		answer = backlog_json(job);
	kafka_job_end(job, code == CODE_OK && !answer ? CODE_OVERLOADED : code, answer, text);
}

static void backlog_run(struct adapter *adapter, struct kafka_question *question)
{
	struct group_job *job = job_of(question);
	bool there;

	if (known_group_is_deleted(adapter, job->group)) {
		kafka_job_end(job, CODE_NOT_FOUND, NULL, "it was deleted");
		return;
	}
	if (!kafka_job_read(job, &there))
		return;
	kafka_job_fit(job);
	job->look = (struct retry_job){
		.group = job->group, .topic = job->topic, .fresh = true, .done = backlog_looked};
	retry_look(adapter, &job->look);
}

void kafka_group_backlog(struct adapter *adapter, const struct group *group,
			 const struct topic *topic, adapter_json_fn done, void *ctx)
{
	struct group_job *job = kafka_job_new(adapter, group, topic,
					      (struct caller){.json_done = done, .ctx = ctx});

	if (!job)
		return;
	known_group_seen(adapter, group, topic);
	kafka_job_ask(job, backlog_run);
}
