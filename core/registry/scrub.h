// Looking at the whole registry while it is used.
#pragma once

#include <stdbool.h>

struct registry;

// Now, on this thread, with a connection of its own: pages, indexes, every row, the audit log.
// False: something is damaged or missing, and said. @thread any
bool registry_scrub(const struct registry *registry);
// The same until *stop, which any thread may set, is true: then nothing is said. NULL: to the end.
bool registry_scrub_until(const struct registry *registry, bool *stop);
// The same on a thread of its own: a minute after the start, then once a day, until the registry is
// closed. -errno: there is no thread.
int registry_scrub_start(struct registry *registry);
// Another file has taken the place of what was looked at: what was found there is over, and the
// thread looks at once.
void registry_scrub_again(struct registry *registry);
bool registry_scrub_damaged(
	const struct registry *registry);            // the last look found something; @thread any
void registry_scrub_stop(struct registry *registry); // waits for a look that is under way
