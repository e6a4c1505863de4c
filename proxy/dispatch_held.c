// What each consumer holds, so that one that leaves costs as much as it holds, however much is in
// flight.
//
// The flights of a partition are found by offset and move in their table, so nothing can point at
// them. A consumer keeps a list of what it was given instead: partition, offset, and the number of
// the delivery, by which an entry whose message has gone on is known. The list is cleaned when it
// is full, and grows when more than half of it is still held.
//
// Invariants: every flight of a consumer has its entry, unless the list says that it is incomplete
// (there was no memory): then all flights are looked at.

#include "proxy/dispatch_state.h"

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

static void clean(struct dispatch *dispatch, struct dispatch_consumer *consumer)
{
	struct dispatch_held *held = &consumer->held;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < held->count; ++i)
		if (flight_of(dispatch, consumer, &held->given[i]))
			held->given[kept++] = held->given[i];
	held->count = kept;
}

static bool grow(struct dispatch_held *held)
{
	uint32_t room = MAX(2 * held->room, ROOM_LEAST);
	struct dispatch_given *grown = realloc(held->given, room * sizeof *grown);

	if (!grown)
		return false;
	held->given = grown;
	held->room = room;
	return true;
}

void dispatch_held_add(struct dispatch *dispatch, struct dispatch_consumer *consumer,
		       const struct delivery *delivery, uint64_t number)
{
	struct dispatch_held *held = &consumer->held;

	if (held->count == held->room) {
		clean(dispatch, consumer);
		if (2 * held->count >= held->room && !grow(held) && held->count == held->room) {
			held->incomplete = true;
			return;
		}
	}
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
