// One entry a group: its models, whether it was deleted, the last error that was logged, and when
// its offsets were last committed.
//
// Reading offsets and committing them again (offset_keepalive.c) are two steps, and a commit of the
// group's source between them would be undone. Therefore the two exclude each other here: a commit
// that comes meanwhile waits, and a group with commits under way is not kept. A source elsewhere is
// not excluded: its commit may be undone by an older one, which is what a stale owner may do at any
// time (docs/adapters/kafka-internals.md, Stale owners): redelivery, no loss.
//
// Invariant: an entry is never freed before the adapter is, so a deleted group stays refused.

#include "adapters/kafka/offsets/group_table.h"

#include "core/base/clock.h"
#include "core/base/map.h"

#include <errno.h>

struct group_entry {
	struct map_node by_id;
	const struct group *group;
	const struct topic *topic;
	uint64_t committed_ns;
	uint32_t committing; // commits of sources under way
	enum code code;
	bool deleted, keeping;
	struct loop_task *waiting, **waiting_end;
};

struct group_table {
	pthread_mutex_t lock;
	struct map groups;
};

int group_table_start(struct adapter *adapter)
{
	adapter->groups = calloc(1, sizeof *adapter->groups);
	if (!adapter->groups)
		return -ENOMEM;
	pthread_mutex_init(&adapter->groups->lock, NULL);
	return 0;
}

static void entry_free(struct group_entry *entry)
{
	model_unref(entry->group);
	model_unref(entry->topic);
	free(entry);
}

void group_table_stop(struct group_table *table)
{
	struct map_node *node, *next = NULL;
	size_t cursor = 0;

	if (!table)
		return;
	while ((node = map_next(&table->groups, &cursor, &next)))
		entry_free(CONTAINER_OF(node, struct group_entry, by_id));
	map_deinit(&table->groups);
	pthread_mutex_destroy(&table->lock);
	free(table);
}

// ---- under the lock

static struct group_entry *entry_find(const struct group_table *table, const struct group *group)
{
	struct map_node *node = map_find(&table->groups, group->object.id);

	return node ? CONTAINER_OF(node, struct group_entry, by_id) : NULL;
}

// NULL: no memory. It counts as just committed, so it is looked at in a while.
static struct group_entry *entry_get(struct group_table *table, const struct group *group,
				     const struct topic *topic)
{
	struct group_entry *entry = entry_find(table, group);

	if (!entry) {
		entry = calloc(1, sizeof *entry);
		if (!entry)
			return NULL;
		entry->by_id.key = group->object.id;
		entry->waiting_end = &entry->waiting;
		entry->committed_ns = clock_now_ns();
		if (map_put(&table->groups, &entry->by_id) < 0) {
			free(entry);
			return NULL;
		}
	}
	if (entry->group != group) {
		if (entry->group && entry->group->incarnation != group->incarnation)
			entry->deleted = false;
		model_unref(entry->group);
		entry->group = model_ref(group);
	}
	if (entry->topic != topic) {
		model_unref(entry->topic);
		entry->topic = model_ref(topic);
	}
	return entry;
}

// ---- what is noted of a group

void group_table_seen(struct adapter *adapter, const struct group *group, const struct topic *topic)
{
	pthread_mutex_lock(&adapter->groups->lock);
	entry_get(adapter->groups, group, topic);
	pthread_mutex_unlock(&adapter->groups->lock);
}

void group_table_set_deleted(struct adapter *adapter, const struct group *group,
			     const struct topic *topic, bool deleted)
{
	struct group_entry *entry;

	pthread_mutex_lock(&adapter->groups->lock);
	entry = entry_get(adapter->groups, group, topic);
	if (entry)
		entry->deleted = deleted;
	pthread_mutex_unlock(&adapter->groups->lock);
}

bool group_table_is_deleted(struct adapter *adapter, const struct group *group)
{
	const struct group_entry *entry;
	bool deleted;

	pthread_mutex_lock(&adapter->groups->lock);
	entry = entry_find(adapter->groups, group);
	deleted = entry && entry->deleted && entry->group->incarnation == group->incarnation;
	pthread_mutex_unlock(&adapter->groups->lock);
	return deleted;
}

void group_table_report(struct adapter *adapter, const struct group *group, enum code code,
			const char *text)
{
	struct group_entry *entry;
	bool news;

	pthread_mutex_lock(&adapter->groups->lock);
	entry = entry_find(adapter->groups, group);
	news = !entry || entry->code != code;
	if (entry)
		entry->code = code;
	pthread_mutex_unlock(&adapter->groups->lock);
	if (!news || (!entry && code == CODE_OK))
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

bool group_table_commit_begin(struct adapter *adapter, const struct group *group,
			      struct loop_task *wait)
{
	struct group_entry *entry;
	bool now = true;

	pthread_mutex_lock(&adapter->groups->lock);
	entry = entry_find(adapter->groups, group);
	if (entry)
		++entry->committing;
	if (entry && entry->keeping) {
		now = false;
		wait->next = NULL;
		*entry->waiting_end = wait;
		entry->waiting_end = &wait->next;
	}
	pthread_mutex_unlock(&adapter->groups->lock);
	return now;
}

void group_table_commit_end(struct adapter *adapter, const struct group *group, bool committed)
{
	struct group_entry *entry;

	pthread_mutex_lock(&adapter->groups->lock);
	entry = entry_find(adapter->groups, group);
	if (entry && entry->committing)
		--entry->committing;
	if (entry && committed)
		entry->committed_ns = clock_now_ns();
	pthread_mutex_unlock(&adapter->groups->lock);
}

// ---- keeping

bool group_table_keep_begin(struct adapter *adapter, uint64_t before_ns,
			    const struct group **ret_group, const struct topic **ret_topic)
{
	struct group_table *table = adapter->groups;
	struct map_node *node, *next = NULL;
	size_t cursor = 0;
	bool found = false;

	pthread_mutex_lock(&table->lock);
	while (!found && (node = map_next(&table->groups, &cursor, &next))) {
		struct group_entry *entry = CONTAINER_OF(node, struct group_entry, by_id);

		if (entry->deleted || entry->committing || entry->keeping ||
		    entry->committed_ns > before_ns)
			continue;
		entry->keeping = found = true;
		*ret_group = model_ref(entry->group);
		*ret_topic = model_ref(entry->topic);
	}
	pthread_mutex_unlock(&table->lock);
	return found;
}

void group_table_keep_end(struct adapter *adapter, const struct group *group, uint64_t now_ns)
{
	struct group_table *table = adapter->groups;
	struct group_entry *entry;
	struct loop_task *waiting = NULL;

	pthread_mutex_lock(&table->lock);
	entry = entry_find(table, group);
	if (entry) {
		entry->keeping = false;
		entry->committed_ns = now_ns;
		waiting = entry->waiting;
		entry->waiting = NULL;
		entry->waiting_end = &entry->waiting;
	}
	pthread_mutex_unlock(&table->lock);
	while (waiting) {
		struct loop_task *wait = waiting;

		waiting = wait->next;
		wait->fn(wait);
	}
}
