// The table of permissions: which roles have each. A role may do nothing that the table does not
// give it.

#include "core/registry/permission.h"

#include "core/base/util.h"

#define R(value) (1u << ROLE_##value)

#define ALL      (R(ADMIN) | R(OPERATOR) | R(AUDITOR) | R(TENANT_ADMIN) | R(DEVELOPER) | R(VIEWER))
#define PLATFORM (R(ADMIN) | R(OPERATOR) | R(AUDITOR))
#define OPERATE  (R(ADMIN) | R(OPERATOR))
#define MANAGE   (OPERATE | R(TENANT_ADMIN))
#define DEVELOP  (MANAGE | R(DEVELOPER))

// clang-format off
static const struct permission permissions[] = {
	{"me.read", PERMISSION_SELF, ALL, "See one's identity and permissions."},
	{"me.write", PERMISSION_SELF, ALL, "Change one's own password, log out."},
	{"permissions.read", PERMISSION_SELF, ALL, "See this table."},
	{"system.read", PERMISSION_SELF, ALL, "See version and uptime."},
	{"metrics.read", PERMISSION_PLATFORM, PLATFORM, "Scrape metrics."},
	{"clusters.read", PERMISSION_PLATFORM, PLATFORM, "See clusters and how they are doing."},
	{"clusters.write", PERMISSION_PLATFORM, OPERATE, "Register, change and remove clusters."},
	{"clusters.probe", PERMISSION_PLATFORM, OPERATE, "Try a cluster now."},
	{"clusters.import", PERMISSION_PLATFORM, OPERATE,
	 "See what lies on a cluster, and take it under a tenant."},
	{"tenants.read", PERMISSION_TENANT, ALL, "See a tenant and its limits."},
	{"tenants.write", PERMISSION_TENANT, OPERATE, "Make, limit, suspend and remove tenants."},
	{"keys.read", PERMISSION_TENANT, ALL, "See access keys, never their secrets."},
	{"keys.write", PERMISSION_TENANT, MANAGE, "Make, rotate, change and remove access keys; in a guarded tenant a platform role only "
	 "takes away."},
	{"operator_access.read", PERMISSION_TENANT, ALL,
	 "See whether platform roles may make what opens a tenant."},
	{"operator_access.grant", PERMISSION_TENANT, R(TENANT_ADMIN),
	 "Allow platform roles, for a while, to make a tenant's keys, tokens and passwords."},
	{"operator_access.break_glass", PERMISSION_TENANT, R(ADMIN),
	 "Set the password of a tenant's administrator without its leave, which it is told."},
	{"accounts.read", PERMISSION_TENANT, R(ADMIN) | R(AUDITOR) | R(TENANT_ADMIN),
	 "See the users and tokens of a tenant."},
	{"accounts.revoke", PERMISSION_TENANT, R(ADMIN) | R(TENANT_ADMIN),
	 "Remove users and tokens of a tenant."},
	{"topics.read", PERMISSION_TENANT, ALL, "See topics."},
	{"topics.write", PERMISSION_TENANT, DEVELOP, "Make, change and remove topics."},
	{"topics.purge", PERMISSION_TENANT, MANAGE, "Delete the messages of a topic."},
	{"messages.read", PERMISSION_TENANT, DEVELOP, "See stored messages without their bodies."},
	{"messages.read_bodies", PERMISSION_TENANT, R(TENANT_ADMIN) | R(DEVELOPER),
	 "Read bodies too; not even an administrator of the platform has it."},
	{"groups.read", PERMISSION_TENANT, ALL, "See groups and their backlog."},
	{"groups.write", PERMISSION_TENANT, DEVELOP, "Make, change and remove groups."},
	{"groups.reset", PERMISSION_TENANT, MANAGE, "Move or empty a group."},
	{"stats.read", PERMISSION_TENANT, ALL, "See rates and counts of a tenant."},
	{"clients.read", PERMISSION_TENANT, ALL, "See a tenant's connected clients."},
	{"clients.kick", PERMISSION_TENANT, MANAGE, "Close a tenant's connections."},
	{"audit.read", PERMISSION_TENANT, PLATFORM | R(TENANT_ADMIN), "Read a tenant's audit log."},
	{"platform.stats", PERMISSION_PLATFORM, PLATFORM, "See rates and counts of everybody."},
	{"platform.clients", PERMISSION_PLATFORM, PLATFORM, "See everybody's clients."},
	{"platform.audit", PERMISSION_PLATFORM, PLATFORM, "Read and verify the whole audit log."},
	{"users.read", PERMISSION_PLATFORM, R(ADMIN) | R(AUDITOR), "See users."},
	{"users.write", PERMISSION_PLATFORM, R(ADMIN), "Make, change and remove users; as for access keys."},
	{"tokens.read", PERMISSION_PLATFORM, R(ADMIN) | R(AUDITOR), "See tokens of machines."},
	{"tokens.write", PERMISSION_PLATFORM, R(ADMIN), "Make and revoke tokens of machines; as for access keys."},
	{"proxies.read", PERMISSION_PLATFORM, PLATFORM, "See proxies and how they are doing."},
	{"proxies.write", PERMISSION_PLATFORM, R(ADMIN), "Invite and remove proxies."},
	{"definitions.read", PERMISSION_PLATFORM, OPERATE, "Export definitions."},
	{"definitions.write", PERMISSION_PLATFORM, R(ADMIN), "Import definitions."},
	{"backups.read", PERMISSION_PLATFORM, OPERATE, "See backups."},
	{"backups.write", PERMISSION_PLATFORM, OPERATE, "Make backups."},
	{"backups.restore", PERMISSION_PLATFORM, R(ADMIN), "Restore a backup."},
};
// clang-format on

#define ROLE_NAME(name, value, tenant) #name,
static const char *const names[] = {ROLE_TABLE(ROLE_NAME) NULL};
#undef ROLE_NAME

#define ROLE_TENANT(name, value, tenant) tenant,
static const bool tenants[] = {ROLE_TABLE(ROLE_TENANT)};
#undef ROLE_TENANT

const char *const *permission_role_names(void)
{
	return names;
}

bool permission_role_is_tenants(enum role role)
{
	return tenants[role];
}

const struct permission *permission_at(unsigned index)
{
	return index < ARRAY_SIZE(permissions) ? &permissions[index] : NULL;
}

const struct permission *permission_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(permissions); ++i)
		if (strcmp(permissions[i].name, name) == 0)
			return &permissions[i];
	return NULL;
}

bool permission_check(const struct permission *permission, enum role role, uint64_t own,
		      uint64_t target)
{
	if (!permission || (unsigned)role >= ROLE_COUNT || !(permission->roles & 1u << role))
		return false;
	if (permission->scope == PERMISSION_SELF || !permission_role_is_tenants(role))
		return true;
	return permission->scope == PERMISSION_TENANT && own != 0 && own == target;
}
