// Partitions are arrays of records behind one lock; a group keeps a state for each offset. Simple
// and slow on purpose: what is looked at is the proxy.

#include "tests/e2e/memory_adapter.h"

#include "core/base/clock.h"
#include "core/base/util.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

enum { PARTITIONS_MAX = 16, SLOW_MS = 300, AGAIN_MS = 200, LOSS_MS = 200 };

struct stored {
	struct buf *buf;
	int64_t stored_ms;
};

struct partition {
	struct stored *records;
	size_t count, room;
};

struct adapter_topic {
	struct adapter *adapter;
	uint64_t id;
	char *physical;
	uint32_t partitions, batches;
	struct partition partition[PARTITIONS_MAX];
	struct adapter_topic *next;
};

enum place { READY, OUT, DUE, REJECTED, ACKED };

struct position {
	enum place place;
	uint32_t attempt; // of the next delivery, or of the one that is out
	uint64_t due_ns;
};

struct group_state {
	uint64_t id, epoch;
	struct position *positions[PARTITIONS_MAX];
	size_t count[PARTITIONS_MAX];
	struct group_state *next;
};

struct source {
	struct adapter *adapter;
	struct adapter_topic *topic;
	struct group_state *group;
	struct source_config config;
	struct loop_task look;
	struct loop_timer timer, loss;
	bool look_due; // under the lock
	bool loses;    // once, LOSS_MS after the first delivery
	bool closing;
	void (*closed)(void *ctx);
	void *closed_ctx;
	uint64_t demand, demand_rejected;
	uint32_t turn;
	struct source *next;
};

struct adapter {
	pthread_mutex_t lock;
	struct adapter_topic *topics;
	struct group_state *groups;
	struct source *sources;
	uint32_t slow; // threads that complete submits
	pthread_cond_t slow_end;
};

// ---- life

static int memory_open(const struct cluster *cluster, const struct adapter_env *env,
		       struct adapter **ret, char **ret_error)
{
	struct adapter *adapter = calloc(1, sizeof *adapter);

	if (!adapter)
		return -ENOMEM;
	pthread_mutex_init(&adapter->lock, NULL);
	pthread_cond_init(&adapter->slow_end, NULL);
	*ret = adapter;
	return 0;
}

static void topic_free(struct adapter_topic *topic)
{
	for (unsigned p = 0; p < PARTITIONS_MAX; ++p) {
		for (size_t i = 0; i < topic->partition[p].count; ++i)
			buf_unref(topic->partition[p].records[i].buf);
		free(topic->partition[p].records);
	}
	free(topic->physical);
	free(topic);
}

static void memory_close(struct adapter *adapter, void (*done)(void *ctx), void *ctx)
{
	// A thread may have completed its submit and still be on its way out of the call.
	pthread_mutex_lock(&adapter->lock);
	while (adapter->slow)
		pthread_cond_wait(&adapter->slow_end, &adapter->lock);
	pthread_mutex_unlock(&adapter->lock);
	while (adapter->topics) {
		struct adapter_topic *topic = adapter->topics;

		adapter->topics = topic->next;
		topic_free(topic);
	}
	while (adapter->groups) {
		struct group_state *group = adapter->groups;

		adapter->groups = group->next;
		for (unsigned p = 0; p < PARTITIONS_MAX; ++p)
			free(group->positions[p]);
		free(group);
	}
	pthread_mutex_destroy(&adapter->lock);
	pthread_cond_destroy(&adapter->slow_end);
	free(adapter);
	done(ctx);
}

static void memory_probe(struct adapter *adapter, uint64_t deadline_ns, adapter_answer_fn done,
			 void *ctx)
{
	struct adapter_answer answer = {.kind = ANSWER_PROBE,
					.probe = {.reachable = true, .version = "memory"}};

	done(ctx, CODE_OK, &answer, NULL);
}

static uint32_t memory_capabilities(struct adapter *adapter)
{
	return CAP_HISTORY | CAP_OFFSETS | CAP_EXACT_BACKLOG | CAP_CONSUME | CAP_D1;
}

static void topic_nothing(struct adapter *adapter, const struct topic *topic, adapter_done_fn done,
			  void *ctx)
{
	done(ctx, CODE_OK, NULL);
}

static void group_nothing(struct adapter *adapter, const struct group *group,
			  const struct topic *topic, adapter_done_fn done, void *ctx)
{
	done(ctx, CODE_OK, NULL);
}

static struct adapter_topic *topic_find(struct adapter *adapter, const struct topic *model)
{
	struct adapter_topic *topic = adapter->topics;

	while (topic && topic->id != model->object.id)
		topic = topic->next;
	if (topic) {
		topic->partitions = model->partitions;
		return topic;
	}
	topic = calloc(1, sizeof *topic);
	topic->adapter = adapter;
	topic->id = model->object.id;
	topic->partitions = model->partitions;
	topic->physical = strdup(model->physical ? model->physical : "");
	topic->next = adapter->topics;
	adapter->topics = topic;
	return topic;
}

static struct adapter_topic *memory_topic_open(struct adapter *adapter, const struct topic *model)
{
	struct adapter_topic *topic;

	pthread_mutex_lock(&adapter->lock);
	topic = topic_find(adapter, model);
	pthread_mutex_unlock(&adapter->lock);
	return topic;
}

static void memory_topic_close(struct adapter_topic *topic)
{
}

static void memory_describe(struct adapter *adapter, const struct topic *model,
			    adapter_answer_fn done, void *ctx)
{
	struct described_partition rows[PARTITIONS_MAX] = {0};
	struct adapter_answer answer = {.kind = ANSWER_DESCRIBE,
					.describe = {rows, model->partitions}};

	pthread_mutex_lock(&adapter->lock);
	for (uint32_t p = 0; p < model->partitions; ++p)
		rows[p] = (struct described_partition){
			.partition = p,
			.end = topic_find(adapter, model)->partition[p].count,
			.messages = ANSWER_NONE,
			.bytes = ANSWER_NONE,
			.oldest_ms = ANSWER_NONE};
	pthread_mutex_unlock(&adapter->lock);
	done(ctx, CODE_OK, &answer, NULL);
}

static void memory_read(struct adapter *adapter, const struct topic *topic,
			const struct message_query *query, adapter_answer_fn done, void *ctx)
{
	done(ctx, CODE_UNSUPPORTED_BY_BACKEND, NULL, NULL);
}

static void memory_purge(struct adapter *adapter, const struct topic *topic, bool preview,
			 adapter_answer_fn done, void *ctx)
{
	done(ctx, CODE_UNSUPPORTED_BY_BACKEND, NULL, NULL);
}

// ---- submit

static void look_at_all(struct adapter *adapter)
{
	for (struct source *source = adapter->sources; source; source = source->next) {
		if (source->look_due)
			continue;
		source->look_due = true;
		loop_post(source->config.loop, &source->look);
	}
}

static uint64_t store(struct partition *partition, const struct submit_record *record)
{
	struct stored *stored;

	if (partition->count == partition->room) {
		partition->room = MAX(2 * partition->room, 64);
		partition->records =
			realloc(partition->records, partition->room * sizeof *partition->records);
	}
	stored = &partition->records[partition->count];
	buf_new(record->size, &stored->buf);
	memcpy(stored->buf->data, record->data, record->size);
	stored->stored_ms = clock_wall_ms();
	return partition->count++;
}

static void add_run(struct submit *submit, struct submit_run run)
{
	assert(submit->runs);
	struct submit_run *last = submit->run_count ? &submit->runs[submit->run_count - 1] : NULL;

	if (last && last->outcome == run.outcome && last->partition == run.partition &&
	    (run.offset == UINT64_MAX || last->offset + last->count == run.offset))
		++last->count;
	else
		submit->runs[submit->run_count++] = run;
}

static bool begins(const char *name, const char *with)
{
	return strncmp(name, with, strlen(with)) == 0;
}

// How record `i` of a batch ends, as far as its topic's name says.
static struct submit_run run_of(const struct adapter_topic *topic, uint32_t i)
{
	const char *name = topic->physical;
	bool early = topic->batches < 3;
	struct submit_run run = {.count = 1, .offset = UINT64_MAX};

	if (begins(name, "full") || (begins(name, "heal") && early) ||
	    (begins(name, "half") && i % 2))
		run.outcome = OUTCOME_REJECTED, run.code = CODE_BACKEND_FULL;
	else if (begins(name, "noroute") && early)
		run.outcome = OUTCOME_REJECTED, run.code = CODE_NO_ROUTE;
	else if (begins(name, "unknown") || (begins(name, "clear") && early))
		run.outcome = OUTCOME_UNKNOWN, run.code = CODE_TIMEOUT;
	else
		run.durability = DURABILITY_D1;
	return run;
}

static void complete(struct adapter *adapter, struct submit *submit)
{
	pthread_mutex_lock(&adapter->lock);
	++submit->topic->batches;
	for (uint32_t i = 0; i < submit->count; ++i) {
		struct submit_run run = run_of(submit->topic, i);

		run.partition = submit->records[i].partition;
		if (run.outcome == OUTCOME_OK)
			run.offset = store(&submit->topic->partition[run.partition],
					   &submit->records[i]);
		add_run(submit, run);
	}
	look_at_all(adapter);
	pthread_mutex_unlock(&adapter->lock);
	submit->done(submit);
}

struct slow {
	struct adapter *adapter;
	struct submit *submit;
};

static void *complete_later(void *arg)
{
	struct slow slow = *(struct slow *)arg;

	free(arg);
	nanosleep(&(struct timespec){0, SLOW_MS * 1000000}, NULL);
	complete(slow.adapter, slow.submit);
	pthread_mutex_lock(&slow.adapter->lock);
	if (--slow.adapter->slow == 0)
		pthread_cond_signal(&slow.adapter->slow_end);
	pthread_mutex_unlock(&slow.adapter->lock);
	return NULL;
}

static void memory_submit(struct adapter *adapter, struct submit *submit)
{
	struct slow *slow;
	pthread_t thread;

	if (strncmp(submit->topic->physical, "slow", 4) != 0) {
		complete(adapter, submit);
		return;
	}
	slow = malloc(sizeof *slow);
	*slow = (struct slow){adapter, submit};
	pthread_mutex_lock(&adapter->lock);
	++adapter->slow;
	pthread_mutex_unlock(&adapter->lock);
	pthread_create(&thread, NULL, complete_later, slow);
	pthread_detach(thread);
}

// ---- sources

static void group_grow(struct group_state *group, uint32_t p, size_t count)
{
	if (count <= group->count[p])
		return;
	group->positions[p] = realloc(group->positions[p], count * sizeof *group->positions[p]);
	for (size_t i = group->count[p]; i < count; ++i)
		group->positions[p][i] = (struct position){.place = READY, .attempt = 1};
	group->count[p] = count;
}

// What is due again comes first. False: nothing can be delivered now.
static bool pick(struct source *source, enum place place, uint64_t now_ns, uint64_t *ret_due_ns,
		 struct delivery *ret)
{
	for (uint32_t step = 0; step < source->topic->partitions; ++step) {
		uint32_t p = (source->turn + step) % source->topic->partitions;
		struct partition *partition = &source->topic->partition[p];

		group_grow(source->group, p, partition->count);
		for (size_t i = 0; i < partition->count; ++i) {
			struct position *position = &source->group->positions[p][i];

			if (position->place != place && !(place == DUE && position->place == OUT &&
							  begins(source->topic->physical, "again")))
				continue;
			if (place == DUE && position->due_ns > now_ns) {
				*ret_due_ns = MIN(*ret_due_ns, position->due_ns);
				continue;
			}
			position->place = OUT;
			position->due_ns = now_ns + AGAIN_MS * MS_NS;
			source->turn = p;
			*ret = (struct delivery){.offset = i,
						 .epoch = source->group->epoch,
						 .stored_ms = partition->records[i].stored_ms,
						 .record = partition->records[i].buf->data,
						 .size = partition->records[i].buf->size,
						 .partition = p,
						 .attempt = position->attempt,
						 .rejected = place == REJECTED,
						 .buf = partition->records[i].buf};
			return true;
		}
	}
	return false;
}

static void source_look(struct source *source)
{
	struct delivery batch[64];
	uint64_t now_ns = loop_now_ns(source->config.loop), due_ns = UINT64_MAX;
	size_t count = 0;

	pthread_mutex_lock(&source->adapter->lock);
	source->look_due = false;
	for (; count < MIN(source->demand_rejected, ARRAY_SIZE(batch)) &&
	       pick(source, REJECTED, now_ns, &due_ns, &batch[count]);
	     ++count)
		--source->demand_rejected;
	for (; source->demand && count < ARRAY_SIZE(batch) &&
	       (pick(source, DUE, now_ns, &due_ns, &batch[count]) ||
		pick(source, READY, now_ns, &due_ns, &batch[count]));
	     ++count)
		--source->demand;
	if (count == ARRAY_SIZE(batch) && !source->look_due) {
		source->look_due = true;
		loop_post(source->config.loop, &source->look);
	}
	pthread_mutex_unlock(&source->adapter->lock);
	if (due_ns != UINT64_MAX)
		loop_timer_set(&source->timer, due_ns);
	if (count)
		source->config.handlers->deliver(source->config.ctx, batch, count);
	if (count && source->loses && !source->loss.at_ns)
		loop_timer_set(&source->loss, now_ns + LOSS_MS * MS_NS);
}

static void source_free(struct source *source)
{
	struct source **link = &source->adapter->sources;
	void (*closed)(void *ctx) = source->closed;
	void *ctx = source->closed_ctx;

	pthread_mutex_lock(&source->adapter->lock);
	while (*link != source)
		link = &(*link)->next;
	*link = source->next;
	pthread_mutex_unlock(&source->adapter->lock);
	free(source);
	closed(ctx);
}

static void on_look(struct loop_task *task)
{
	struct source *source = CONTAINER_OF(task, struct source, look);

	if (source->closing)
		source_free(source);
	else
		source_look(source);
}

static void on_timer(struct loop_timer *timer)
{
	source_look(CONTAINER_OF(timer, struct source, timer));
}

static struct group_state *group_find(struct adapter *adapter, uint64_t id)
{
	struct group_state *group = adapter->groups;

	while (group && group->id != id)
		group = group->next;
	if (group)
		return group;
	group = calloc(1, sizeof *group);
	group->id = id;
	group->next = adapter->groups;
	adapter->groups = group;
	return group;
}

static void look_soon(struct source *source)
{
	pthread_mutex_lock(&source->adapter->lock);
	if (!source->look_due) {
		source->look_due = true;
		loop_post(source->config.loop, &source->look);
	}
	pthread_mutex_unlock(&source->adapter->lock);
}

// What is out comes again in another epoch, LOSS_MS later.
static void on_loss(struct loop_timer *timer)
{
	struct source *source = CONTAINER_OF(timer, struct source, loss);

	source->loses = false;
	pthread_mutex_lock(&source->adapter->lock);
	++source->group->epoch;
	for (uint32_t p = 0; p < source->topic->partitions; ++p) {
		for (size_t i = 0; i < source->group->count[p]; ++i) {
			struct position *position = &source->group->positions[p][i];

			if (position->place != OUT)
				continue;
			position->place = DUE;
			position->due_ns = loop_now_ns(source->config.loop) + LOSS_MS * MS_NS;
		}
	}
	pthread_mutex_unlock(&source->adapter->lock);
	source->config.handlers->lost(source->config.ctx);
	look_soon(source);
}

static int memory_source_open(struct adapter *adapter, const struct source_config *config,
			      struct source **ret)
{
	struct source *source = calloc(1, sizeof *source);

	if (!source)
		return -ENOMEM;
	source->adapter = adapter;
	source->topic = config->adapter_topic;
	source->config = *config;
	source->look.fn = on_look;
	loop_timer_init(&source->timer, config->loop, on_timer);
	loop_timer_init(&source->loss, config->loop, on_loss);
	source->loses = begins(source->topic->physical, "lose");
	pthread_mutex_lock(&adapter->lock);
	source->group = group_find(adapter, config->group->object.id);
	++source->group->epoch;
	source->next = adapter->sources;
	adapter->sources = source;
	pthread_mutex_unlock(&adapter->lock);
	*ret = source;
	return 0;
}

static void memory_demand(struct source *source, uint32_t messages, uint64_t bytes,
			  uint32_t rejected)
{
	source->demand = bytes ? messages : 0;
	source->demand_rejected = rejected;
	look_soon(source);
}

static void settle_one(struct source *source, const struct settle *settle, uint64_t offset)
{
	struct position *position = &source->group->positions[settle->partition][offset];

	assert(position->place == OUT && position->attempt == settle->attempt);
	switch (settle->verb) {
	case SETTLE_ACK:
	case SETTLE_DEAD: position->place = ACKED; return;
	case SETTLE_NACK:
	case SETTLE_REJECT: ++position->attempt; break;
	default: break;
	}
	position->place = settle->verb == SETTLE_REJECT ? REJECTED : DUE;
	position->due_ns = loop_now_ns(source->config.loop) +
			   (settle->verb == SETTLE_NACK ? settle->delay_ms * MS_NS : 0);
}

static void memory_settle(struct source *source, struct settle *settles, size_t count,
			  void (*done)(void *ctx, enum code code), void *ctx)
{
	for (size_t i = 0; i < count; ++i) {
		for (uint32_t k = 0; k < settles[i].count; ++k)
			settle_one(source, &settles[i], settles[i].offset + k);
		settles[i].settled = settles[i].count;
		settles[i].code = CODE_OK;
	}
	look_soon(source);
	if (done)
		done(ctx, CODE_OK);
}

static size_t memory_backlog(struct source *source, struct source_partition *rows, size_t room)
{
	uint64_t now_ns = loop_now_ns(source->config.loop);

	pthread_mutex_lock(&source->adapter->lock);
	for (uint32_t p = 0; p < MIN(room, source->topic->partitions); ++p) {
		size_t count = source->topic->partition[p].count;

		rows[p] = (struct source_partition){
			.partition = p, .has_log = true, .log.end = count};
		group_grow(source->group, p, count);
		for (size_t i = count; i-- > 0;) {
			const struct position *position = &source->group->positions[p][i];

			if (position->place != ACKED)
				rows[p].log.committed = i;
			else if (i + 1 == count)
				rows[p].log.committed = count;
			rows[p].in_flight += position->place == OUT;
			rows[p].ready += position->place == READY ||
					 (position->place == DUE && position->due_ns <= now_ns);
			rows[p].retrying += position->place == REJECTED ||
					    (position->place == DUE && position->due_ns > now_ns);
		}
	}
	pthread_mutex_unlock(&source->adapter->lock);
	return source->topic->partitions;
}

static void memory_source_close(struct source *source, void (*done)(void *ctx), void *ctx)
{
	loop_timer_cancel(&source->timer);
	loop_timer_cancel(&source->loss);
	source->closing = true;
	source->closed = done;
	source->closed_ctx = ctx;
	pthread_mutex_lock(&source->adapter->lock);
	for (uint32_t p = 0; p < PARTITIONS_MAX; ++p) {
		for (size_t i = 0; i < source->group->count[p]; ++i) {
			struct position *position = &source->group->positions[p][i];

			if (position->place != OUT && position->place != REJECTED)
				continue;
			position->attempt += position->place == OUT;
			position->place = DUE;
			position->due_ns = 0;
		}
	}
	if (!source->look_due) {
		source->look_due = true;
		loop_post(source->config.loop, &source->look);
	}
	pthread_mutex_unlock(&source->adapter->lock);
}

// ---- groups

static void memory_group_backlog(struct adapter *adapter, const struct group *model,
				 const struct topic *topic, adapter_answer_fn done, void *ctx)
{
	struct source_partition rows[PARTITIONS_MAX] = {0};
	struct adapter_answer answer = {.kind = ANSWER_BACKLOG,
					.backlog = {rows, topic->partitions}};

	pthread_mutex_lock(&adapter->lock);
	for (uint32_t p = 0; p < topic->partitions; ++p) {
		struct group_state *group = group_find(adapter, model->object.id);

		group_grow(group, p, topic_find(adapter, topic)->partition[p].count);
		for (size_t i = 0; i < group->count[p]; ++i)
			rows[p].ready += group->positions[p][i].place != ACKED;
		rows[p].partition = p;
		rows[p].has_log = true;
	}
	pthread_mutex_unlock(&adapter->lock);
	done(ctx, CODE_OK, &answer, NULL);
}

// Only to the earliest and the latest.
static void memory_reset(struct adapter *adapter, const struct group *model,
			 const struct topic *topic, const struct seek_target *to, bool preview,
			 adapter_answer_fn done, void *ctx)
{
	bool latest = to->place == SEEK_LATEST;
	struct moved_partition rows[PARTITIONS_MAX] = {0};
	struct adapter_answer answer = {.kind = ANSWER_RESET, .reset = {rows, topic->partitions}};

	pthread_mutex_lock(&adapter->lock);
	for (uint32_t p = 0; p < topic->partitions; ++p) {
		struct group_state *group = group_find(adapter, model->object.id);

		group_grow(group, p, topic_find(adapter, topic)->partition[p].count);
		for (size_t i = 0; i < group->count[p]; ++i) {
			struct position *position = &group->positions[p][i];

			assert(preview || position->place != OUT);
			rows[p].skipped += latest && position->place != ACKED;
			rows[p].replayed += !latest && position->place == ACKED;
			if (!preview)
				*position = (struct position){latest ? ACKED : READY, 1, 0};
		}
		rows[p].partition = p;
	}
	pthread_mutex_unlock(&adapter->lock);
	done(ctx, CODE_OK, &answer, NULL);
}

static const struct adapter_ops memory_ops = {.kind = "memory",
					      .open = memory_open,
					      .close = memory_close,
					      .probe = memory_probe,
					      .capabilities = memory_capabilities,
					      .topic_create = topic_nothing,
					      .topic_change = topic_nothing,
					      .topic_delete = topic_nothing,
					      .topic_describe = memory_describe,
					      .topic_purge = memory_purge,
					      .group_create = group_nothing,
					      .group_delete = group_nothing,
					      .group_reset = memory_reset,
					      .group_backlog = memory_group_backlog,
					      .read = memory_read,
					      .topic_open = memory_topic_open,
					      .topic_close = memory_topic_close,
					      .submit = memory_submit,
					      .source_open = memory_source_open,
					      .source_demand = memory_demand,
					      .source_settle = memory_settle,
					      .source_backlog = memory_backlog,
					      .source_close = memory_source_close};

const struct adapter_ops *memory_adapter_find(const char *kind)
{
	return strcmp(kind, memory_ops.kind) == 0 ? &memory_ops : NULL;
}
