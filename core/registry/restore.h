// A copy of the registry merged with what was last known, before it takes the registry's place.
// docs/registry.md says what becomes of each kind.
#pragma once

#include "core/registry/work.h"

struct restore {
	struct registry *copy;  // what is put back: changed, in one transaction
	struct registry *known; // the last known state; NULL: nothing is known
	bool partial; // `known` was made of a catalog: no users, tokens, totals and audit log
	bool revive;  // what was revoked since comes back, and what may have been
	bool preview; // only say what would become of it
	uint64_t installation;    // that the result belongs to
	uint64_t least_id;        // no id below is given out
	const struct head *ended; // where the audit log is known to have ended; NULL: as `known`
	const json_t *found;      // what the stores hold (orphans.h); NULL: not looked at
	const char *path;         // for the audit log
};

// Body: {preview, revive, revoked, topics, unknown}. A refusal changes nothing.
int restore_merge(const struct restore *restore, const struct registry_actor *actor,
		  struct registry_result *ret);
