// What each consumer holds, in the order in which it was given.
#pragma once

#include "proxy/engine/dispatch_state.h"

void dispatch_held_add(struct dispatch *dispatch, struct dispatch_consumer *consumer,
		       const struct delivery *delivery, uint64_t number);
// What the consumer holds, one by one, in the order it was given: start with *cursor = 0. It may be
// taken from it before the next call. NULL: no more.
struct flight *dispatch_held_next(struct dispatch *dispatch,
				  const struct dispatch_consumer *consumer, uint32_t *cursor,
				  uint32_t *ret_partition);
void dispatch_held_drop(struct dispatch_consumer *consumer); // it holds nothing any more
