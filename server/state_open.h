// Opens the control data: the proxy's catalog with its last good copy, and the portal's registry.
// For the main thread.
#pragma once

struct daemon;

// All return a malloc'ed sentence that says what is wrong; NULL: fine.

char *state_open_catalog(struct daemon *daemon);
char *state_open_registry(struct daemon *daemon); // and what a new installation starts with
char *state_open_offer_token(struct daemon *daemon);
