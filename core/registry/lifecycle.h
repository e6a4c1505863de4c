// Life of topics and groups between registry and backend, for reconcile.c.
#pragma once

#include "core/registry/registry.h"

struct work;

struct registry_lifecycle_pending {
	enum registry_kind kind; // topic or group
	uint64_t id;
	bool deleting;       // else creating, failed or growing
	bool verify;         // only ask whether the cluster has it: after a restore
	uint32_t found;      // partitions of a topic that was found so; set with the answer
	uint32_t partitions; // a topic that grows: how many it is to have; else 0
	uint64_t revision;   // a topic that was changed: the revision to take; else 0
};
// What waits for its backend and may be tried now: a topic goes only after its groups.
int registry_lifecycle_pending(struct registry *registry,
			       struct registry_lifecycle_pending *pending, size_t room,
			       size_t *ret_count);
// The backend's answer: OK makes it ready or gone; anything else is its reason, and with `failed`
// the state too.
int registry_lifecycle_settle(struct registry *registry,
			      const struct registry_lifecycle_pending *pending, enum code code,
			      const char *reason, bool failed);

// ---- inside the registry

int lifecycle_finish(
	struct work *work); // drops tenants and clusters that are going and have nothing left
