// Lists what each consumer holds, so that the cost of a consumer that leaves depends on what it
// holds, not on what the group has in flight.
//
// The flights of a partition are found by offset and move in their table, so nothing can point at
// them. A consumer keeps a list of what it was given instead: partition, offset, and the number of
// the delivery, by which an entry whose message has gone on is known. The list is cleaned when it
// is full, and grows when more than half of it is still held. It costs least when messages are
// settled in order.
//
// Invariants: every flight of a consumer has its entry, unless the list says that it is incomplete
// (there was no memory): then all flights are looked at.

#include "proxy/engine/dispatch_held.h"

#include "proxy/engine/dispatch_state.h"

#define ROOM_LEAST 4u

static struct flight *flight_of(struct dispatch *dispatch, const struct dispatch_consumer *consumer,
				const struct dispatch_given *given)
{
	struct flight *flight =
		flight_map_find(&dispatch->partitions[given->partition].flights, given->offset);

	return flight && flight->state == FLIGHT_OWNED && flight->consumer == consumer &&
			       flight->number == given->number
		       ? flight
		       : NULL;
}

// What was given last is most likely held: from the back on, until as many are found as are in
// flight. The deliveries that are being handed out right now are not among those yet.
static void drop_settled(struct dispatch *dispatch, struct dispatch_consumer *consumer)
{
	struct dispatch_held *held = &consumer->held;
	struct dispatch_given *given = held->given;
	uint32_t at = held->count, kept_from, open = consumer->in_flight;

	if (at == 0)
		return; // there is no list yet
	while (at > 0 && given[at - 1].number > consumer->given_messages)
		--at;
	for (kept_from = at; at > 0 && open > 0; --at) {
		if (!flight_of(dispatch, consumer, &given[at - 1]))
			continue;
		given[--kept_from] = given[at - 1];
		--open;
	}
	held->count -= kept_from;
	memmove(given, given + kept_from, held->count * sizeof *given);
}

static bool grow_entries(struct dispatch_held *held)
{
	uint32_t room = MAX(2 * held->room, ROOM_LEAST);
	struct dispatch_given *grown = realloc(held->given, room * sizeof *grown);

	if (!grown)
		return false;
	held->given = grown;
	held->room = room;
	return true;
}

// Not inlined: most deliveries find room.
__attribute__((noinline)) static bool make_room(struct dispatch *dispatch,
						struct dispatch_consumer *consumer)
{
	struct dispatch_held *held = &consumer->held;

	drop_settled(dispatch, consumer);
	if (2 * held->count >= held->room && !grow_entries(held) && held->count == held->room)
		held->incomplete = true;
	return held->count < held->room;
}

void dispatch_held_add(struct dispatch *dispatch, struct dispatch_consumer *consumer,
		       const struct delivery *delivery, uint64_t number)
{
	struct dispatch_held *held = &consumer->held;

	if (held->count == held->room && !make_room(dispatch, consumer))
		return;
	held->given[held->count++] = (struct dispatch_given){
		.offset = delivery->offset, .number = number, .partition = delivery->partition};
}

struct flight *dispatch_held_next(struct dispatch *dispatch,
				  const struct dispatch_consumer *consumer, uint32_t *cursor,
				  uint32_t *ret_partition)
{
	while (*cursor < consumer->held.count) {
		const struct dispatch_given *given = &consumer->held.given[(*cursor)++];
		struct flight *flight = flight_of(dispatch, consumer, given);

		if (!flight)
			continue;
		*ret_partition = given->partition;
		return flight;
	}
	return NULL;
}

void dispatch_held_drop(struct dispatch_consumer *consumer)
{
	free(consumer->held.given);
	consumer->held = (struct dispatch_held){0};
}
