// Finds out whether a cluster can be reached, what it can do, and what durability it gives.
//
// It waits until the cluster answers, the deadline, or an error that waiting does not cure.

#include "adapters/kafka/admin/probe.h"

#include "adapters/kafka/admin/admin_request.h"
#include "adapters/kafka/client/cluster_info.h"
#include "core/base/clock.h"

#include <stdio.h>

#define STEP_MS  500   // of waiting for a cluster that may be about to say why it does not answer
#define PLAIN_MS 1000  // what waiting does not cure is told after so long
#define LATE_MS  300   // before the deadline: time to answer
#define STALE_MS 15000 // what went wrong before that is no reason today

// ---- probing

static int left_ms(const struct admin_request *request)
{
	uint64_t now_ns = clock_now_ns() + LATE_MS * MS_NS;

	return now_ns >= request->deadline_ns
		       ? 0
		       : (int)MIN((request->deadline_ns - now_ns) / MS_NS, (uint64_t)60000);
}

// Until it answers, the deadline, or something is wrong that stays wrong.
static rd_kafka_resp_err_t cluster_await(struct adapter *adapter, struct admin_request *request)
{
	uint64_t began_ns = clock_now_ns();
	rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR__TIMED_OUT;
	bool plain = false;
	char text[8];
	int left;

	for (int step = STEP_MS; (left = left_ms(request)) > 0; step *= 2) {
		error = cluster_info_refresh(adapter, MIN(left, step));
		if (!error ||
		    (clock_now_ns() - began_ns >= PLAIN_MS * MS_NS &&
		     last_error_since(&adapter->last_error, began_ns, &plain, text, sizeof text) &&
		     plain))
			break;
	}
	return error;
}

// What the answer points to.
struct probe_texts {
	struct cluster_info info;
	char reason[CLUSTER_INFO_REASON], error[512];
};

static void error_describe(struct adapter *adapter, rd_kafka_resp_err_t error, char *text,
			   size_t size)
{
	uint64_t now_ns = clock_now_ns();

	if (!last_error_since(&adapter->last_error,
			      now_ns > STALE_MS * MS_NS ? now_ns - STALE_MS * MS_NS : 0, NULL, text,
			      size))
		snprintf(text, size, "no broker of %s answers: %s", adapter->options.bootstrap,
			 rd_kafka_err2str(error));
}

static void probe_run(struct adapter *adapter, struct admin_request *request)
{
	struct probe_texts *texts = request->work;
	rd_kafka_resp_err_t error = cluster_await(adapter, request);
	enum durability durability;

	texts->info = cluster_info_get(adapter);
	durability = cluster_info_durability(&texts->info, &adapter->options, texts->reason);
	if (error)
		error_describe(adapter, error, texts->error, sizeof texts->error);
	request->answer = (struct adapter_answer){
		.kind = ANSWER_PROBE,
		.probe = {.reachable = !error,
			  .version = *texts->info.version ? texts->info.version : "unknown",
			  .nodes = texts->info.known ? (uint64_t)texts->info.nodes : ANSWER_NONE,
			  .durability = durability,
			  .durability_reason = texts->reason,
			  .capabilities = cluster_info_capabilities(adapter),
			  .latency_us = error ? ANSWER_NONE : texts->info.latency_us,
			  .error = *texts->error ? texts->error : NULL}};
}

void kafka_probe(struct adapter *adapter, uint64_t deadline_ns, adapter_answer_fn done, void *ctx)
{
	struct admin_request *request = admin_request_new(
		&(struct request){.answer_done = done, .ctx = ctx}, sizeof(struct probe_texts));

	if (!request)
		return;
	request->deadline_ns = deadline_ns;
	admin_request_start(adapter, request, probe_run);
}
