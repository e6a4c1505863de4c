// Makes and deletes groups, and counts the backlog of one whose source is closed.
//
// A group is a consumer group under its physical name that has no members, with an offset committed
// for every partition when it is made. A consumer group that exists already keeps what it has
// committed: that is how an existing one is taken over. Deleting an imported group leaves its
// offsets, which belong to its earlier users.
//
// What it does not do: move cursors (group_reset.c).

#include "adapters/kafka/group/groups.h"

#include "adapters/kafka/client/admin_client.h"
#include "adapters/kafka/client/error.h"
#include "adapters/kafka/group/group_job.h"
#include "adapters/kafka/offsets/group_table.h"
#include "adapters/kafka/offsets/offsets.h"
#include "adapters/kafka/retry/retry_rows.h"
#include "adapters/kafka/retry/retry_store.h"
#include "adapters/kafka/topic/topic.h"
#include "adapters/kafka/topic/topic_generation.h"
#include "adapters/log/backlog_rows.h"

#include <stdio.h>

static struct group_job *job_of(struct kafka_task *task)
{
	return CONTAINER_OF(task, struct group_job, task);
}

// ---- making

static void texts_set(struct kafka_offsets *offsets, const uint64_t *positions)
{
	for (uint32_t i = 0; i < offsets->count; ++i) {
		offsets->cursors[i].position = positions[i];
		offsets->cursors[i].text[0] = '\0';
	}
}

static void create_run(struct adapter *adapter, struct kafka_task *task)
{
	struct group_job *job = job_of(task);
	struct seek_target target = seek_target_of_start(job->request.group);
	uint32_t count = job->offsets.count;
	uint64_t *positions;
	bool there;

	if (!kafka_group_job_read(job, &there))
		return;
	positions = calloc(count, sizeof *positions);
	if (!positions)
		job->offsets.code = CODE_OVERLOADED;
	else if (!there)
		job->offsets.code = kafka_group_job_resolve(&target, job->open, positions, count);
	if (job->offsets.code == CODE_OK && !there) {
		texts_set(&job->offsets, positions);
		kafka_offsets_commit_wait(adapter, &job->offsets);
	}
	free(positions);
	if (job->offsets.code == CODE_OK)
		group_table_set_deleted(adapter, job->request.group, job->request.topic, false);
	kafka_group_job_end(job, job->offsets.code, NULL, job->offsets.text);
}

void kafka_groups_create(struct adapter *adapter, const struct group *group,
			 const struct topic *topic, adapter_done_fn done, void *ctx)
{
	struct group_job *job = kafka_group_job_new(
		adapter,
		&(struct request){.group = group, .topic = topic, .done = done, .ctx = ctx});

	if (job)
		kafka_group_job_post(job, create_run);
}

// ---- deleting

static void group_delete_wait(struct group_job *job)
{
	rd_kafka_DeleteGroup_t *request = rd_kafka_DeleteGroup_new(job->request.group->physical);
	const rd_kafka_group_result_t **groups;
	const rd_kafka_error_t *failure = NULL;
	struct admin_client client;
	rd_kafka_resp_err_t error;
	const char *text;
	size_t count = 0;

	admin_client_begin(job->adapter, RD_KAFKA_ADMIN_OP_DELETEGROUPS, &client);
	rd_kafka_DeleteGroups(client.handle, &request, 1, client.options, client.queue);
	rd_kafka_DeleteGroup_destroy(request);
	error = admin_client_await(&client, &text);
	if (!error) {
		groups = rd_kafka_DeleteGroups_result_groups(
			rd_kafka_event_DeleteGroups_result(client.event), &count);
		failure = count ? rd_kafka_group_result_error(groups[0]) : NULL;
		error = failure ? rd_kafka_error_code(failure) : error;
		text = failure ? rd_kafka_error_string(failure) : text;
	}
	if (error == RD_KAFKA_RESP_ERR_NON_EMPTY_GROUP)
		text = "it has members of its own on the cluster (a native consumer)";
	job->offsets.code =
		error == RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND ? CODE_OK : kafka_error_code(error);
	if (job->offsets.code != CODE_OK)
		snprintf(job->offsets.text, sizeof job->offsets.text, "consumer group %s: %s",
			 job->request.group->physical, text);
	admin_client_end(&client);
}

static void delete_run(struct adapter *adapter, struct kafka_task *task)
{
	struct group_job *job = job_of(task);

	if (!job->request.group->imported) // else its offsets belong to their previous users
		group_delete_wait(job);
	if (job->offsets.code == CODE_OK) {
		job->offsets.code = retry_store_delete(adapter, job->request.group);
		snprintf(job->offsets.text, sizeof job->offsets.text, "%s",
			 job->offsets.code == CODE_OK ? "" : "its retry topic cannot be deleted");
	}
	if (job->offsets.code == CODE_OK)
		group_table_set_deleted(adapter, job->request.group, job->request.topic, true);
	kafka_group_job_end(job, job->offsets.code, NULL, job->offsets.text);
}

void kafka_groups_delete(struct adapter *adapter, const struct group *group,
			 const struct topic *topic, adapter_done_fn done, void *ctx)
{
	struct group_job *job = kafka_group_job_new(
		adapter,
		&(struct request){.group = group, .topic = topic, .done = done, .ctx = ctx});

	if (job)
		kafka_group_job_post(job, delete_run);
}

// ---- backlog of a group whose source is not open

// The rows are the caller's; NULL: no memory.
static struct source_partition *backlog_rows(const struct group_job *job)
{
	struct source_partition *rows = calloc(job->offsets.count, sizeof *rows);
	bool complete = rows != NULL;

	for (uint32_t i = 0; complete && i < job->offsets.count; ++i) {
		const struct log_cursor *cursor = &job->offsets.cursors[i];
		uint64_t first, end;

		kafka_topic_bounds(job->open, cursor->partition, &first, &end);
		complete = backlog_row_read(cursor, first, end, &rows[i]) == 0;
		rows[i].log.holes = kafka_topic_has_holes(job->open);
	}
	if (complete)
		return rows;
	free(rows);
	return NULL;
}

static void backlog_looked(struct retry_job *look, struct retry_rows *rows, enum code code,
			   const char *text)
{
	struct group_job *job = CONTAINER_OF(look, struct group_job, look);
	struct adapter_answer answer = {.kind = ANSWER_BACKLOG};
	struct source_partition *partitions = NULL;

	if (code == CODE_OK && retry_rows_fit(rows, job->offsets.cursors, job->offsets.count,
					      topic_generation_of(job->open)) == 0)
		partitions = backlog_rows(job);
	if (code == CODE_OK && !partitions)
		code = CODE_OVERLOADED;
	answer.backlog = (struct answer_backlog){partitions, job->offsets.count};
	kafka_group_job_end(job, code, &answer, text);
	free(partitions);
}

static void backlog_run(struct adapter *adapter, struct kafka_task *task)
{
	struct group_job *job = job_of(task);
	bool there;

	if (group_table_is_deleted(adapter, job->request.group)) {
		kafka_group_job_end(job, CODE_NOT_FOUND, NULL, "it was deleted");
		return;
	}
	if (!kafka_group_job_read(job, &there))
		return;
	kafka_group_job_fit(job);
	job->look = (struct retry_job){.group = job->request.group,
				       .topic = job->request.topic,
				       .fresh = true,
				       .done = backlog_looked};
	retry_store_look(adapter, &job->look);
}

void kafka_groups_backlog(struct adapter *adapter, const struct group *group,
			  const struct topic *topic, adapter_answer_fn done, void *ctx)
{
	struct group_job *job = kafka_group_job_new(
		adapter,
		&(struct request){.group = group, .topic = topic, .answer_done = done, .ctx = ctx});

	if (!job)
		return;
	group_table_seen(adapter, group, topic);
	kafka_group_job_post(job, backlog_run);
}
