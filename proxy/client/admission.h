// Whether an authenticated client is admitted.
#pragma once

#include "core/base/code.h"

struct conn;

// What the client says of itself.
struct admission_client {
	const char *name, *version, *id;
};

// OK: the connection is one of its tenant's and its window is open. Else why not; *ret_text
// (static) may be left alone.
enum code admission_admit(struct conn *conn, const struct admission_client *client,
			  const char **ret_text);
