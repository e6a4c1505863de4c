// Carries out queries of the portal in the proxy.
//
// Queries about counters and clients go from worker to worker (gather.c). Queries about a topic,
// group or cluster go to its adapter; those that need a group's source closed go through the
// group's home first.
//
// Invariant: the first worker answers each query exactly once, at the deadline at the latest.

#include "proxy/query/query.h"

#include "core/base/clock.h"
#include "proxy/group/dead_letter_copy.h"
#include "proxy/group/group.h"
#include "proxy/probe/probes.h"
#include "proxy/query/answer_json.h"
#include "proxy/query/gather.h"
#include "proxy/query/parameters.h"
#include "proxy/resource/shared.h"

#include <errno.h>
#include <stdio.h>

static void on_end(struct loop_task *task);

// ---- the life of a query

static void query_free(struct query *query)
{
	loop_timer_cancel(&query->timer);
	list_unlink(&query->pending);
	json_decref(query->parameters);
	json_decref(query->index);
	json_decref(query->answer);
	free(query);
}

static void give_answer(struct query *query, enum code code, const char *text)
{
	json_t *answer = NULL;

	if (query->answered)
		return;
	query->answered = true;
	if (code != CODE_TIMEOUT) { // else a worker still works on it
		answer = query->answer;
		query->answer = NULL;
	}
	query->done(query->done_ctx, code, answer, text);
}

void query_finish(struct query *query, enum code code, const char *text)
{
	query->code = code;
	if (text != query->text)
		snprintf(query->text, sizeof query->text, "%s", text ? text : "");
	query->backend = backend_unref(query->backend);
	if (code == CODE_OK && !query->answer)
		query->answer = json_object();
	query->task.fn = on_end;
	loop_post(query->queries->workers->all[0]->loop, &query->task);
}

static void on_end(struct loop_task *task)
{
	struct query *query = CONTAINER_OF(task, struct query, task);

	give_answer(query, query->code, query->text[0] ? query->text : NULL);
	query_free(query);
}

static void on_deadline(struct loop_timer *timer)
{
	give_answer(CONTAINER_OF(timer, struct query, timer), CODE_TIMEOUT, NULL);
}

void query_deinit(struct queries *queries)
{
	while (!list_empty(&queries->pending)) {
		struct query *query = LIST_ENTRY(queries->pending.next, struct query, pending);

		give_answer(query, CODE_SHUTTING_DOWN, NULL);
		query_free(query);
	}
}

// ---- parameters

bool query_number(const struct query *query, const char *name, uint64_t *ret)
{
	const json_t *value = json_object_get(query->parameters, name);

	if (!json_is_integer(value))
		return false;
	*ret = (uint64_t)json_integer_value(value);
	return true;
}

static uint64_t number_of(const struct query *query, const char *name)
{
	uint64_t value = 0;

	query_number(query, name, &value);
	return value; // ids start at 1
}

static bool is_preview(const struct query *query)
{
	return json_is_true(json_object_get(query->parameters, "preview"));
}

// ---- the adapter's answers

static const uint8_t answer_kinds[QUERY_COUNT] = {
	[QUERY_PROBE] = ANSWER_PROBE,
	[QUERY_CLUSTER_EXISTING] = ANSWER_EXISTING,
	[QUERY_TOPIC_DESCRIBE] = ANSWER_DESCRIBE,
	[QUERY_TOPIC_SETTINGS] = ANSWER_SETTINGS,
	[QUERY_TOPIC_PURGE] = ANSWER_PURGE,
	[QUERY_TOPIC_SKIP] = ANSWER_SKIP,
	[QUERY_DAMAGE] = ANSWER_DAMAGE,
	[QUERY_MESSAGES] = ANSWER_MESSAGES,
	[QUERY_GROUP_RESET] = ANSWER_RESET,
	[QUERY_GROUP_PURGE] = ANSWER_RESET,
	[QUERY_BACKLOG] = ANSWER_BACKLOG,
};

// The JSON of an answer. OVERLOADED in place of OK when there is none.
static enum code take_answer(struct query *query, enum code code,
			     const struct adapter_answer *answer, json_t **ret)
{
	bool bodies = json_is_true(json_object_get(query->parameters, "bodies"));

	assert(!answer || answer->kind == answer_kinds[query->kind]);
	*ret = answer ? answer_json(answer, bodies) : NULL;
	return answer && !*ret ? CODE_OVERLOADED : code;
}

static void on_answer(void *ctx, enum code code, const struct adapter_answer *answer,
		      const char *text)
{
	struct query *query = ctx;

	code = take_answer(query, code, answer, &query->answer);
	query_finish(query, code, text);
}

static void on_done(void *ctx, enum code code, const char *text)
{
	query_finish(ctx, code, text);
}

static bool open_backend(struct query *query, uint64_t cluster)
{
	query->backend = backend_get(&query->queries->shared->backends, cluster);
	return query->backend != NULL;
}

// What each query needs of its cluster; of the parameters that need more, see below.
static const uint32_t needs[QUERY_COUNT] = {
	[QUERY_BACKLOG] = CAP_CONSUME,      [QUERY_GROUP_CREATE] = CAP_CONSUME,
	[QUERY_GROUP_DELETE] = CAP_CONSUME, [QUERY_GROUP_RESET] = CAP_CONSUME,
	[QUERY_GROUP_PURGE] = CAP_CONSUME,  [QUERY_MESSAGES] = CAP_HISTORY,
};

// UNSUPPORTED_BY_BACKEND with the reason, before the adapter is asked; or OK.
static enum code check_capabilities(const struct query *query, const char **ret_text)
{
	uint32_t needed = needs[query->kind];
	const json_t *to = json_object_get(query->parameters, "to");

	if (json_object_get(query->parameters, "time_ms") || json_object_get(to, "time_ms"))
		needed |= CAP_QUERY_TIME;
	if (json_object_get(to, "positions"))
		needed |= CAP_POSITIONS;
	return capability_check(backend_capabilities(query->backend), needed, ret_text);
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
	struct query *query = ctx;
	json_t *row = state_json(state);

	json_object_set_new(row, "id", json_integer((json_int_t)cluster));
	if (state->has_store)
		json_object_set_new(row, "store",
				    json_pack("{s:I, s:I}", "used_bytes",
					      (json_int_t)state->used_bytes, "left_bytes",
					      (json_int_t)state->left_bytes));
	probes_tell(query->queries->probes, cluster, row);
	json_array_append_new(json_object_get(query->answer, "clusters"), row);
}

// On the first worker, where the probes are.
static void answer_states(struct query *query)
{
	query->answer = json_pack("{s:[]}", "clusters");
	backends_each_state(&query->queries->shared->backends, add_state, query);
	query_finish(query, CODE_OK, NULL);
}

static void answer_damage(struct query *query)
{
	if (query->backend->ops->damage)
		query->backend->ops->damage(query->backend->adapter, on_answer, query);
	else
		query_finish(query, CODE_UNSUPPORTED_BY_BACKEND,
			     "a cluster of this kind has no store");
}

static void answer_cluster(struct query *query)
{
	uint64_t id = number_of(query, "cluster");
	const struct cluster *cluster = catalog_cluster(query->queries->shared->catalog, id);
	struct adapter_state state = {.health = ADAPTER_DOWN, .circuit = CIRCUIT_OPEN};
	char text[sizeof query->text];
	bool known = cluster != NULL;
	uint32_t capabilities;

	model_unref(cluster);
	if (!known) {
		query_finish(query, CODE_NOT_FOUND, "no such cluster");
		return;
	}
	if (query->kind == QUERY_CLUSTER_STATE) {
		backends_state(&query->queries->shared->backends, id, &state, &capabilities);
		query->answer = state_json(&state);
		query_finish(query, CODE_OK, NULL);
	} else if (!open_backend(query, id)) {
		backends_state(&query->queries->shared->backends, id, &state, &capabilities);
		snprintf(text, sizeof text, "the cluster is not open: %.*s", (int)sizeof text - 40,
			 state.error);
		query_finish(query, CODE_BACKEND_DOWN, text);
	} else if (query->kind == QUERY_PROBE) {
		query->backend->ops->probe(query->backend->adapter, query->deadline_ns, on_answer,
					   query);
	} else if (query->kind == QUERY_DAMAGE) {
		answer_damage(query);
	} else if (query->backend->ops->existing) {
		query->backend->ops->existing(query->backend->adapter, query->deadline_ns,
					      on_answer, query);
	} else {
		query_finish(query, CODE_UNSUPPORTED_BY_BACKEND,
			     "nothing can be imported from a cluster of this kind");
	}
}

// ---- topics

// The topic with this number of partitions; NULL: no memory.
static const struct topic *copy_with_partitions(const struct topic *topic, uint32_t partitions)
{
	struct topic draft;

	model_draft(topic, &draft);
	draft.partitions = partitions;
	return model_new(MODEL_TOPIC, &draft);
}

static void answer_topic_change(struct query *query, const struct topic *topic)
{
	uint32_t partitions = (uint32_t)number_of(query, "partitions");
	const struct topic *wanted;

	if (topic->object.revision < number_of(query, "revision")) {
		query_finish(query, CODE_NOT_READY, "the change has not arrived yet");
		return;
	}
	wanted = partitions > topic->partitions ? copy_with_partitions(topic, partitions)
						: model_ref(topic);
	if (wanted)
		query->backend->ops->topic_change(query->backend->adapter, wanted, on_done, query);
	else
		query_finish(query, CODE_OVERLOADED, NULL);
	model_unref(wanted);
}

static void answer_skip(struct query *query, const struct topic *topic)
{
	const struct adapter_ops *ops = query->backend->ops;

	if (ops->topic_skip)
		ops->topic_skip(query->backend->adapter, topic, is_preview(query), on_answer,
				query);
	else
		query_finish(query, CODE_UNSUPPORTED_BY_BACKEND,
			     "a cluster of this kind has no store");
}

static void answer_messages(struct query *query, const struct topic *topic)
{
	struct message_query wish;
	const char *text = NULL;
	enum code code = parameters_messages(query->parameters, topic->partitions, &wish, &text);

	if (code == CODE_OK)
		query->backend->ops->read(query->backend->adapter, topic, &wish, on_answer, query);
	else
		query_finish(query, code, text);
}

static void answer_topic(struct query *query)
{
	const struct topic *topic =
		catalog_topic(query->queries->shared->catalog, number_of(query, "topic"));
	const struct adapter_ops *ops;
	struct adapter *adapter;
	const char *text = "the topic's cluster is not open";
	enum code code = CODE_BACKEND_DOWN;

	if (!topic) {
		query_finish(query, CODE_NOT_FOUND, "no such topic");
		return;
	}
	if (open_backend(query, topic->cluster))
		code = check_capabilities(query, &text);
	if (code != CODE_OK) {
		query_finish(query, code, text);
		model_unref(topic);
		return;
	}
	ops = query->backend->ops;
	adapter = query->backend->adapter;
	switch (query->kind) {
	case QUERY_TOPIC_CREATE: ops->topic_create(adapter, topic, on_done, query); break;
	case QUERY_TOPIC_CHANGE: answer_topic_change(query, topic); break;
	case QUERY_TOPIC_DELETE: ops->topic_delete(adapter, topic, on_done, query); break;
	case QUERY_TOPIC_DESCRIBE: ops->topic_describe(adapter, topic, on_answer, query); break;
	case QUERY_TOPIC_SETTINGS:
		if (ops->topic_settings)
			ops->topic_settings(adapter, topic, on_answer, query);
		else
			query_finish(query, CODE_UNSUPPORTED_BY_BACKEND,
				     "topics of this kind have no settings of their own");
		break;
	case QUERY_TOPIC_PURGE:
		ops->topic_purge(adapter, topic, is_preview(query), on_answer, query);
		break;
	case QUERY_TOPIC_SKIP: answer_skip(query, topic); break;
	default: answer_messages(query, topic);
	}
	model_unref(topic);
}

// ---- groups

// What is asked about a group, with what it needs. NULL topic or backend: answered already.
struct group_query {
	struct loop_task hold;
	struct query *query;
	struct group_home *home; // NULL: the source does not have to be closed
	const struct group *group;
	const struct topic *topic;
	uint64_t dead;
	enum code refused; // dead_letter_copy_refused()
};

static void group_query_free(struct group_query *target)
{
	model_unref(target->group);
	model_unref(target->topic);
	free(target);
}

// Back at home after the adapter has done its part.
static void on_release(struct loop_task *task)
{
	struct query *query = CONTAINER_OF(task, struct query, task);
	struct group_query *target = query->work;

	group_release(target->home);
	group_query_free(target);
	query_finish(query, query->code, query->text);
}

static void on_group_done(void *ctx, enum code code, const char *text)
{
	struct group_query *target = ctx;
	struct query *query = target->query;

	query->code = code;
	snprintf(query->text, sizeof query->text, "%s", text ? text : "");
	if (target->home) {
		query->task.fn = on_release;
		loop_post(target->home->worker->loop, &query->task);
		return;
	}
	group_query_free(target);
	query_finish(query, code, text);
}

// A purge says only how many messages it skipped.
static json_t *purge_json(const struct answer_reset *reset)
{
	uint64_t messages = 0;

	for (size_t i = 0; i < reset->count; ++i)
		messages += reset->rows[i].skipped;
	return json_pack("{s:I}", "messages", (json_int_t)messages);
}

static void on_reset(void *ctx, enum code code, const struct adapter_answer *answer,
		     const char *text)
{
	struct group_query *target = ctx;
	struct query *query = target->query;

	if (answer && query->kind == QUERY_GROUP_PURGE)
		query->answer = purge_json(&answer->reset);
	else
		code = take_answer(query, code, answer, &query->answer);
	on_group_done(target, code, text);
}

// A purge is a reset to the latest.
static void reset_group(struct group_query *target)
{
	struct query *query = target->query;
	struct seek_target to = {.place = SEEK_LATEST};
	int r = 0;

	if (query->kind != QUERY_GROUP_PURGE)
		r = parameters_target(json_object_get(query->parameters, "to"), &to);
	if (r < 0) {
		on_group_done(target, r == -EINVAL ? CODE_BAD_REQUEST : CODE_OVERLOADED,
			      r == -EINVAL ? PARAMETERS_TARGET_FORMS : NULL);
		return;
	}
	query->backend->ops->group_reset(query->backend->adapter, target->group, target->topic, &to,
					 is_preview(query), on_reset, target);
	seek_target_deinit(&to);
}

static void on_held(struct loop_task *hold)
{
	struct group_query *target = CONTAINER_OF(hold, struct group_query, hold);
	struct query *query = target->query;

	if (query->kind == QUERY_GROUP_DELETE)
		query->backend->ops->group_delete(query->backend->adapter, target->group,
						  target->topic, on_group_done, target);
	else
		reset_group(target);
}

// Why some positions may hold no message, though they are counted; NULL: none does. A topic that
// others write to may have markers of their transactions, what was aborted, what compaction took.
static const char *inexact_reason(const struct group_query *target,
				  const struct answer_backlog *backlog)
{
	uint32_t capabilities = backend_capabilities(target->query->backend);
	bool holes = false;

	for (size_t i = 0; i < backlog->count; ++i)
		holes = holes || backlog->rows[i].log.holes;
	return target->topic->imported               ? "imported"
	       : target->topic->native               ? "native"
	       : holes                               ? "holes"
	       : !(capabilities & CAP_EXACT_BACKLOG) ? "backend"
						     : NULL;
}

static void on_backlog(void *ctx, enum code code, const struct adapter_answer *answer,
		       const char *text)
{
	struct group_query *target = ctx;
	json_t *json;

	code = take_answer(target->query, code, answer, &json);
	if (json) {
		const char *why = inexact_reason(target, &answer->backlog);

		json_object_set_new(json, "dead", json_integer((json_int_t)target->dead));
		json_object_set_new(json, "dead_letter_refused",
				    target->refused ? json_string(code_name(target->refused))
						    : json_null());
		json_object_set_new(json, "at_most", json_boolean(why != NULL));
		json_object_set_new(json, "at_most_reason", why ? json_string(why) : json_null());
	}
	target->query->answer = json;
	on_group_done(target, code, text);
}

static void answer_backlog(struct group_query *target)
{
	struct query *query = target->query;
	struct group_home *home = group_find(query->worker, target->group->object.id);
	struct adapter_answer answer = {.kind = ANSWER_BACKLOG};

	if (home) {
		target->dead = dispatch_counters(home->dispatch)->dead;
		target->refused = dead_letter_copy_refused(home);
		answer.backlog.count = group_backlog(home);
		answer.backlog.rows = home->partitions;
	}
	if (answer.backlog.count > 0)
		on_backlog(target, CODE_OK, &answer, NULL);
	else
		query->backend->ops->group_backlog(query->backend->adapter, target->group,
						   target->topic, on_backlog, target);
}

static void start_group_query(struct group_query *target)
{
	struct query *query = target->query;

	if (query->kind == QUERY_BACKLOG) {
		answer_backlog(target);
	} else if (query->kind == QUERY_GROUP_CREATE) {
		query->backend->ops->group_create(query->backend->adapter, target->group,
						  target->topic, on_group_done, target);
	} else if (is_preview(query)) {
		reset_group(target);
	} else {
		target->home = group_get(query->worker, target->group);
		if (target->home)
			group_hold(target->home, &target->hold);
		else
			on_group_done(target, CODE_OVERLOADED, NULL);
	}
}

static void on_group(struct loop_task *task)
{
	struct query *query = CONTAINER_OF(task, struct query, task);
	struct group_query *target = calloc(1, sizeof *target);
	const char *text = "the group's cluster is not open";
	enum code code = CODE_BACKEND_DOWN;

	if (!target) {
		query_finish(query, CODE_OVERLOADED, NULL);
		return;
	}
	query->work = target;
	target->query = query;
	target->hold.fn = on_held;
	target->group = catalog_group(query->queries->shared->catalog, number_of(query, "group"));
	if (target->group)
		target->topic =
			catalog_topic(query->queries->shared->catalog, target->group->topic);
	if (!target->topic) {
		on_group_done(target, CODE_NOT_FOUND, "no such group");
		return;
	}
	if (open_backend(query, target->topic->cluster))
		code = check_capabilities(query, &text);
	if (code == CODE_OK)
		start_group_query(target);
	else
		on_group_done(target, code, text);
}

// ---- round the workers

static void on_step(struct loop_task *task)
{
	struct query *query = CONTAINER_OF(task, struct query, task);
	const struct workers *workers = query->queries->workers;
	enum code code = gather_step(query, query->worker, query->step / workers->count);

	if (code != CODE_OK) {
		query_finish(query, code, NULL);
		return;
	}
	if (++query->step == gather_rounds(query->kind) * workers->count) {
		gather_end(query);
		query_finish(query, CODE_OK, NULL);
		return;
	}
	query->worker = workers->all[query->step % workers->count];
	loop_post(query->worker->loop, &query->task);
}

// ---- the channel

static void on_start(struct loop_task *task)
{
	struct query *query = CONTAINER_OF(task, struct query, task);
	struct worker *first = query->queries->workers->all[0];

	list_push_back(&query->queries->pending, &query->pending);
	loop_timer_init(&query->timer, first->loop, on_deadline);
	loop_timer_set(&query->timer, query->deadline_ns);
	query->worker = first;
	if (first->ending)
		return; // query_deinit() answers
	switch (query->kind) {
	case QUERY_TOTALS:
	case QUERY_CLIENTS:
	case QUERY_KICK: query->task.fn = on_step; break;
	case QUERY_PROBE:
	case QUERY_CLUSTER_STATE:
	case QUERY_DAMAGE:
	case QUERY_CLUSTER_EXISTING: answer_cluster(query); return;
	case QUERY_CLUSTER_STATES: answer_states(query); return;
	case QUERY_TOPIC_CREATE:
	case QUERY_TOPIC_CHANGE:
	case QUERY_TOPIC_DELETE:
	case QUERY_TOPIC_DESCRIBE:
	case QUERY_TOPIC_SETTINGS:
	case QUERY_TOPIC_PURGE:
	case QUERY_TOPIC_SKIP:
	case QUERY_MESSAGES: answer_topic(query); return;
	default:
		query->worker = worker_home(first, number_of(query, "group"));
		query->task.fn = on_group;
	}
	loop_post(query->worker->loop, &query->task);
}

static void on_query(struct query_channel *channel, enum query_kind kind, json_t *parameters,
		     uint64_t deadline_ns, query_done_fn done, void *done_ctx)
{
	struct queries *queries = CONTAINER_OF(channel, struct queries, channel);
	struct query *query = calloc(1, sizeof *query);

	if (!query) {
		json_decref(parameters);
		done(done_ctx, CODE_OVERLOADED, NULL, NULL);
		return;
	}
	*query = (struct query){.task.fn = on_start,
				.queries = queries,
				.kind = kind,
				.parameters = parameters,
				.deadline_ns = deadline_ns,
				.done = done,
				.done_ctx = done_ctx};
	loop_post(queries->workers->all[0]->loop, &query->task);
}

void query_init(struct queries *queries, const struct workers *workers, struct shared *shared,
		struct probes *probes, const char *proxy_id)
{
	*queries = (struct queries){.channel.query = on_query,
				    .workers = workers,
				    .shared = shared,
				    .probes = probes,
				    .proxy_id = proxy_id,
				    .started_ns = clock_now_ns()};
	list_init(&queries->pending);
}
