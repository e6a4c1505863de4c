// Copies of dead letters: a group's rejected and exhausted messages, stored in its dead-letter
// topic.
#pragma once

#include "proxy/engine/dispatch.h"

struct group_home;

// Copies a delivery to the dead-letter topic, then tells the engine.
void dead_letter_copy_start(struct group_home *home, const struct delivery *delivery,
			    enum dispatch_reason reason, uint32_t attempts);
// Why the dead-letter topic refuses copies of the group; OK: it refuses none.
enum code dead_letter_copy_refused(const struct group_home *home);
// The dead-letter topic has changed: what it has refused is tried again now.
void dead_letter_copy_retry(struct group_home *home);
// What the source had handed out is void, and comes again: copies that wait are of no use.
void dead_letter_copy_drop_waiting(struct group_home *home);
// The group goes; copies that are under way end without it.
void dead_letter_copy_forget_all(struct group_home *home);
