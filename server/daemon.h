// The parts of mqpaasd wired together for its role.
#pragma once

#include "core/base/settings.h"

struct daemon;

// Starts everything, in the order in which it depends on each other. A problem is a malloc'ed
// sentence; what was started is stopped again.
char *daemon_start(struct settings *settings, struct daemon **ret);
// Applies what may change while running. `next` replaces the settings on success; on a problem
// everything stays as it was.
char *daemon_reload(struct daemon *daemon, struct settings *next);
void daemon_stop(struct daemon *daemon); // drains, then stops and frees; @thread main
void daemon_hurry(
	struct daemon *daemon); // ends a drain that runs in daemon_stop(); async-signal-safe
