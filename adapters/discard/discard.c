// `discard`: accepts every message and forgets it, on the caller's thread. It measures the proxy
// alone.
//
// Durability D0, no consuming, no history; a topic is nothing but its incarnation. Administration
// always succeeds, because there is nothing that could fail.

#include "adapters/adapter.h"

#include <errno.h>

struct adapter {
	uint32_t capabilities;
};

struct adapter_topic {
	uint64_t next; // atomic: offsets rise as anywhere
};

static int discard_check(const struct cluster *cluster, char **ret_error)
{
	if (cluster->options_json && strcmp(cluster->options_json, "{}") != 0) {
		*ret_error = strdup("options: the kind discard has none");
		return -EINVAL;
	}
	if (cluster->secrets_json && strcmp(cluster->secrets_json, "{}") != 0) {
		*ret_error = strdup("secrets: the kind discard has none");
		return -EINVAL;
	}
	return 0;
}

static int discard_open(const struct cluster *cluster, const struct adapter_env *env,
			struct adapter **ret, char **ret_error)
{
	struct adapter *adapter;
	int r = discard_check(cluster, ret_error);

	if (r < 0)
		return r;
	adapter = calloc(1, sizeof *adapter);
	if (!adapter)
		return -ENOMEM;
	adapter->capabilities = CAP_OFFSETS | CAP_KEEPS_WITHOUT_GROUP;
	*ret = adapter;
	return 0;
}

static void discard_close(struct adapter *adapter, void (*done)(void *ctx), void *ctx)
{
	free(adapter);
	done(ctx);
}

static uint32_t discard_capabilities(struct adapter *adapter)
{
	return adapter->capabilities;
}

static void discard_probe(struct adapter *adapter, uint64_t deadline_ns, adapter_answer_fn done,
			  void *ctx)
{
	struct adapter_answer answer = {.kind = ANSWER_PROBE,
					.probe = {.reachable = true,
						  .version = "discard",
						  .nodes = 1,
						  .durability = DURABILITY_D0,
						  .durability_reason = "every message is forgotten",
						  .capabilities = adapter->capabilities}};

	done(ctx, CODE_OK, &answer, NULL);
}

static void discard_topic(struct adapter *adapter, const struct topic *topic, adapter_done_fn done,
			  void *ctx)
{
	done(ctx, CODE_OK, NULL);
}

static void discard_describe(struct adapter *adapter, const struct topic *topic,
			     adapter_answer_fn done, void *ctx)
{
	struct described_partition *rows = calloc(topic->partitions, sizeof *rows);
	struct adapter_answer answer = {.kind = ANSWER_DESCRIBE,
					.describe = {rows, topic->partitions}};

	for (uint32_t i = 0; rows && i < topic->partitions; ++i)
		rows[i] = (struct described_partition){
			.partition = i, .messages = ANSWER_NONE, .oldest_ms = ANSWER_NONE};
	done(ctx, rows ? CODE_OK : CODE_OVERLOADED, rows ? &answer : NULL, NULL);
	free(rows);
}

static void discard_purge(struct adapter *adapter, const struct topic *topic, bool preview,
			  adapter_answer_fn done, void *ctx)
{
	done(ctx, CODE_OK, &(struct adapter_answer){.kind = ANSWER_PURGE}, NULL);
}

static struct adapter_topic *discard_topic_open(struct adapter *adapter, const struct topic *topic)
{
	return calloc(1, sizeof(struct adapter_topic));
}

static void discard_topic_close(struct adapter_topic *topic)
{
	free(topic);
}

static void discard_submit(struct adapter *adapter, struct submit *submit)
{
	uint64_t offset = __atomic_fetch_add(&submit->topic->next, submit->count, __ATOMIC_RELAXED);
	struct submit_run run = {.count = 1, .outcome = OUTCOME_OK, .durability = DURABILITY_D0};

	submit->run_count = 0;
	for (uint32_t at = 0; at < submit->count; at += run.count) {
		uint32_t end = at + 1;

		while (end < submit->count &&
		       submit->records[end].partition == submit->records[at].partition)
			++end;
		run.count = end - at;
		run.partition = submit->records[at].partition;
		run.offset = offset + at;
		submit_add_run(submit, &run);
	}
	submit->done(submit);
}

const struct adapter_ops discard_ops = {
	.kind = "discard",
	.open = discard_open,
	.check = discard_check,
	.close = discard_close,
	.probe = discard_probe,
	.capabilities = discard_capabilities,
	.topic_create = discard_topic,
	.topic_change = discard_topic,
	.topic_delete = discard_topic,
	.topic_describe = discard_describe,
	.topic_purge = discard_purge,
	.topic_open = discard_topic_open,
	.topic_close = discard_topic_close,
	.submit = discard_submit,
};
