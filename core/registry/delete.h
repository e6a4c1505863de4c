// Resources go, with what hangs on them.
#pragma once

#include "core/registry/registry.h"

struct registry_delete {
	uint64_t match;
	bool force;   // also what uses it
	bool preview; // only say what would go; body {in_use, affected}
};

// IN_USE with `affected` when something would go with it and force is not set. A topic or group
// passes through state "deleting" until its backend has let it go.
int registry_delete(struct registry *registry, const struct registry_actor *actor,
		    const struct registry_ref *ref, const struct registry_delete *how,
		    struct registry_result *ret);

// ---- inside the registry

int delete_continue(struct registry *registry); // with what a deletion left for later
