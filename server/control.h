// The daemon's part in control links: the installation's authority on the portal's side, the
// identity of a proxy that has joined on the other.
//
// What is wrong is answered as a problem (core/base/text.h); NULL: fine.
#pragma once

#include <stdbool.h>

struct daemon;

// Portal: loads the authority, or makes it; nothing without control-listen.
char *control_authority_open(struct daemon *daemon);

// Proxy: does it belong to an installation, or is it to join one?
bool control_has_joined(const struct daemon *daemon);
// Joins unless it has, and opens the installation's secrets: instead of those of a data directory
// of its own.
char *control_identity_open(struct daemon *daemon);
// Follows the portal. Waits for the configuration, 10 s at most, when there is none here yet.
char *control_follow(struct daemon *daemon);
// The proxy leaves: it follows no more, because no cluster may be opened while it ends.
void control_leave(struct daemon *daemon);
void control_close(struct daemon *daemon);
