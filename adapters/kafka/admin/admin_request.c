// Errands: made, run aside, answered, freed.

#include "adapters/kafka/admin/admin_request.h"

#include "adapters/kafka/client/error.h"

#include <stdio.h>

void errand_end(struct errand *errand)
{
	const char *text = *errand->text ? errand->text : NULL;

	caller_answer(&errand->caller, errand->code,
		      errand->code == CODE_OK ? errand->answer : NULL, text);
	if (errand->code != CODE_OK)
		json_decref(errand->answer);
	model_unref(errand->topic);
	free(errand->work);
	free(errand);
}

struct errand *errand_new(const struct topic *topic, struct caller caller)
{
	struct errand *errand = calloc(1, sizeof *errand);

	if (!errand) {
		caller_answer(&caller, CODE_OVERLOADED, NULL, NULL);
		return NULL;
	}
	errand->topic = topic ? model_ref(topic) : NULL;
	errand->caller = caller;
	return errand;
}

static void question_run(struct adapter *adapter, struct kafka_task *task)
{
	struct errand *errand = CONTAINER_OF(task, struct errand, task);

	if (kafka_task_is_leaving(adapter))
		errand_refuse(errand, CODE_SHUTTING_DOWN, "the cluster is being closed");
	else
		errand->run(adapter, errand);
	if (!errand->waits)
		errand_end(errand);
}

void errand_start(struct adapter *adapter, struct errand *errand,
		  void (*run)(struct adapter *adapter, struct errand *errand))
{
	errand->run = run;
	errand->task.run = question_run;
	kafka_task_post_admin(adapter, &errand->task);
}

bool errand_failed(struct errand *errand, struct adapter *adapter, rd_kafka_resp_err_t error,
		   const char *text)
{
	const char *cluster = adapter->log ? adapter->log->cluster : NULL;

	if (!error)
		return false;
	errand->code = kafka_error_code(error);
	snprintf(errand->text, sizeof errand->text, "cluster %s%s%s: %s", cluster ? cluster : "",
		 errand->topic ? ", topic " : "", errand->topic ? errand->topic->physical : "",
		 text && *text ? text : rd_kafka_err2str(error));
	return true;
}

void errand_refuse(struct errand *errand, enum code code, const char *text)
{
	errand->code = code;
	snprintf(errand->text, sizeof errand->text, "%s", text);
}
