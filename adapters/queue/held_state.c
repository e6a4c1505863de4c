// The members of the held set: what each step may do to one of them.
//
// A member is in one state and in one list; held_state_set() is the only function that changes a
// state, and asserts that the table has the transition. Lists that have an order are kept by
// insertion from their end: they hold at most what the prefetch allows, and what comes last mostly
// belongs last.
//
// Invariants: `tags` and the consumer's `own` count the members with a tag, `bytes` their records,
// `limbo` and `awaited` what their names say; a position stands for one member. The maps are never
// empty, so adding to them does not fail. What the states mean for each
// other, and when they change, is decided in the files above.

#include "adapters/queue/held_state.h"

#include "core/wire/record.h"

// ---- states and lists

void held_state_set(struct held *held, struct held_item *item, enum held_state state)
{
	assert(state_table_has(STATE_TABLE_MOVES(HELD_STATES), item->state, state));
	--held->counts[item->state];
	++held->counts[state];
	item->state = (uint8_t)state;
}

void held_state_delist(struct held *held, struct held_item *item)
{
	if (item->list == HELD_LIST_LIMBO)
		--held->limbo;
	item->list = HELD_LIST_COUNT;
	list_unlink(&item->in_list);
}

static void note_list(struct held *held, struct held_item *item, enum held_list list)
{
	item->list = (uint8_t)list;
	held->limbo += list == HELD_LIST_LIMBO;
}

void held_state_enlist(struct held *held, struct held_item *item, enum held_list list)
{
	held_state_delist(held, item);
	list_push_back(&held->lists[list], &item->in_list);
	note_list(held, item, list);
}

void held_state_enlist_by(struct held *held, struct held_item *item, enum held_list list)
{
	struct list *head = &held->lists[list], *at = head;

	held_state_delist(held, item);
	while (at->prev != head &&
	       LIST_ENTRY(at->prev, struct held_item, in_list)->order > item->order)
		at = at->prev;
	list_insert_before(at, &item->in_list);
	note_list(held, item, list);
}

struct held_item *held_state_first(const struct held *held, enum held_list list)
{
	const struct list *head = &held->lists[list];

	return list_empty(head) ? NULL : LIST_ENTRY(head->next, struct held_item, in_list);
}

// ---- members

struct held_item *held_state_item_new(struct held *held)
{
	struct held_item *item = calloc(1, sizeof *item);

	if (!item)
		return NULL;
	list_init(&item->in_list);
	list_init(&item->in_age);
	item->list = HELD_LIST_COUNT;
	++held->counts[HELD_ARRIVED];
	return item;
}

void held_state_item_free(struct held *held, struct held_item *item)
{
	assert(!item->id && !item->waiter);
	if (item->spare)
		held_state_item_free(held, item->spare);
	held_state_tag_take(held, item);
	held_state_await(held, item, false);
	held_state_write_drop(held, item);
	held_state_position_drop(held, item);
	held_state_record_drop(held, item);
	held_state_delist(held, item);
	list_unlink(&item->in_age);
	--held->counts[item->state];
	free(item);
}

void held_state_record_keep(struct held *held, struct held_item *item, struct buf *buf,
			    const uint8_t *record)
{
	assert(!item->buf);
	item->buf = buf_ref(buf);
	item->record = record;
	item->size = record_size(record);
	held->bytes += item->size;
}

void held_state_record_drop(struct held *held, struct held_item *item)
{
	if (!item->buf)
		return;
	assert(held->bytes >= item->size);
	held->bytes -= item->size;
	item->buf = buf_unref(item->buf);
	item->record = NULL;
}

// ---- what the backend calls it

void held_state_tag_set(struct held *held, struct held_item *item, uint64_t tag, bool from_retry)
{
	assert(item->tag == 0 && tag > 0);
	item->tag = tag;
	item->consumer = held->use.consumer;
	item->from_retry = from_retry;
	item->since_ms = held->time.steady_ms;
	++held->tags;
	++held->use.own;
	held->use.retry += from_retry;
}

uint64_t held_state_tag_take(struct held *held, struct held_item *item)
{
	uint64_t tag = item->tag;

	if (!tag)
		return 0;
	item->tag = 0;
	--held->tags;
	if (item->consumer == held->use.consumer) {
		--held->use.own;
		held->use.retry -= item->from_retry;
	}
	list_unlink(&item->in_age);
	return tag;
}

void held_state_tag_swap(struct held_item *one, struct held_item *other)
{
	uint64_t tag = one->tag;
	uint32_t consumer = one->consumer;
	bool from_retry = one->from_retry;

	one->tag = other->tag;
	one->consumer = other->consumer;
	one->from_retry = other->from_retry;
	other->tag = tag;
	other->consumer = consumer;
	other->from_retry = from_retry;
	list_unlink(&one->in_age);
	list_unlink(&other->in_age);
}

void held_state_await(struct held *held, struct held_item *item, bool awaited)
{
	held->awaited += awaited;
	held->awaited -= item->awaited;
	item->awaited = awaited;
}

void held_state_age(struct held *held, struct held_item *item, bool first)
{
	if (!item->tag || item->renewing || item->state == HELD_WRITING ||
	    item->state == HELD_ACKING)
		return;
	list_unlink(&item->in_age);
	if (first)
		list_push_front(&held->age, &item->in_age);
	else
		list_push_back(&held->age, &item->in_age);
}

// ---- what we call it

static uint64_t position_key(uint32_t partition, uint64_t offset)
{
	return (uint64_t)partition << 44 ^ offset;
}

void held_state_position_set(struct held *held, struct held_item *item)
{
	int r;

	if (item->offset)
		return;
	assert(item->partition < held->partitions);
	item->offset = held->next_offsets[item->partition]++;
	item->sequence = ++held->sequence;
	item->by_position.key = position_key(item->partition, item->offset);
	r = map_put(&held->positions, &item->by_position);
	assert(r == 0);
}

void held_state_position_drop(struct held *held, struct held_item *item)
{
	if (!item->offset)
		return;
	map_remove(&held->positions, &item->by_position);
	item->offset = 0;
}

struct held_item *held_state_at(const struct held *held, uint32_t partition, uint64_t offset)
{
	struct map_node *node = map_find(&held->positions, position_key(partition, offset));
	struct held_item *item;

	if (!node || node == &held->stay_positions)
		return NULL;
	item = CONTAINER_OF(node, struct held_item, by_position);
	return item->partition == partition && item->offset == offset ? item : NULL;
}

// ---- writes on their way

void held_state_write_set(struct held *held, struct held_item *item, bool renewal)
{
	int r;

	assert(!item->write);
	item->write = ++held->write_number;
	item->write_tag = item->tag;
	item->write_attempts = item->attempts;
	item->renewing = renewal;
	item->by_write.key = item->write;
	r = map_put(&held->writes, &item->by_write);
	assert(r == 0);
	++held->writes_open;
}

void held_state_write_drop(struct held *held, struct held_item *item)
{
	if (!item->write)
		return;
	map_remove(&held->writes, &item->by_write);
	item->write = 0;
	item->renewing = false;
}

struct held_item *held_state_writing(const struct held *held, uint64_t number)
{
	struct map_node *node = map_find(&held->writes, number);

	return node && node != &held->stay_writes ? CONTAINER_OF(node, struct held_item, by_write)
						  : NULL;
}
