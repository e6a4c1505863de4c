// Authentication of callers: users, their sessions and passwords, tokens of machines.
#pragma once

#include "core/registry/permission.h"
#include "core/registry/registry.h"

struct registry_identity {
	bool session; // else a machine's token
	uint64_t id;  // of the user or token
	uint64_t tenant;
	enum role role;
	int64_t expires_ms; // 0: never
	char name[MODEL_NAME_BYTES + 1];
	char tenant_name[MODEL_NAME_BYTES + 1]; // "" for the platform
};

// The one-time token for the first user, made anew at every call; an earlier one is void. Positive
// REGISTRY_E_BOOTSTRAPPED: there is a user already.
enum { REGISTRY_E_BOOTSTRAPPED = 1 };
#define REGISTRY_TOKEN_SIZE 48 // with its zero
int registry_identity_bootstrap_token(struct registry *registry, char ret[REGISTRY_TOKEN_SIZE]);
bool registry_identity_bootstrapped(struct registry *registry);

// Whether a password is a user's takes tens of milliseconds of CPU by intent: limit how many are
// tried. So it goes in three steps: what the user has is looked up, the password is compared with
// it on any thread, and what needs the password is done with the check in hand. An unknown user, a
// wrong password and a password changed in between end alike.
struct registry_identity_password {
	char encoded[160]; // "": the user is not known
	bool fits;
};
int registry_identity_password_look(struct registry *registry, const char *user,
				    struct registry_identity_password *ret);
void registry_identity_password_compare(struct registry_identity_password *check,
					const char *password); // @thread any

// Each ends in a session; body {token, expires_ms, user, role, tenant, break_glass}.
// UNAUTHENTICATED says nothing about which part was wrong.
int registry_identity_bootstrap(struct registry *registry, const char *address, const char *token,
				const char *user, const char *password,
				struct registry_result *ret);
int registry_identity_login(struct registry *registry, const char *address, const char *user,
			    const struct registry_identity_password *check,
			    struct registry_result *ret);

// `bearer` is a session's or a machine's token. Positive REGISTRY_E_UNKNOWN: there is no
// such token, or it is expired or disabled.
enum { REGISTRY_E_UNKNOWN = 1 };
int registry_identity_authenticate(struct registry *registry, const char *bearer,
				   struct registry_identity *ret);
int registry_identity_logout(struct registry *registry, const char *bearer);
// `old` is the check of the session's user. Ends the user's other sessions.
int registry_identity_password_change(struct registry *registry, const struct registry_actor *actor,
				      const char *bearer,
				      const struct registry_identity_password *old,
				      const char *new_password, struct registry_result *ret);
