// Intrusive doubly linked ring: the head and every member are a struct list; an unlinked member
// points at itself.
#pragma once

#include "core/base/util.h"

#include <stdbool.h>

struct list {
	struct list *prev;
	struct list *next;
};

#define LIST_INIT(name) {&(name), &(name)}

#define LIST_ENTRY(ptr, type, member) CONTAINER_OF(ptr, type, member)

// Safe against unlinking `pos` inside the body, not against unlinking others.
#define LIST_FOREACH(pos, next_pos, head)                                                          \
	for (struct list *pos = (head)->next, *next_pos = pos->next; pos != (head);                \
	     pos = next_pos, next_pos = pos->next)

static inline void list_init(struct list *head)
{
	head->prev = head;
	head->next = head;
}

static inline bool list_empty(const struct list *head)
{
	return head->next == head;
}

static inline void list_insert_before(struct list *at, struct list *item)
{
	item->prev = at->prev;
	item->next = at;
	at->prev->next = item;
	at->prev = item;
}

static inline void list_push_back(struct list *head, struct list *item)
{
	list_insert_before(head, item);
}

static inline void list_push_front(struct list *head, struct list *item)
{
	list_insert_before(head->next, item);
}

static inline void list_unlink(struct list *item)
{
	item->prev->next = item->next;
	item->next->prev = item->prev;
	list_init(item);
}

static inline struct list *list_pop_front(struct list *head)
{
	struct list *item = head->next;

	if (item == head)
		return NULL;
	list_unlink(item);
	return item;
}
