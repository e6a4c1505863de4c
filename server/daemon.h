// The parts of mqpaasd wired together for its role. For the main thread.
#pragma once

#include "core/base/settings.h"

struct daemon;

// What is wrong is answered as a problem (core/base/text.h); NULL: fine.

// Whether daemon_start() would refuse these settings, without starting anything.
char *daemon_check(const struct settings *settings);
// Puts a copy back in place of the registry of a daemon that does not run, and prints what comes of
// it (core/registry/recover.h).
char *daemon_restore(struct settings *settings, const char *from, bool revive);
// Starts everything, in the order in which it depends on each other. What was started is stopped
// again when a part refuses. `settings` are borrowed.
char *daemon_start(struct settings *settings, struct daemon **ret);
// Applies from `next` what may change while running. On a problem everything stays as it was.
char *daemon_reload(struct daemon *daemon, struct settings *next);
// Stops accepting, lets clients leave and settles what is in flight. False: not all of it, because
// a second signal could be read from `signal_fd` (or the proxy did not keep its deadline); the
// process must end without daemon_free().
bool daemon_drain(struct daemon *daemon, int signal_fd);
void daemon_free(struct daemon *daemon); // drained before

// What it listens on, as bound: ("clients", "127.0.0.1:7300"), ("rest", "127.0.0.1:7080").
void daemon_each_address(const struct daemon *daemon,
			 void (*fn)(void *ctx, const char *what, const char *address), void *ctx);
