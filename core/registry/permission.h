// What each role may do over REST: one table, default deny.
//
// A row is a permission with the roles that have it. Roles of a tenant act inside their own tenant
// only: `scope` says which resources a permission is about, and permission_check() is the only
// place that says yes.
#pragma once

#include <stdbool.h>
#include <stdint.h>

//     name, value, inside one tenant
#define ROLE_TABLE(ROW)                                                                            \
	ROW(admin, ADMIN, false)                                                                   \
	ROW(operator, OPERATOR, false)                                                             \
	ROW(auditor, AUDITOR, false)                                                               \
	ROW(tenant_admin, TENANT_ADMIN, true)                                                      \
	ROW(developer, DEVELOPER, true)                                                            \
	ROW(viewer, VIEWER, true)

#define ROLE_ENUM(name, value, tenant) ROLE_##value,
enum role { ROLE_TABLE(ROLE_ENUM) ROLE_COUNT };
#undef ROLE_ENUM

enum permission_scope {
	PERMISSION_SELF,     // the caller itself
	PERMISSION_TENANT,   // resources of one tenant
	PERMISSION_PLATFORM, // everything else
};

struct permission {
	const char *name; // "topics.write"
	enum permission_scope scope;
	uint32_t roles; // bits 1 << enum role
	const char *sentence;
};

const char *const *permission_role_names(void); // in the order of the enum, ends in NULL
bool permission_role_is_tenants(enum role role);

const struct permission *permission_at(unsigned index);     // NULL past the end
const struct permission *permission_find(const char *name); // NULL: none; answer as denied

// May a caller with this role, and of tenant `own` (0: the platform), use the permission on a
// resource of tenant `target` (0: the platform's)? A false for another tenant's resource must be
// answered exactly like a missing one.
bool permission_check(const struct permission *permission, enum role role, uint64_t own,
		      uint64_t target);
