// One administrative request of a cluster, from the call to the answer: it is allocated, run on the
// admin loop, answered and freed.
//
// Invariant: the caller is answered exactly once; with `waits` by the request itself. While the
// cluster is being closed a request is refused instead of run.

#include "adapters/kafka/admin/admin_request.h"

#include "adapters/kafka/client/error.h"

#include <stdio.h>

void admin_request_end(struct admin_request *request)
{
	const char *text = *request->text ? request->text : NULL;

	request_end(&request->base, request->code, &request->answer, text);
	if (request->work_free)
		request->work_free(request->work);
	else
		free(request->work);
	free(request);
}

struct admin_request *admin_request_new(const struct request *base, size_t work_bytes)
{
	struct admin_request *request = calloc(1, sizeof *request);

	if (request && work_bytes)
		request->work = calloc(1, work_bytes);
	if (!request || (work_bytes && !request->work)) {
		free(request);
		request_answer(base, CODE_OVERLOADED, NULL);
		return NULL;
	}
	request_hold(base, &request->base);
	return request;
}

static void question_run(struct adapter *adapter, struct kafka_task *task)
{
	struct admin_request *request = CONTAINER_OF(task, struct admin_request, task);

	if (kafka_task_is_leaving(adapter))
		admin_request_refuse(request, CODE_SHUTTING_DOWN, "the cluster is being closed");
	else
		request->run(adapter, request);
	if (!request->waits)
		admin_request_end(request);
}

void admin_request_start(struct adapter *adapter, struct admin_request *request,
			 void (*run)(struct adapter *adapter, struct admin_request *request))
{
	request->run = run;
	request->task.run = question_run;
	kafka_task_post_admin(adapter, &request->task);
}

bool admin_request_failed(struct admin_request *request, struct adapter *adapter,
			  rd_kafka_resp_err_t error, const char *text)
{
	const char *cluster = adapter->log ? adapter->log->cluster : NULL;

	if (!error)
		return false;
	request->code = kafka_error_code(error);
	snprintf(request->text, sizeof request->text, "cluster %s%s%s: %s", cluster ? cluster : "",
		 request->base.topic ? ", topic " : "",
		 request->base.topic ? request->base.topic->physical : "",
		 text && *text ? text : rd_kafka_err2str(error));
	return true;
}

void admin_request_refuse(struct admin_request *request, enum code code, const char *text)
{
	request->code = code;
	snprintf(request->text, sizeof request->text, "%s", text);
}
