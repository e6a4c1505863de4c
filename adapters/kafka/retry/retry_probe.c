// Whether a store's topic is there: asked before it is read for the first time.

#include "adapters/kafka/client/task.h"
#include "adapters/kafka/retry/retry.h"
#include "adapters/kafka/retry/retry_thread.h"

struct asking {
	struct kafka_task task;
	struct retry_letter letter;
	struct retry_stores *stores;
	uint64_t group;
	char *name;
	enum retry_presence presence;
	enum code code;
};

static void asked(struct retry_stores *stores, struct retry_letter *letter)
{
	struct asking *asking = CONTAINER_OF(letter, struct asking, letter);
	struct map_node *node = map_find(&stores->stores, asking->group);
	struct retry_store *store = node ? CONTAINER_OF(node, struct retry_store, by_id) : NULL;
	struct retry_job *job = store ? retry_job_first(store) : NULL;
	enum retry_presence presence = asking->presence;
	enum code code = asking->code;

	free(asking->name);
	free(asking);
	retry_batch_under_way(stores, -1);
	if (!job || job->phase != JOB_ASKING)
		return;
	if (code != CODE_OK) {
		retry_job_end(job, code, "whether there is a retry topic cannot be told");
		return;
	}
	if (store->presence != RETRY_THERE) // else it was made meanwhile
		store->presence = presence;
	job->phase = JOB_CATCHING_UP;
	if (store->presence == RETRY_THERE) {
		retry_stream_go(store);
		return;
	}
	store->loaded = true;
	retry_job_plan(job);
}

static void ask_run(struct adapter *adapter, struct kafka_task *task)
{
	struct asking *asking = CONTAINER_OF(task, struct asking, task);

	asking->code = retry_topic_ask(adapter, asking->name, &asking->presence);
	retry_post(asking->stores, &asking->letter);
}

void retry_ask(struct retry_job *job)
{
	struct retry_store *store = job->store;
	struct asking *asking = calloc(1, sizeof *asking);

	if (asking)
		asking->name = strdup(store->name);
	if (!asking || !asking->name) {
		free(asking);
		retry_job_end(job, CODE_OVERLOADED, NULL);
		return;
	}
	job->phase = JOB_ASKING;
	asking->task.run = ask_run;
	asking->letter.run = asked;
	asking->stores = store->stores;
	asking->group = store->by_id.key;
	retry_batch_under_way(store->stores, 1);
	kafka_task_post_blocking(store->stores->adapter, &asking->task);
}
