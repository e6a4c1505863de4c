// The incidents of a store in memory.
//
// The list is short (DAMAGE_LIST_MAX) and searched as a whole. Finds beyond that are only counted,
// and found again when the first ones have been dealt with.
//
// Invariant: a find that lies within a known incident of the same kind, topic, partition and group
// is no new one. Any thread may call; the list has a lock of its own. Not here: logging (damage.c),
// and keeping incidents over a restart (damage_table.c).

#include "adapters/store/damage_list.h"

#include "core/base/util.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define DAMAGE_LIST_MAX 1000u

struct damage_list {
	pthread_mutex_t lock;
	struct damage *items;
	size_t count;
	uint64_t total;
};

static const char *const kind_names[DAMAGE_KINDS] = {
	[DAMAGE_MESSAGES] = "messages", [DAMAGE_PARTITION] = "partition", [DAMAGE_TOPIC] = "topic",
	[DAMAGE_GROUP] = "group",       [DAMAGE_CURSOR] = "cursor",       [DAMAGE_RETRY] = "retry",
	[DAMAGE_TABLE] = "table",
};

static const char *const kind_texts[DAMAGE_KINDS] = {
	[DAMAGE_MESSAGES] = "messages cannot be read; skip-damage gives them up",
	[DAMAGE_PARTITION] = "the row of the partition is damaged; its messages tell what it held",
	[DAMAGE_TOPIC] = "the row of the topic is damaged; skip-damage makes it anew",
	[DAMAGE_GROUP] = "the row of the group is damaged; delete the group and make it again",
	[DAMAGE_CURSOR] = "the position of the group is damaged; reset the group",
	[DAMAGE_RETRY] = "a message that waits for the group cannot be read; a reset gives it up",
	[DAMAGE_TABLE] = "pages of a table cannot be read; restart mqpaasd, which says which",
};

const char *damage_list_problem(enum damage_kind kind)
{
	return kind_texts[kind];
}

struct damage_list *damage_list_new(void)
{
	struct damage_list *list = calloc(1, sizeof *list);

	if (list)
		list->items = calloc(DAMAGE_LIST_MAX, sizeof *list->items);
	if (!list || !list->items) {
		free(list);
		return NULL;
	}
	pthread_mutex_init(&list->lock, NULL);
	return list;
}

void damage_list_free(struct damage_list *list)
{
	if (!list)
		return;
	pthread_mutex_destroy(&list->lock);
	free(list->items);
	free(list);
}

// ---- what is in it

static bool damage_covers(const struct damage *known, const struct damage *damage)
{
	return known->kind == damage->kind && known->topic == damage->topic &&
	       known->partition == damage->partition && known->group == damage->group &&
	       known->first <= damage->first && known->end >= damage->end;
}

bool damage_list_add(struct damage_list *list, const struct damage *damage)
{
	bool known = false;

	pthread_mutex_lock(&list->lock);
	for (size_t i = 0; i < list->count && !known; ++i)
		known = damage_covers(&list->items[i], damage);
	if (!known && list->count < DAMAGE_LIST_MAX)
		list->items[list->count++] = *damage;
	list->total += !known;
	pthread_mutex_unlock(&list->lock);
	return !known;
}

bool damage_list_restore(struct damage_list *list, const struct damage *damage)
{
	bool room;

	pthread_mutex_lock(&list->lock);
	room = list->count < DAMAGE_LIST_MAX;
	if (room)
		list->items[list->count++] = *damage;
	pthread_mutex_unlock(&list->lock);
	return room;
}

bool damage_list_matches(const struct damage *damage, uint64_t topic, uint64_t group,
			 uint32_t kinds)
{
	return damage->topic == topic && (group == 0 || damage->group == group) &&
	       kinds >> damage->kind & 1;
}

void damage_list_remove(struct damage_list *list, uint64_t topic, uint64_t group, uint32_t kinds)
{
	size_t kept = 0;

	pthread_mutex_lock(&list->lock);
	for (size_t i = 0; i < list->count; ++i)
		if (!damage_list_matches(&list->items[i], topic, group, kinds))
			list->items[kept++] = list->items[i];
	list->count = kept;
	pthread_mutex_unlock(&list->lock);
}

// ---- looking

bool damage_list_at(struct damage_list *list, uint64_t topic, size_t index, struct damage *ret)
{
	bool found = false;

	pthread_mutex_lock(&list->lock);
	for (size_t i = 0; !found && i < list->count; ++i) {
		if (list->items[i].topic != topic || index-- > 0)
			continue;
		*ret = list->items[i];
		found = true;
	}
	pthread_mutex_unlock(&list->lock);
	return found;
}

uint64_t damage_list_total(struct damage_list *list)
{
	uint64_t total;

	pthread_mutex_lock(&list->lock);
	total = list->total;
	pthread_mutex_unlock(&list->lock);
	return total;
}

size_t damage_list_open(struct damage_list *list)
{
	size_t count;

	pthread_mutex_lock(&list->lock);
	count = list->count;
	pthread_mutex_unlock(&list->lock);
	return count;
}

static struct damaged_part part_of(const struct damage *damage, enum durability class)
{
	return (struct damaged_part){.store = class,
				     .kind = kind_names[damage->kind],
				     .topic = damage->topic,
				     .group = damage->group,
				     .partition = damage->partition,
				     .first = damage->first,
				     .end = damage->end,
				     .found_ms = damage->found_ms,
				     .problem = kind_texts[damage->kind]};
}

size_t damage_list_copy(struct damage_list *list, enum durability class, struct damaged_part *rows,
			size_t room)
{
	size_t count;

	pthread_mutex_lock(&list->lock);
	count = MIN(list->count, room);
	for (size_t i = 0; i < count; ++i)
		rows[i] = part_of(&list->items[i], class);
	pthread_mutex_unlock(&list->lock);
	return count;
}

void damage_list_text(struct damage_list *list, char *text, size_t size)
{
	struct damage first = {0};
	size_t count;

	pthread_mutex_lock(&list->lock);
	count = list->count;
	if (count)
		first = list->items[0];
	pthread_mutex_unlock(&list->lock);
	text[0] = '\0';
	if (count)
		snprintf(text, size,
			 "%zu damaged: topic %llu, partition %u, offsets %llu to %llu%s", count,
			 (unsigned long long)first.topic, first.partition,
			 (unsigned long long)first.first, (unsigned long long)first.end,
			 count > 1 ? ", …" : "");
}
