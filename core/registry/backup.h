// Copies of a registry: made, taken in, put back.
#pragma once

#include "core/registry/registry.h"

// A consistent copy while running, of what was committed when it began. -EEXIST: the file is there
// already. Note it in the audit log. @thread any, one call at a time for a path
int registry_backup(const struct registry *registry, const char *path);

// A restore takes two steps. First the backup is copied beside the registry and the copy is looked
// at as a whole: -EUCLEAN, -ENOTSUP and others as registry_open() when it cannot be used, with a
// malloc'ed sentence. @thread any, one call at a time
int registry_backup_restore_prepare(const struct registry *registry, const char *path,
				    char **ret_error);
// Then the copy is merged with the registry (docs/registry.md), takes its place and is published;
// ids and revisions go on above both. Sessions end. Body: {preview, revive, revoked:[{kind, tenant,
// name, since}], topics:[{kind, tenant, name, reason}], unknown:[{kind, tenant, name, reason}]}.
struct registry_backup_restore_how {
	const char *path; // for the audit log
	bool revive;      // what was revoked since the copy comes back
	bool preview;     // nothing is done
};
int registry_backup_restore(struct registry *registry, const struct registry_actor *actor,
			    const struct registry_backup_restore_how *how,
			    struct registry_result *ret);
void registry_backup_restore_abandon(const struct registry *registry); // instead of the second step

// ---- for restores of another kind

// Copies the registry in file `from` to `to`, and looks at the copy as a whole: pages, digest,
// rows, audit log, credentials that `key` opens. Errors as registry_open(), with a sentence or
// without.
int backup_take(const struct seal_key *key, const char *from, const char *to, char **ret_error);
