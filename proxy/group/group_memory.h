// What a group has in the message memory: what waits in its dispatch, and what its source has.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct backend;
struct group_home;

// With a source, which has nothing yet; `home->positions` is set.
void group_memory_open(struct group_home *home, struct backend *backend);
void group_memory_closed(struct group_home *home); // asserts that it has nothing any more
void group_memory_end(struct group_home *home);    // the group goes

// Of the source: may it have that many bytes more, and what it has.
bool group_memory_has_room(const struct group_home *home, uint64_t bytes);
void group_memory_hold(struct group_home *home, uint64_t before, uint64_t after);

// Above its tenant's share what waits in the dispatch goes back to the source and comes again
// later.
void group_memory_bound_pending(struct group_home *home);
