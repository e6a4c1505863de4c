// A registry put back while the daemon does not run, or found to be older than what lies beside it.
#pragma once

#include "core/registry/registry.h"

struct registry_recovery {
	const char *path; // of the registry
	const char *from; // the copy to put back; `path` itself: it is the copy
	const struct seal_key *key;
	struct catalog *catalog; // the last good copy; NULL: none
	const char *audit_head;  // as registry_config
	uint64_t installation;   // of stores that hold something; 0: there are none
	uint64_t least_id;       // no id below is given out
	const json_t *found;     // what the stores hold, as in restore.h; NULL: not looked at
	bool revive;
	int64_t (*now_ms)(void); // NULL: the real one
};

// Afterwards `path` is the merged copy; what was there is beside it, its name in *ret_aside
// (malloc'ed; NULL: nothing was there). *ret_report is the body of registry_backup_restore(). On
// failure everything is as it was, with a malloc'ed sentence. The caller owns the data directory.
int registry_recover(const struct registry_recovery *recovery, json_t **ret_report,
		     char **ret_aside, char **ret_error);

// Finishes a restore that a crash cut short behind its commitment, and removes what one that was
// cut short before has left; only `path`, `key` and `audit_head` count. 1: it did, and *ret_aside
// is as above; 0: there was none. Errors as above.
int registry_recover_resume(const struct registry_recovery *recovery, char **ret_aside,
			    char **ret_error);

// The registry that a process left behind is older than the catalog says: a copy was put back.
bool registry_recover_is_older(struct registry *registry, struct catalog *catalog);
