// One entry a group: its models, whether it was deleted, the last error that was logged, and when
// its offsets were last committed.
//
// Reading offsets and committing them again (offset_keepalive.c) are two steps, and a commit of the
// group's source between them would be undone. Therefore the two exclude each other here: a commit
// that comes meanwhile waits, and a group with commits under way is not kept. A source elsewhere is
// not excluded: its commit may be undone by an older one, which is what a stale owner may do at any
// time (docs/adapters/kafka.md, Stale owners): redelivery, no loss.
//
// Invariant: an entry is never freed before the adapter is, so a deleted group stays refused.

#include "adapters/kafka/offsets/group_table.h"

#include "adapters/kafka/adapter.h"
#include "core/base/clock.h"
#include "core/base/map.h"

#include <errno.h>

struct known_group {
	struct map_node by_id;
	const struct group *group;
	const struct topic *topic;
	uint64_t committed_ns;
	uint32_t committing; // commits of sources under way
	enum code code;
	bool deleted, keeping;
	struct known_wait *waiting, **waiting_end;
};

struct known_groups {
	pthread_mutex_t lock;
	struct map groups;
};

int known_groups_start(struct adapter *adapter)
{
	adapter->known = calloc(1, sizeof *adapter->known);
	if (!adapter->known)
		return -ENOMEM;
	pthread_mutex_init(&adapter->known->lock, NULL);
	return 0;
}

static void known_free(struct known_group *known)
{
	model_unref(known->group);
	model_unref(known->topic);
	free(known);
}

void known_groups_stop(struct known_groups *groups)
{
	struct map_node *node, *next = NULL;
	size_t cursor = 0;

	if (!groups)
		return;
	while ((node = map_next(&groups->groups, &cursor, &next)))
		known_free(CONTAINER_OF(node, struct known_group, by_id));
	map_deinit(&groups->groups);
	pthread_mutex_destroy(&groups->lock);
	free(groups);
}

// ---- under the lock

static struct known_group *find(const struct known_groups *groups, const struct group *group)
{
	struct map_node *node = map_find(&groups->groups, group->object.id);

	return node ? CONTAINER_OF(node, struct known_group, by_id) : NULL;
}

// NULL: no memory. It counts as just committed, so it is looked at in a while.
static struct known_group *find_or_add(struct known_groups *groups, const struct group *group,
				       const struct topic *topic)
{
	struct known_group *known = find(groups, group);

	if (!known) {
		known = calloc(1, sizeof *known);
		if (!known)
			return NULL;
		known->by_id.key = group->object.id;
		known->waiting_end = &known->waiting;
		known->committed_ns = clock_now_ns();
		if (map_put(&groups->groups, &known->by_id) < 0) {
			free(known);
			return NULL;
		}
	}
	if (known->group != group) {
		if (known->group && known->group->incarnation != group->incarnation)
			known->deleted = false;
		model_unref(known->group);
		known->group = model_ref(group);
	}
	if (known->topic != topic) {
		model_unref(known->topic);
		known->topic = model_ref(topic);
	}
	return known;
}

// ---- what is known

void known_group_seen(struct adapter *adapter, const struct group *group, const struct topic *topic)
{
	pthread_mutex_lock(&adapter->known->lock);
	find_or_add(adapter->known, group, topic);
	pthread_mutex_unlock(&adapter->known->lock);
}

void known_group_deleted(struct adapter *adapter, const struct group *group,
			 const struct topic *topic, bool deleted)
{
	struct known_group *known;

	pthread_mutex_lock(&adapter->known->lock);
	known = find_or_add(adapter->known, group, topic);
	if (known)
		known->deleted = deleted;
	pthread_mutex_unlock(&adapter->known->lock);
}

bool known_group_is_deleted(struct adapter *adapter, const struct group *group)
{
	const struct known_group *known;
	bool deleted;

	pthread_mutex_lock(&adapter->known->lock);
	known = find(adapter->known, group);
	deleted = known && known->deleted && known->group->incarnation == group->incarnation;
	pthread_mutex_unlock(&adapter->known->lock);
	return deleted;
}

void known_group_report(struct adapter *adapter, const struct group *group, enum code code,
			const char *text)
{
	struct known_group *known;
	bool news;

	pthread_mutex_lock(&adapter->known->lock);
	known = find(adapter->known, group);
	news = !known || known->code != code;
	if (known)
		known->code = code;
	pthread_mutex_unlock(&adapter->known->lock);
	if (!news || (!known && code == CODE_OK))
		return;
	if (code == CODE_OK)
		log_info(adapter->log, "KAFKA-GROUP",
			 "group %s: its offsets are read and "
			 "committed again",
			 group->physical);
	else
		log_warn(adapter->log, "KAFKA-GROUP", "group %s: %s", group->physical,
			 text && *text ? text : code_name(code));
}

// ---- commits of sources

bool known_commit_begin(struct adapter *adapter, const struct group *group, struct known_wait *wait)
{
	struct known_group *known;
	bool now = true;

	pthread_mutex_lock(&adapter->known->lock);
	known = find(adapter->known, group);
	if (known)
		++known->committing;
	if (known && known->keeping) {
		now = false;
		wait->next = NULL;
		*known->waiting_end = wait;
		known->waiting_end = &wait->next;
	}
	pthread_mutex_unlock(&adapter->known->lock);
	return now;
}

void known_commit_end(struct adapter *adapter, const struct group *group, bool committed)
{
	struct known_group *known;

	pthread_mutex_lock(&adapter->known->lock);
	known = find(adapter->known, group);
	if (known && known->committing)
		--known->committing;
	if (known && committed)
		known->committed_ns = clock_now_ns();
	pthread_mutex_unlock(&adapter->known->lock);
}

// ---- keeping

bool group_table_keep_begin(struct adapter *adapter, uint64_t before_ns,
			    const struct group **ret_group, const struct topic **ret_topic)
{
	struct known_groups *groups = adapter->known;
	struct map_node *node, *next = NULL;
	size_t cursor = 0;
	bool found = false;

	pthread_mutex_lock(&groups->lock);
	while (!found && (node = map_next(&groups->groups, &cursor, &next))) {
		struct known_group *known = CONTAINER_OF(node, struct known_group, by_id);

		if (known->deleted || known->committing || known->keeping ||
		    known->committed_ns > before_ns)
			continue;
		known->keeping = found = true;
		*ret_group = model_ref(known->group);
		*ret_topic = model_ref(known->topic);
	}
	pthread_mutex_unlock(&groups->lock);
	return found;
}

void group_table_keep_end(struct adapter *adapter, const struct group *group, uint64_t now_ns)
{
	struct known_groups *groups = adapter->known;
	struct known_group *known;
	struct known_wait *waiting = NULL;

	pthread_mutex_lock(&groups->lock);
	known = find(groups, group);
	if (known) {
		known->keeping = false;
		known->committed_ns = now_ns;
		waiting = known->waiting;
		known->waiting = NULL;
		known->waiting_end = &known->waiting;
	}
	pthread_mutex_unlock(&groups->lock);
	while (waiting) {
		struct known_wait *wait = waiting;

		waiting = wait->next;
		wait->go(wait);
	}
}
