// What the stores of this machine hold and neither the copy nor the last known state names.
#pragma once

#include "core/registry/registry.h"
#include "core/registry/work.h"

// `found`: [{cluster, topics:[{id, incarnation, partitions, durability}], groups:[{id, incarnation,
// topic}]}]. A topic or group of the copy that is found is ready; one that the copy does not have
// gets a row of its own, `failed`, in a suspended tenant made for them. `list` is called for each
// of these.
int orphans_merge(struct work *work, const json_t *found,
		  int (*list)(void *ctx, enum registry_kind kind, const struct row *row,
			      const char *reason),
		  void *ctx);
