// A worker's use of a topic: the handle of the adapter, and its counters.
//
// One use is shared by all users (streams, groups, copies) of a worker. When the topic changes in a
// way that the adapter's handle depends on, or is there again after it was lost, a new use takes
// its place and users move to it. The old use lives until its batches are answered.

#include "proxy/resource/topic.h"

#include "core/base/log.h"
#include "proxy/resource/shared.h"

#include <errno.h>

#define MISSING_LOG_NS (10 * S_NS)
#define LOOK_NS        S_NS // between two looks for a topic that is lost

static struct topic_stats *stats_get(struct worker *worker, const struct topic *topic)
{
	struct map_node *node = map_find(&worker->topic_stats, topic->object.id);
	struct topic_stats *stats;

	if (node)
		return CONTAINER_OF(node, struct topic_stats, node);
	stats = calloc(1, sizeof *stats);
	if (!stats)
		return NULL;
	stats->node.key = topic->object.id;
	stats->tenant = topic->tenant;
	if (map_put(&worker->topic_stats, &stats->node) < 0) {
		free(stats);
		return NULL;
	}
	return stats;
}

static void stats_check(struct worker *worker, struct topic_stats *stats)
{
	if (!stats->gone || stats->uses)
		return;
	map_remove(&worker->topic_stats, &stats->node);
	free(stats);
}

static void use_free(struct topic_use *use)
{
	assert(list_empty(&use->users));
	if (use->handle)
		use->backend->ops->topic_close(use->handle);
	if (use->stats) {
		assert(use->stats->uses > 0);
		--use->stats->uses;
		stats_check(use->worker, use->stats);
	}
	backend_unref(use->backend);
	model_unref(use->model);
	free(use);
}

// A ready topic that its backend does not have: a store that was lost or replaced. A client that
// opens it tries again and again, so it is said now and then only.
static void missing_log(struct worker *worker, const struct topic *topic)
{
	uint64_t now_ns = loop_now_ns(worker->loop);

	if (now_ns < worker->missing_logged_ns + MISSING_LOG_NS)
		return;
	worker->missing_logged_ns = now_ns;
	log_error(NULL, "TOPIC-MISSING",
		  "topic %s is not on its cluster (any more), and perhaps others are not: put its "
		  "store back, make its row anew if that alone is damaged (mqpaasctl topic "
		  "skip-damage --preview says so), or delete the topic and make it again",
		  topic->physical);
}

static enum code use_new(struct worker *worker, const struct topic *topic, struct topic_use **ret)
{
	struct topic_use *use = calloc(1, sizeof *use);

	if (!use)
		return CODE_OVERLOADED;
	use->worker = worker;
	use->model = model_ref(topic);
	use->refs = 1;
	use->node.key = topic->object.id;
	list_init(&use->users);
	use->backend = backend_get(&worker->shared->backends, topic->cluster);
	if (!use->backend) {
		use_free(use);
		return CODE_BACKEND_DOWN;
	}
	use->handle = use->backend->ops->topic_open(use->backend->adapter, topic);
	if (!use->handle) {
		missing_log(worker, topic);
		use_free(use);
		return CODE_NOT_READY;
	}
	use->stats = stats_get(worker, topic);
	if (!use->stats) {
		use_free(use);
		return CODE_OVERLOADED;
	}
	++use->stats->uses;
	*ret = use;
	return CODE_OK;
}

// It is the one that is found from now on. Without memory it is freed.
static enum code enter_use(struct topic_use *use)
{
	if (map_put(&use->worker->topics, &use->node) < 0) {
		use_free(use);
		return CODE_OVERLOADED;
	}
	use->current = true;
	return CODE_OK;
}

static void retire_use(struct topic_use *use)
{
	if (!use->current)
		return;
	use->current = false;
	map_remove(&use->worker->topics, &use->node);
}

struct topic_use *topic_use_unref(struct topic_use *use)
{
	assert(!use || use->refs > 0);
	if (use && --use->refs == 0) {
		retire_use(use);
		use_free(use);
	}
	return NULL;
}

enum durability topic_use_durability(const struct topic_use *use)
{
	uint32_t capabilities = backend_capabilities(use->backend);

	return MIN((enum durability)use->model->durability,
		   capability_topic_durability(capabilities, use->model));
}

void topic_user_join(struct topic_user *user, const struct topic_user_ops *ops,
		     struct topic_use *use)
{
	user->ops = ops;
	user->use = use;
	list_push_back(&use->users, &user->in_topic);
}

void topic_user_leave(struct topic_user *user)
{
	if (!user->use)
		return;
	list_unlink(&user->in_topic);
	user->use = topic_use_unref(user->use);
}

static struct topic_user *first_user(const struct topic_use *use)
{
	return LIST_ENTRY(use->users.next, struct topic_user, in_topic);
}

static void end_users(struct topic_use *use, enum code code, const char *text)
{
	++use->refs;
	retire_use(use);
	while (!list_empty(&use->users)) {
		struct topic_user *user = first_user(use);

		user->ops->ended(user, code, text);
	}
	topic_use_unref(use);
}

static void move_users(struct topic_use *from, struct topic_use *to)
{
	while (!list_empty(&from->users)) {
		struct topic_user *user = first_user(from);

		list_unlink(&user->in_topic);
		list_push_back(&to->users, &user->in_topic);
		user->use = to;
		++to->refs;
		user->ops->changed(user);
		topic_use_unref(from);
	}
}

// Puts a new use in the place of this one; the caller has a reference of its own.
static enum code renew_use(struct topic_use *use, const struct topic *topic)
{
	struct topic_use *fresh;
	enum code code = use_new(use->worker, topic, &fresh);

	if (code == CODE_OK)
		code = enter_use(fresh);
	if (code != CODE_OK)
		return code;
	retire_use(use);
	move_users(use, fresh);
	topic_use_unref(fresh);
	return CODE_OK;
}

static struct topic_use *use_find(struct worker *worker, uint64_t id)
{
	struct map_node *node = map_find(&worker->topics, id);

	return node ? CONTAINER_OF(node, struct topic_use, node) : NULL;
}

void topic_use_lost(struct topic_use *use)
{
	uint64_t now_ns = loop_now_ns(use->worker->loop);
	const struct topic *topic;

	use->lost = true;
	if (!use->current || now_ns < use->looked_ns + LOOK_NS)
		return;
	use->looked_ns = now_ns;
	topic = catalog_topic(use->worker->shared->catalog, use->node.key);
	++use->refs;
	if (topic && topic->state == MODEL_READY && topic->incarnation == use->model->incarnation)
		renew_use(use, topic);
	topic_use_unref(use);
	model_unref(topic);
}

void topic_use_answered(struct topic_use *use, const struct submit *submit)
{
	bool lost = false;

	for (uint32_t i = 0; i < submit->run_count; ++i)
		lost = lost || (submit->runs[i].outcome == OUTCOME_REJECTED &&
				submit->runs[i].code == CODE_NOT_FOUND);
	if (lost)
		topic_use_lost(use);
}

enum code topic_use_get(struct worker *worker, const struct topic *topic, struct topic_use **ret)
{
	struct topic_use *use = use_find(worker, topic->object.id);
	enum code code;

	if (topic->state != MODEL_READY)
		return CODE_NOT_READY;
	if (use && use->lost)
		topic_use_lost(use);
	use = use_find(worker, topic->object.id); // another one, if it is there again
	if (!use) {
		code = use_new(worker, topic, ret);
		return code == CODE_OK ? enter_use(*ret) : code;
	}
	if (use->lost)
		return CODE_NOT_FOUND;
	++use->refs;
	*ret = use;
	return CODE_OK;
}

static bool same_handle(const struct topic *a, const struct topic *b)
{
	return a->partitions == b->partitions && a->durability == b->durability &&
	       a->native == b->native;
}

static void replace_use(struct topic_use *use, const struct topic *topic)
{
	enum code code;

	++use->refs;
	code = renew_use(use, topic);
	if (code != CODE_OK)
		end_users(use, code, "the topic has changed");
	topic_use_unref(use);
}

static void take_model(struct topic_use *use, const struct topic *topic)
{
	model_unref(use->model);
	use->model = model_ref(topic);
	LIST_FOREACH(pos, next, &use->users)
	{
		struct topic_user *user = LIST_ENTRY(pos, struct topic_user, in_topic);

		user->ops->changed(user);
	}
}

void topic_changed(struct worker *worker, uint64_t id)
{
	struct topic_use *use = use_find(worker, id);
	const struct topic *topic = catalog_topic(worker->shared->catalog, id);

	if (!topic) {
		struct map_node *node;

		if (use)
			end_users(use, CODE_NOT_FOUND, "the topic was deleted");
		node = map_find(&worker->topic_stats, id);
		if (node) {
			struct topic_stats *stats = CONTAINER_OF(node, struct topic_stats, node);

			stats->gone = true;
			stats_check(worker, stats);
		}
	} else if (use && topic->incarnation != use->model->incarnation) {
		end_users(use, CODE_NOT_FOUND, "the topic was deleted and made again");
	} else if (use && topic->state != MODEL_READY) {
		end_users(use, CODE_NOT_READY, "the topic is being changed or deleted");
	} else if (use && !same_handle(topic, use->model)) {
		replace_use(use, topic);
	} else if (use) {
		take_model(use, topic);
	}
	model_unref(topic);
}

void topics_cluster_gone(struct worker *worker, uint64_t cluster)
{
	size_t cursor = 0;
	struct map_node *next = NULL, *node;

	while ((node = map_next(&worker->topics, &cursor, &next))) {
		struct topic_use *use = CONTAINER_OF(node, struct topic_use, node);

		if (use->model->cluster == cluster)
			end_users(use, CODE_NOT_READY, "the cluster is being opened again");
	}
}

void topics_deinit(struct worker *worker)
{
	size_t cursor = 0;
	struct map_node *next = NULL, *node;

	while ((node = map_next(&worker->topic_stats, &cursor, &next)))
		free(CONTAINER_OF(node, struct topic_stats, node));
	map_deinit(&worker->topic_stats);
	map_deinit(&worker->topics);
}
