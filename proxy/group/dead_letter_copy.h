// Copies of dead letters: a group's rejected and exhausted messages, stored in its dead-letter
// topic.
#pragma once

#include "proxy/engine/dispatch.h"

struct group_home;

// Copies a delivery to the dead-letter topic, then tells the engine.
void dead_letter_copy_start(struct group_home *home, const struct delivery *delivery,
			    enum dispatch_reason reason, uint32_t attempts);
// The group goes; copies that are under way end without it.
void dead_letter_copy_forget_all(struct group_home *home);
