// One administrative request about a group: its models, its offsets, its answer.
//
// Its steps run on the admin loop, except those that look into the retry store. Seek targets by
// time or position become offsets here, within the bounds of the topic.
//
// Invariant: kafka_group_job_end() is called once, by whatever step is the last. What it does not
// do: know what the request is for (groups.c, group_reset.c).

#include "adapters/kafka/group/group_job.h"

#include "adapters/kafka/client/error.h"
#include "adapters/kafka/topic/topic.h"
#include "adapters/kafka/topic/topic_generation.h"
#include "adapters/kafka/topic/watermarks.h"
#include "core/base/clock.h"

#define BOUNDS_NS (2 * S_NS)

static void job_free(struct group_job *job)
{
	for (uint32_t i = 0; job->offsets.cursors && i < job->offsets.count; ++i)
		free(job->offsets.cursors[i].text);
	free(job->offsets.cursors);
	if (job->open)
		kafka_topic_close(job->open);
	seek_target_deinit(&job->to);
	moves_deinit(&job->moved);
	free(job);
}

void kafka_group_job_end(struct group_job *job, enum code code, const struct adapter_answer *answer,
			 const char *text)
{
	if (text && !*text)
		text = NULL;
	request_end(&job->request, code, answer, text);
	job_free(job);
}

struct group_job *kafka_group_job_new(struct adapter *adapter, const struct request *request)
{
	struct group_job *job = calloc(1, sizeof *job);
	uint32_t count = request->topic->partitions;

	if (!job) {
		request_answer(request, CODE_OVERLOADED, NULL);
		return NULL;
	}
	job->adapter = adapter;
	request_hold(request, &job->request);
	job->open = kafka_topic_open(adapter, request->topic);
	job->offsets = (struct kafka_offsets){.group = request->group,
					      .topic = request->topic,
					      .cursors = calloc(count, sizeof(struct log_cursor)),
					      .count = count};
	if (!job->offsets.cursors) {
		job->offsets.count = 0;
		kafka_group_job_end(job, CODE_OVERLOADED, NULL, NULL);
		return NULL;
	}
	for (uint32_t i = 0; i < count; ++i)
		job->offsets.cursors[i].partition = i;
	return job;
}

void kafka_group_job_post(struct group_job *job,
			  void (*run)(struct adapter *adapter, struct kafka_task *task))
{
	job->task.run = run;
	kafka_task_post_admin(job->adapter, &job->task);
}

// A topic that was just made may not have all its leaders yet.
static enum code bounds_await(struct adapter_topic *topic)
{
	uint64_t until_ns = clock_now_ns() + BOUNDS_NS;
	enum code code = watermarks_refresh(topic);

	for (unsigned pause_ms = 5; code == CODE_BACKEND_DOWN && clock_now_ns() < until_ns;
	     pause_ms = MIN(2 * pause_ms, 200u)) {
		usleep(pause_ms * 1000);
		code = watermarks_refresh(topic);
	}
	return code;
}

// A cursor may be ahead of what was known when it was read.
static bool bounds_suffice(const struct group_job *job)
{
	for (uint32_t i = 0; i < job->offsets.count; ++i) {
		const struct log_cursor *cursor = &job->offsets.cursors[i];
		uint64_t first, end;

		kafka_topic_bounds(job->open, cursor->partition, &first, &end);
		if (cursor->position != OFFSET_NONE && cursor->position > end)
			return false;
	}
	return true;
}

bool kafka_group_job_read(struct group_job *job, bool *ret_there)
{
	enum code code = job->open ? bounds_await(job->open) : CODE_NOT_FOUND;

	*ret_there = false;
	if (code == CODE_OK)
		code = topic_generation_await(job->open);
	if (code != CODE_OK) {
		kafka_group_job_end(job, code, NULL,
				    code == CODE_NOT_FOUND ? "its topic is not there"
							   : "its topic cannot be reached");
		return false;
	}
	kafka_offsets_read_wait(job->adapter, &job->offsets);
	if (job->offsets.code != CODE_OK) {
		kafka_group_job_end(job, job->offsets.code, NULL, job->offsets.text);
		return false;
	}
	if (!bounds_suffice(job))
		watermarks_refresh(job->open); // else they are as they were
	for (uint32_t i = 0; i < job->offsets.count; ++i)
		*ret_there = *ret_there || job->offsets.cursors[i].position != OFFSET_NONE;
	return true;
}

void kafka_group_job_fit(struct group_job *job)
{
	for (uint32_t i = 0; i < job->offsets.count; ++i) {
		struct log_cursor *cursor = &job->offsets.cursors[i];
		uint64_t first, end;

		kafka_topic_bounds(job->open, cursor->partition, &first, &end);
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
	_cleanup_(admin_handle_leave) struct admin_handle_entered entered =
		admin_handle_enter(topic->adapter);
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
	rd_kafka_resp_err_t error;

	for (uint32_t i = 0; i < count; ++i)
		rd_kafka_topic_partition_list_add(list, topic->model->physical, (int32_t)i)
			->offset = time_ms;
	error = rd_kafka_offsets_for_times(entered.handle, list, ADMIN_HANDLE_CALL_MS);
	for (uint32_t i = 0; !error && i < count; ++i) {
		const rd_kafka_topic_partition_t *found = &list->elems[i];

		error = found->err;
		if (found->offset >= 0) // else nothing is as young as that: the end
			positions[found->partition] = (uint64_t)found->offset;
	}
	rd_kafka_topic_partition_list_destroy(list);
	return kafka_error_code(error);
}

enum code kafka_group_job_resolve(const struct seek_target *target, struct adapter_topic *topic,
				  uint64_t *positions, uint32_t count)
{
	enum code code = CODE_OK;
	uint64_t first, end;

	for (uint32_t i = 0; i < count; ++i) {
		kafka_topic_bounds(topic, i, &first, &end);
		positions[i] = target->place == SEEK_EARLIEST    ? first
			       : target->place == SEEK_POSITIONS ? UINT64_MAX
								 : end;
	}
	if (target->place == SEEK_TIME)
		code = times_resolve(topic, target->time_ms, positions, count);
	for (size_t i = 0; i < target->position_count; ++i)
		if (target->positions[i].partition < count)
			positions[target->positions[i].partition] = target->positions[i].offset;
	for (uint32_t i = 0; i < count; ++i) {
		kafka_topic_bounds(topic, i, &first, &end);
		if (positions[i] != UINT64_MAX)
			positions[i] = MIN(MAX(positions[i], first), end);
	}
	return code;
}
