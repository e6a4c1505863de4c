// `queue_example`: a queue backend in the memory of the process. It passes the contract, and is
// where an adapter for such a backend is begun. broker.c is in place of a cluster.
// First the ops of adapters/queue/queue.h, then the slots of adapters/adapter.h. A real adapter
// answers when its cluster has answered, says what it cannot reach, and copes without memory.

#include "tests/queue_example/queue_example.h"

#include "adapters/queue/answers.h"
#include "adapters/queue/event.h"
#include "adapters/queue/source.h"
#include "adapters/queue/source_backlog.h"
#include "core/base/clock.h"
#include "tests/queue_example/broker.h"

enum { MESSAGES_MAX = 16384, ARRIVALS_MAX = 256, LOOK_MS = 5 };

struct adapter {
	struct broker *broker;
};

struct queue_attachment {
	struct queue_attach attach;
	struct broker *broker;
	struct broker_queue *queue; // of the open channel; NULL: there is none
	uint64_t epoch, tag;        // of the channel; the last one on it
	uint64_t first;             // tag of its consumer
	uint32_t left;              // how many that one may be handed
	struct loop_timer timer;
};

static void post(struct queue_attachment *attachment, struct queue_event event)
{
	int r = queue_event_post(&attachment->attach, &event);

	assert(r == 0);
}

static void post_epoch(struct queue_attachment *attachment, enum queue_event_kind kind)
{
	post(attachment,
	     (struct queue_event){kind, .number = attachment->epoch, .code = CODE_BACKEND_DOWN});
}

static void end_channel(struct broker_queue *queue, enum queue_event_kind kind)
{
	if (!queue || !queue->consumer)
		return;
	broker_give_back(queue);
	post_epoch(queue->consumer, kind);
	queue->consumer->queue = NULL;
	queue->consumer = NULL;
}

void queue_example_cut(struct adapter *adapter)
{
	BROKER_LOCKED;
	LIST_FOREACH(at, next, &adapter->broker->queues)
	{
		end_channel(BROKER_QUEUE(at), QUEUE_EVENT_LOST);
	}
}

static size_t take(struct queue_attachment *attachment, struct queue_arrival *ret)
{
	BROKER_LOCKED;
	size_t room = MIN(attachment->left, (size_t)ARRIVALS_MAX), taken = 0;

	if (attachment->queue)
		taken = broker_take(attachment->queue, attachment->tag + 1, ret, room);
	attachment->tag += taken;
	attachment->left -= (uint32_t)taken;
	return taken;
}

// A cluster would push.
static void on_look(struct loop_timer *timer)
{
	struct queue_attachment *attachment = CONTAINER_OF(timer, struct queue_attachment, timer);
	struct queue_arrival arrivals[ARRIVALS_MAX];
	size_t taken = take(attachment, arrivals);

	for (size_t i = 0; i < taken; ++i)
		arrivals[i].epoch = attachment->epoch;
	if (taken)
		attachment->attach.handlers->arrived(attachment->attach.ctx, arrivals, taken);
	for (size_t i = 0; i < taken; ++i)
		buf_unref(arrivals[i].buf);
	loop_timer_set(timer, loop_now_ns(attachment->attach.loop) + LOOK_MS * MS_NS);
}

static int do_attach(struct adapter *adapter, const struct queue_attach *attach,
		     struct queue_attachment **ret)
{
	*ret = broker_alloc(sizeof **ret);
	(*ret)->attach = *attach;
	(*ret)->broker = adapter->broker;
	loop_timer_init(&(*ret)->timer, attach->loop, on_look);
	return 0;
}

static struct broker_queue *queue_of(const struct queue_attachment *attachment)
{
	return broker_find(attachment->broker, attachment->attach.topic, attachment->attach.group);
}

static void do_open(struct queue_attachment *attachment, uint64_t epoch)
{
	BROKER_LOCKED;
	struct broker_queue *queue = queue_of(attachment);

	attachment->epoch = epoch;
	attachment->tag = attachment->left = 0;
	if (queue && !queue->consumer) {
		attachment->queue = queue;
		queue->consumer = attachment;
	}
	post_epoch(attachment, attachment->queue ? QUEUE_EVENT_OPENED
			       : queue           ? QUEUE_EVENT_LOST // it has another consumer
						 : QUEUE_EVENT_GONE);
}

static void do_cut(struct queue_attachment *attachment)
{
	BROKER_LOCKED;
	end_channel(attachment->queue, QUEUE_EVENT_LOST);
}

static void do_consume(struct queue_attachment *attachment, uint32_t prefetch)
{
	BROKER_LOCKED;
	attachment->first = prefetch ? attachment->tag + 1 : UINT64_MAX;
	attachment->left = prefetch;
	if (prefetch)
		loop_timer_set(&attachment->timer, 1);
	else
		post_epoch(attachment, QUEUE_EVENT_CANCELLED);
}

static void do_ack(struct queue_attachment *attachment, const uint64_t *tags, size_t count)
{
	BROKER_LOCKED;
	for (size_t i = 0; attachment->queue && i < count; ++i) {
		broker_drop(attachment->queue, tags[i]);
		attachment->left += tags[i] >= attachment->first;
	}
}

static void do_barrier(struct queue_attachment *attachment)
{
	post_epoch(attachment, QUEUE_EVENT_PASSED);
}

static bool do_write(struct queue_attachment *attachment, const struct queue_copy *copy)
{
	BROKER_LOCKED;
	struct broker_queue *queue = queue_of(attachment);

	if (!queue)
		return false;
	broker_put(queue,
		   &(struct queue_arrival){.buf = copy->buf,
					   .record = copy->record,
					   .partition = copy->partition,
					   .attempts = copy->attempts,
					   .due_ms = copy->due_ms,
					   .stored_ms = copy->stored_ms},
		   true);
	post(attachment, (struct queue_event){QUEUE_EVENT_WRITTEN, .number = copy->number});
	return true;
}

static void do_count(struct queue_attachment *attachment)
{
	BROKER_LOCKED;
	struct broker_queue *queue = queue_of(attachment);

	post(attachment, (struct queue_event){QUEUE_EVENT_COUNTED, .number = queue != NULL,
					      .counts = broker_count(queue)});
}

static void do_detach(struct queue_attachment *attachment)
{
	do_cut(attachment);
	loop_timer_cancel(&attachment->timer);
	post_epoch(attachment, QUEUE_EVENT_DETACHED);
	loop_free_later(attachment->attach.loop, attachment, free);
}

static const struct queue_ops queue_ops = {.messages_max = MESSAGES_MAX,
					   .acks_max = 32,
					   .attach = do_attach,
					   .open = do_open,
					   .cut = do_cut,
					   .consume = do_consume,
					   .ack = do_ack,
					   .barrier = do_barrier,
					   .write = do_write,
					   .count = do_count,
					   .detach = do_detach};

// ---- the slots: the cluster

static int example_open(const struct cluster *cluster, const struct adapter_env *env,
			struct adapter **ret, char **ret_error)
{
	BROKER_LOCKED;
	*ret = broker_alloc(sizeof **ret);
	(*ret)->broker = broker_at(env->data_dir);
	return 0;
}

static void example_close(struct adapter *adapter, void (*done)(void *ctx), void *ctx)
{
	free(adapter);
	done(ctx);
}

static uint32_t example_capabilities(struct adapter *adapter)
{
	return CAP_CONSUME | CAP_DELAY | CAP_EXACT_BACKLOG | CAP_ATTEMPTS_SURVIVE;
}

static void example_probe(struct adapter *adapter, uint64_t deadline_ns, adapter_answer_fn done,
			  void *ctx)
{
	const struct answer_probe probe = {.reachable = true,
					   .version = "1",
					   .nodes = 1,
					   .durability_reason = "all is in memory",
					   .capabilities = example_capabilities(adapter),
					   .latency_us = ANSWER_NONE};

	done(ctx, CODE_OK, &(struct adapter_answer){ANSWER_PROBE, {.probe = probe}}, NULL);
}

// ---- topics and groups

static void example_topic_change(struct adapter *adapter, const struct topic *topic,
				 adapter_done_fn done, void *ctx)
{
	BROKER_LOCKED;
	struct broker_queue *row = broker_find(adapter->broker, topic, NULL);
	bool fits = row && row->incarnation == topic->incarnation &&
		    row->partitions <= topic->partitions;

	if (fits)
		row->partitions = topic->partitions;
	done(ctx, fits ? CODE_OK : CODE_CONFLICT, NULL);
}

static void example_topic_create(struct adapter *adapter, const struct topic *topic,
				 adapter_done_fn done, void *ctx)
{
	BROKER_LOCKED;
	if (!broker_find(adapter->broker, topic, NULL))
		broker_make(adapter->broker, topic, NULL);
	example_topic_change(adapter, topic, done, ctx);
}

static void example_group_create(struct adapter *adapter, const struct group *group,
				 const struct topic *topic, adapter_done_fn done, void *ctx)
{
	BROKER_LOCKED;
	bool there = broker_find(adapter->broker, topic, NULL);

	if (there && !broker_find(adapter->broker, topic, group))
		broker_make(adapter->broker, topic, group);
	done(ctx, there ? CODE_OK : CODE_NOT_FOUND, NULL);
}

static void example_group_delete(struct adapter *adapter, const struct group *group,
				 const struct topic *topic, adapter_done_fn done, void *ctx)
{
	BROKER_LOCKED;
	LIST_FOREACH(at, next, &adapter->broker->queues)
	{
		struct broker_queue *queue = BROKER_QUEUE(at);

		if (queue->topic != topic->object.id || (group && queue->group != group->object.id))
			continue;
		end_channel(queue, QUEUE_EVENT_GONE);
		broker_drop(queue, 0);
		list_unlink(at);
		free(queue);
	}
	done(ctx, CODE_OK, NULL);
}

static void example_topic_delete(struct adapter *adapter, const struct topic *topic,
				 adapter_done_fn done, void *ctx)
{
	example_group_delete(adapter, NULL, topic, done, ctx);
}

static void example_topic_describe(struct adapter *adapter, const struct topic *topic,
				   adapter_answer_fn done, void *ctx)
{
	BROKER_LOCKED;
	queue_answers_describe(broker_find(adapter->broker, topic, NULL) ? topic : NULL,
			       ANSWER_NONE, done, ctx);
}

static void example_topic_purge(struct adapter *adapter, const struct topic *topic, bool preview,
				adapter_answer_fn done, void *ctx)
{
	BROKER_LOCKED;
	struct answer_purge answer = {.bytes = ANSWER_NONE};

	LIST_FOREACH(at, next, &adapter->broker->queues)
	{
		if (BROKER_QUEUE(at)->topic == topic->object.id)
			answer.messages += broker_purge(BROKER_QUEUE(at), preview);
	}
	done(ctx, CODE_OK, &(struct adapter_answer){ANSWER_PURGE, {.purge = answer}}, NULL);
}

static void example_group_reset(struct adapter *adapter, const struct group *group,
				const struct topic *topic, const struct seek_target *to,
				bool preview, adapter_answer_fn done, void *ctx)
{
	BROKER_LOCKED;
	struct broker_queue *queue = broker_find(adapter->broker, topic, group);

	if (!queue)
		done(ctx, CODE_NOT_FOUND, NULL, NULL);
	else if (!queue_answers_refuse_reset(to, done, ctx))
		queue_answers_reset(broker_purge(queue, preview), 0, done, ctx);
}

static void example_group_backlog(struct adapter *adapter, const struct group *group,
				  const struct topic *topic, adapter_answer_fn done, void *ctx)
{
	BROKER_LOCKED;
	struct broker_queue *queue = broker_find(adapter->broker, topic, group);
	struct queue_counts counts = broker_count(queue);

	queue_answers_backlog(queue ? &counts : NULL, done, ctx);
}

// ---- sending and consuming

// The handle is the model of the topic.
static struct adapter_topic *example_topic_open(struct adapter *adapter, const struct topic *topic)
{
	BROKER_LOCKED;
	return broker_find(adapter->broker, topic, NULL) ? model_ref(topic) : NULL;
}

static void example_topic_close(struct adapter_topic *handle)
{
	model_unref(handle);
}

static void example_submit(struct adapter *adapter, struct submit *submit)
{
	BROKER_LOCKED;
	submit->run_count = 0;
	for (uint32_t i = 0; i < submit->count; ++i) {
		const struct submit_record *record = &submit->records[i];
		enum code code = broker_send(adapter->broker, (const void *)submit->topic,
					     submit->buf, record);

		submit_add_run(submit, &(struct submit_run){.count = 1,
							    .partition = record->partition,
							    .offset = UINT64_MAX,
							    .code = (uint16_t)code,
							    .outcome = code ? OUTCOME_REJECTED
									    : OUTCOME_OK});
	}
	submit->done(submit);
}

static int example_source_open(struct adapter *adapter, const struct source_config *config,
			       struct source **ret)
{
	return queue_source_open(adapter, &queue_ops, config, ret);
}

const struct adapter_ops queue_example_ops = {.kind = "queue_example",
					      .lacks = CAP_POSITIONS,
					      .open = example_open,
					      .close = example_close,
					      .probe = example_probe,
					      .capabilities = example_capabilities,
					      .topic_create = example_topic_create,
					      .topic_change = example_topic_change,
					      .topic_delete = example_topic_delete,
					      .topic_describe = example_topic_describe,
					      .topic_purge = example_topic_purge,
					      .group_create = example_group_create,
					      .group_delete = example_group_delete,
					      .group_reset = example_group_reset,
					      .group_backlog = example_group_backlog,
					      .topic_open = example_topic_open,
					      .topic_close = example_topic_close,
					      .submit = example_submit,
					      .source_open = example_source_open,
					      .source_demand = queue_source_demand,
					      .source_settle = queue_source_settle,
					      .source_backlog = queue_source_backlog,
					      .source_close = queue_source_close};
