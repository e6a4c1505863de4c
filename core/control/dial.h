// Connections to a portal's control address.
#pragma once

// A socket that is connecting, non-blocking. Waits for the resolver only. -errno; -EHOSTUNREACH:
// the name is not known; -EINVAL: not HOST:PORT.
int dial_start(const char *address);
