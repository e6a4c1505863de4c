// What a platform role may do to what opens a tenant: its keys, tokens and passwords.
#pragma once

#include "core/registry/registry.h"

struct row;
struct work;

// Body: {guarded_since_ms, granted_until_ms, granted_by, reason, break_glass}; guarded from the
// first login of an administrator of the tenant on.
int registry_operator_access(struct registry *registry, const char *tenant,
			     struct registry_result *ret);
// The tenant allows it from now on for valid_ms, or no longer. Body as above.
int registry_operator_access_grant(struct registry *registry, const struct registry_actor *actor,
				   const char *tenant, uint64_t valid_ms, const char *reason,
				   struct registry_result *ret);
int registry_operator_access_withdraw(struct registry *registry, const struct registry_actor *actor,
				      const char *tenant, struct registry_result *ret);
// Without the tenant's leave: `user` becomes an enabled administrator of it with this password, its
// sessions end, and the tenant is told for ever. Body as above.
struct registry_operator_access_break_glass {
	const char *user, *password, *reason;
};
int registry_operator_access_break_glass(struct registry *registry,
					 const struct registry_actor *actor, const char *tenant,
					 const struct registry_operator_access_break_glass *how,
					 struct registry_result *ret);
// How often the audit log says that it was done.
uint64_t registry_operator_access_glass_broken(struct registry *registry);

// ---- inside the registry

int operator_access_login(struct work *work, const struct row *user); // the guard begins
int operator_access_check(struct work *work, enum registry_kind kind,
			  const struct row *row); // is made, or rotated
int operator_access_check_change(struct work *work, enum registry_kind kind, const struct row *old,
				 const struct row *row, json_t *before, json_t *after, bool hidden);
int operator_access_broken(struct work *work, uint64_t tenant, json_t **ret); // null: never
int operator_access_verify(struct work *work, uint64_t tenant); // 1: it has a row; -EUCLEAN
// A restore: the guard is as it is `known` (NULL: not at all), and a leave that was withdrawn since
// the copy stays so.
int operator_access_restore(struct work *work, struct work *known, uint64_t tenant, bool revive,
			    bool *ret_withdrawn);
