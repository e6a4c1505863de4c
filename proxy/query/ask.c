// Questions about counters and clients go from worker to worker, so that each adds its part alone;
// questions about a topic, group or cluster go to its adapter; those that need a group's source
// closed go through its home first. Whatever happens, the first worker answers exactly once, at the
// deadline at the latest.

#include "proxy/query/ask.h"

#include "proxy/group/group.h"

#include <errno.h>
#include <stdio.h>

static void on_end(struct loop_task *task);

// ---- the life of a question

static void ask_free(struct ask *ask)
{
	loop_timer_cancel(&ask->timer);
	list_unlink(&ask->pending);
	json_decref(ask->parameters);
	json_decref(ask->index);
	json_decref(ask->answer);
	free(ask);
}

static void give_answer(struct ask *ask, enum code code, const char *text)
{
	json_t *answer = NULL;

	if (ask->answered)
		return;
	ask->answered = true;
	if (code != CODE_TIMEOUT) { // else somebody still works on it
		answer = ask->answer;
		ask->answer = NULL;
	}
	ask->done(ask->done_ctx, code, answer, text);
}

void ask_finish(struct ask *ask, enum code code, const char *text)
{
	ask->code = code;
	if (text != ask->text)
		snprintf(ask->text, sizeof ask->text, "%s", text ? text : "");
	ask->backend = backend_unref(ask->backend);
	if (code == CODE_OK && !ask->answer)
		ask->answer = json_object();
	ask->task.fn = on_end;
	loop_post(ask->proxy->workers[0]->loop, &ask->task);
}

static void on_end(struct loop_task *task)
{
	struct ask *ask = CONTAINER_OF(task, struct ask, task);

	give_answer(ask, ask->code, ask->text[0] ? ask->text : NULL);
	ask_free(ask);
}

static void on_deadline(struct loop_timer *timer)
{
	give_answer(CONTAINER_OF(timer, struct ask, timer), CODE_TIMEOUT, NULL);
}

void asks_deinit(struct worker *worker)
{
	while (!list_empty(&worker->asks)) {
		struct ask *ask = LIST_ENTRY(worker->asks.next, struct ask, pending);

		give_answer(ask, CODE_SHUTTING_DOWN, NULL);
		ask_free(ask);
	}
}

// ---- parameters

bool ask_number(const struct ask *ask, const char *name, uint64_t *ret)
{
	const json_t *value = json_object_get(ask->parameters, name);

	if (!json_is_integer(value))
		return false;
	*ret = (uint64_t)json_integer_value(value);
	return true;
}

static uint64_t number_of(const struct ask *ask, const char *name)
{
	uint64_t value = 0;

	ask_number(ask, name, &value);
	return value; // ids start at 1
}

static bool preview(const struct ask *ask)
{
	return json_is_true(json_object_get(ask->parameters, "preview"));
}

// ---- the adapter's answers

static void on_json(void *ctx, enum code code, json_t *answer, const char *text)
{
	struct ask *ask = ctx;

	ask->answer = answer;
	ask_finish(ask, code, text);
}

static void on_done(void *ctx, enum code code, const char *text)
{
	ask_finish(ctx, code, text);
}

static bool reach(struct ask *ask, uint64_t cluster)
{
	ask->backend = backend_get(&ask->proxy->backends, cluster);
	return ask->backend != NULL;
}

// ---- clusters

static json_t *state_json(const struct adapter_state *state)
{
	static const char *const healths[] = {[ADAPTER_CONNECTING] = "connecting",
					      [ADAPTER_READY] = "ready",
					      [ADAPTER_DEGRADED] = "degraded",
					      [ADAPTER_DOWN] = "down"};
	static const char *const circuits[] = {[CIRCUIT_CLOSED] = "closed",
					       [CIRCUIT_HALF_OPEN] = "half_open",
					       [CIRCUIT_OPEN] = "open"};

	json_t *error = *state->error ? json_string(state->error) : json_null();

	return json_pack("{s:s, s:s, s:o, s:o}", "state", healths[state->health], "circuit",
			 circuits[state->circuit], "latency_us",
			 state->latency_us ? json_integer((json_int_t)state->latency_us)
					   : json_null(),
			 "error", error ? error : json_string("an error that is no text"));
}

static void add_state(void *ctx, uint64_t cluster, const struct adapter_state *state)
{
	struct ask *ask = ctx;
	json_t *row = state_json(state);

	json_object_set_new(row, "id", json_integer((json_int_t)cluster));
	if (state->has_store)
		json_object_set_new(row, "store",
				    json_pack("{s:I, s:I}", "used_bytes",
					      (json_int_t)state->used_bytes, "left_bytes",
					      (json_int_t)state->left_bytes));
	probes_tell(&ask->proxy->probes, cluster, row);
	json_array_append_new(json_object_get(ask->answer, "clusters"), row);
}

// On the first worker, where the probes are.
static void ask_states(struct ask *ask)
{
	ask->answer = json_pack("{s:[]}", "clusters");
	backends_each_state(&ask->proxy->backends, add_state, ask);
	ask_finish(ask, CODE_OK, NULL);
}

static void ask_damage(struct ask *ask)
{
	if (ask->backend->ops->damage)
		ask->backend->ops->damage(ask->backend->adapter, on_json, ask);
	else
		ask_finish(ask, CODE_UNSUPPORTED_BY_BACKEND, "a cluster of this kind has no store");
}

static void ask_cluster(struct ask *ask)
{
	uint64_t id = number_of(ask, "cluster");
	const struct cluster *cluster = catalog_cluster(ask->proxy->catalog, id);
	struct adapter_state state = {.health = ADAPTER_DOWN, .circuit = CIRCUIT_OPEN};
	char text[sizeof ask->text];
	bool known = cluster != NULL;
	uint32_t capabilities;

	model_unref(cluster);
	if (!known) {
		ask_finish(ask, CODE_NOT_FOUND, "no such cluster");
		return;
	}
	if (ask->kind == ASK_CLUSTER_STATE) {
		backends_state(&ask->proxy->backends, id, &state, &capabilities);
		ask->answer = state_json(&state);
		ask_finish(ask, CODE_OK, NULL);
	} else if (!reach(ask, id)) {
		backends_state(&ask->proxy->backends, id, &state, &capabilities);
		snprintf(text, sizeof text, "the cluster is not open: %.*s", (int)sizeof text - 40,
			 state.error);
		ask_finish(ask, CODE_BACKEND_DOWN, text);
	} else if (ask->kind == ASK_PROBE) {
		ask->backend->ops->probe(ask->backend->adapter, ask->deadline_ns, on_json, ask);
	} else if (ask->kind == ASK_DAMAGE) {
		ask_damage(ask);
	} else if (ask->backend->ops->existing) {
		ask->backend->ops->existing(ask->backend->adapter, ask->deadline_ns, on_json, ask);
	} else {
		ask_finish(ask, CODE_UNSUPPORTED_BY_BACKEND,
			   "nothing can be imported from a cluster of this kind");
	}
}

// ---- topics

// The topic with so many partitions; NULL: no memory.
static const struct topic *grown(const struct topic *topic, uint32_t partitions)
{
	// Not the whole struct: its count of references changes meanwhile.
	struct topic draft = {.object.id = topic->object.id,
			      .name = topic->name,
			      .physical = topic->physical,
			      .tenant = topic->tenant,
			      .cluster = topic->cluster,
			      .incarnation = topic->incarnation,
			      .partitions = partitions,
			      .message_bytes = topic->message_bytes,
			      .retention_ms = topic->retention_ms,
			      .retention_bytes = topic->retention_bytes,
			      .durability = topic->durability,
			      .state = topic->state,
			      .native = topic->native,
			      .dead_letter_of = topic->dead_letter_of,
			      .imported = topic->imported,
			      .replication = topic->replication,
			      .min_insync = topic->min_insync};

	return model_new(MODEL_TOPIC, &draft);
}

static void ask_topic_change(struct ask *ask, const struct topic *topic)
{
	uint32_t partitions = (uint32_t)number_of(ask, "partitions");
	const struct topic *wanted;

	if (topic->object.revision < number_of(ask, "revision")) {
		ask_finish(ask, CODE_NOT_READY, "the change has not arrived yet");
		return;
	}
	wanted = partitions > topic->partitions ? grown(topic, partitions) : model_ref(topic);
	if (wanted)
		ask->backend->ops->topic_change(ask->backend->adapter, wanted, on_done, ask);
	else
		ask_finish(ask, CODE_OVERLOADED, NULL);
	model_unref(wanted);
}

static void ask_skip(struct ask *ask, const struct topic *topic)
{
	const struct adapter_ops *ops = ask->backend->ops;

	if (ops->topic_skip)
		ops->topic_skip(ask->backend->adapter, topic, preview(ask), on_json, ask);
	else
		ask_finish(ask, CODE_UNSUPPORTED_BY_BACKEND, "a cluster of this kind has no store");
}

static void ask_topic(struct ask *ask)
{
	const struct topic *topic = catalog_topic(ask->proxy->catalog, number_of(ask, "topic"));
	const struct adapter_ops *ops;
	struct adapter *adapter;

	if (!topic) {
		ask_finish(ask, CODE_NOT_FOUND, "no such topic");
		return;
	}
	if (!reach(ask, topic->cluster)) {
		ask_finish(ask, CODE_BACKEND_DOWN, "the topic's cluster is not open");
		model_unref(topic);
		return;
	}
	ops = ask->backend->ops;
	adapter = ask->backend->adapter;
	switch (ask->kind) {
	case ASK_TOPIC_CREATE: ops->topic_create(adapter, topic, on_done, ask); break;
	case ASK_TOPIC_CHANGE: ask_topic_change(ask, topic); break;
	case ASK_TOPIC_DELETE: ops->topic_delete(adapter, topic, on_done, ask); break;
	case ASK_TOPIC_DESCRIBE: ops->topic_describe(adapter, topic, on_json, ask); break;
	case ASK_TOPIC_SETTINGS:
		if (ops->topic_settings)
			ops->topic_settings(adapter, topic, on_json, ask);
		else
			ask_finish(ask, CODE_UNSUPPORTED_BY_BACKEND,
				   "topics of this kind have no settings of their own");
		break;
	case ASK_TOPIC_PURGE: ops->topic_purge(adapter, topic, preview(ask), on_json, ask); break;
	case ASK_TOPIC_SKIP: ask_skip(ask, topic); break;
	default: ops->read(adapter, topic, ask->parameters, on_json, ask);
	}
	model_unref(topic);
}

// ---- groups

// What is asked about a group, with what it needs. NULL topic or backend: answered already.
struct group_question {
	struct group_hold hold;
	struct ask *ask;
	struct group_home *home; // NULL: the source does not have to be closed
	const struct group *group;
	const struct topic *topic;
	uint64_t dead;
};

static void question_free(struct group_question *question)
{
	model_unref(question->group);
	model_unref(question->topic);
	free(question);
}

// Back at home after the adapter has done its part.
static void on_release(struct loop_task *task)
{
	struct ask *ask = CONTAINER_OF(task, struct ask, task);
	struct group_question *question = ask->work;

	group_release(question->home);
	question_free(question);
	ask_finish(ask, ask->code, ask->text);
}

static void on_group_done(void *ctx, enum code code, const char *text)
{
	struct group_question *question = ctx;
	struct ask *ask = question->ask;

	ask->code = code;
	snprintf(ask->text, sizeof ask->text, "%s", text ? text : "");
	if (question->home) {
		ask->task.fn = on_release;
		loop_post(question->home->worker->loop, &ask->task);
		return;
	}
	question_free(question);
	ask_finish(ask, code, text);
}

// {partitions:[{skipped}]} to {messages}
static json_t *purged(json_t *reset)
{
	json_int_t messages = 0;
	size_t index;
	json_t *row;

	json_array_foreach(json_object_get(reset, "partitions"), index, row) messages +=
		json_integer_value(json_object_get(row, "skipped"));
	json_decref(reset);
	return json_pack("{s:I}", "messages", messages);
}

static void on_group_json(void *ctx, enum code code, json_t *answer, const char *text)
{
	struct group_question *question = ctx;

	if (answer && question->ask->kind == ASK_GROUP_PURGE)
		answer = purged(answer);
	question->ask->answer = answer;
	on_group_done(question, code, text);
}

// {earliest:true}, {latest:true}, … ; a purge is a reset to the latest.
static void reset_group(struct group_question *question)
{
	struct ask *ask = question->ask;
	const json_t *to = json_object_get(ask->parameters, "to");
	json_t *latest = json_pack("{s:b}", "latest", 1);

	ask->backend->ops->group_reset(ask->backend->adapter, question->group, question->topic,
				       ask->kind == ASK_GROUP_PURGE ? latest : to, preview(ask),
				       on_group_json, question);
	json_decref(latest);
}

static void on_held(struct group_hold *hold)
{
	struct group_question *question = CONTAINER_OF(hold, struct group_question, hold);
	struct ask *ask = question->ask;

	if (ask->kind == ASK_GROUP_DELETE)
		ask->backend->ops->group_delete(ask->backend->adapter, question->group,
						question->topic, on_group_done, question);
	else
		reset_group(question);
}

// As a backend tells it of a group that is closed (adapters/log/standing.c).
static json_t *partition_json(const struct source_partition *row)
{
	json_t *json =
		json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b}", "partition",
			  (json_int_t)row->partition, "first", (json_int_t)row->first, "end",
			  (json_int_t)row->end, "committed", (json_int_t)row->committed, "ready",
			  (json_int_t)row->ready, "in_flight", (json_int_t)row->in_flight,
			  "retrying", (json_int_t)row->retrying, "delayed",
			  (json_int_t)row->delayed, "window_full", row->window_full);

	json_object_update_new(
		json,
		json_pack("{s:I, s:I, s:I, s:I, s:I}", "acked", (json_int_t)row->acked, "dead",
			  (json_int_t)row->dead, "expired", (json_int_t)row->expired, "skipped",
			  (json_int_t)row->skipped, "replayed", (json_int_t)row->replayed));
	return json;
}

static json_t *backlog_json(struct group_home *home)
{
	json_t *rows = json_array();
	size_t count = group_backlog(home);
	bool holes = false;

	for (size_t i = 0; i < count; ++i) {
		json_array_append_new(rows, partition_json(&home->partitions[i]));
		holes = holes || home->partitions[i].holes;
	}
	return json_pack("{s:o, s:b}", "partitions", rows, "holes", holes);
}

// Why some positions may hold no message, though they are counted; NULL: none does. A topic that
// others write to may have markers of their transactions, what was aborted, what compaction took.
static const char *inexact(const struct group_question *question, const json_t *answer)
{
	uint32_t capabilities = backend_capabilities(question->ask->backend);

	return question->topic->imported                        ? "imported"
	       : question->topic->native                        ? "native"
	       : json_is_true(json_object_get(answer, "holes")) ? "holes"
	       : !(capabilities & CAP_EXACT_BACKLOG)            ? "backend"
								: NULL;
}

static void on_backlog(void *ctx, enum code code, json_t *answer, const char *text)
{
	struct group_question *question = ctx;

	if (answer) {
		const char *why = inexact(question, answer);

		json_object_del(answer, "holes");
		json_object_set_new(answer, "dead", json_integer((json_int_t)question->dead));
		json_object_set_new(answer, "at_most", json_boolean(why != NULL));
		json_object_set_new(answer, "at_most_reason", why ? json_string(why) : json_null());
	}
	on_group_json(question, code, answer, text);
}

static void backlog(struct group_question *question)
{
	struct ask *ask = question->ask;
	struct group_home *home = group_find(ask->worker, question->group->object.id);

	if (home)
		question->dead = dispatch_counters(home->dispatch)->dead;
	if (home && group_backlog(home) > 0)
		on_backlog(question, CODE_OK, backlog_json(home), NULL);
	else
		ask->backend->ops->group_backlog(ask->backend->adapter, question->group,
						 question->topic, on_backlog, question);
}

static void put(struct group_question *question)
{
	struct ask *ask = question->ask;

	if (ask->kind == ASK_BACKLOG) {
		backlog(question);
	} else if (ask->kind == ASK_GROUP_CREATE) {
		ask->backend->ops->group_create(ask->backend->adapter, question->group,
						question->topic, on_group_done, question);
	} else if (preview(ask)) {
		reset_group(question);
	} else {
		question->home = group_get(ask->worker, question->group);
		if (question->home)
			group_hold(question->home, &question->hold);
		else
			on_group_done(question, CODE_OVERLOADED, NULL);
	}
}

static void on_group(struct loop_task *task)
{
	struct ask *ask = CONTAINER_OF(task, struct ask, task);
	struct group_question *question = calloc(1, sizeof *question);

	if (!question) {
		ask_finish(ask, CODE_OVERLOADED, NULL);
		return;
	}
	ask->work = question;
	question->ask = ask;
	question->hold.done = on_held;
	question->group = catalog_group(ask->proxy->catalog, number_of(ask, "group"));
	if (question->group)
		question->topic = catalog_topic(ask->proxy->catalog, question->group->topic);
	if (!question->topic)
		on_group_done(question, CODE_NOT_FOUND, "no such group");
	else if (!reach(ask, question->topic->cluster))
		on_group_done(question, CODE_BACKEND_DOWN, "the group's cluster is not open");
	else if (!(backend_capabilities(ask->backend) & CAP_CONSUME))
		on_group_done(question, CODE_UNSUPPORTED_BY_BACKEND,
			      "nothing can be consumed from this backend");
	else
		put(question);
}

// ---- round the workers

static void on_step(struct loop_task *task)
{
	struct ask *ask = CONTAINER_OF(task, struct ask, task);
	struct proxy *proxy = ask->proxy;
	enum code code = stats_step(ask, ask->worker, ask->step / proxy->worker_count);

	if (code != CODE_OK) {
		ask_finish(ask, code, NULL);
		return;
	}
	if (++ask->step == stats_rounds(ask->kind) * proxy->worker_count) {
		stats_end(ask);
		ask_finish(ask, CODE_OK, NULL);
		return;
	}
	ask->worker = proxy->workers[ask->step % proxy->worker_count];
	loop_post(ask->worker->loop, &ask->task);
}

// ---- the door

static void on_start(struct loop_task *task)
{
	struct ask *ask = CONTAINER_OF(task, struct ask, task);
	struct worker *first = ask->proxy->workers[0];

	list_push_back(&first->asks, &ask->pending);
	loop_timer_init(&ask->timer, first->loop, on_deadline);
	loop_timer_set(&ask->timer, ask->deadline_ns);
	ask->worker = first;
	if (first->ending)
		return; // asks_deinit() answers
	switch (ask->kind) {
	case ASK_TOTALS:
	case ASK_CLIENTS:
	case ASK_KICK: ask->task.fn = on_step; break;
	case ASK_PROBE:
	case ASK_CLUSTER_STATE:
	case ASK_DAMAGE:
	case ASK_CLUSTER_EXISTING: ask_cluster(ask); return;
	case ASK_CLUSTER_STATES: ask_states(ask); return;
	case ASK_TOPIC_CREATE:
	case ASK_TOPIC_CHANGE:
	case ASK_TOPIC_DELETE:
	case ASK_TOPIC_DESCRIBE:
	case ASK_TOPIC_SETTINGS:
	case ASK_TOPIC_PURGE:
	case ASK_TOPIC_SKIP:
	case ASK_MESSAGES: ask_topic(ask); return;
	default:
		ask->worker = proxy_home(ask->proxy, number_of(ask, "group"));
		ask->task.fn = on_group;
	}
	loop_post(ask->worker->loop, &ask->task);
}

static void on_ask(struct ask_door *door, enum ask_kind kind, json_t *parameters,
		   uint64_t deadline_ns, ask_done_fn done, void *done_ctx)
{
	struct proxy *proxy = CONTAINER_OF(door, struct proxy, door);
	struct ask *ask = calloc(1, sizeof *ask);

	if (!ask) {
		json_decref(parameters);
		done(done_ctx, CODE_OVERLOADED, NULL, NULL);
		return;
	}
	*ask = (struct ask){.task.fn = on_start,
			    .proxy = proxy,
			    .kind = kind,
			    .parameters = parameters,
			    .deadline_ns = deadline_ns,
			    .done = done,
			    .done_ctx = done_ctx};
	loop_post(proxy->workers[0]->loop, &ask->task);
}

void ask_init(struct proxy *proxy)
{
	proxy->door.ask = on_ask;
}
