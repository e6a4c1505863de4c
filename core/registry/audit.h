// The audit log: what was done, by whom, in a chain of hashes.
#pragma once

#include "core/registry/registry.h"

struct row;
struct work;
struct registry_query;

// For acts that change nothing in the registry: kick, purge, reset, backup. `details` may be NULL.
int registry_audit_note(struct registry *registry, const struct registry_actor *actor,
			const char *action, const char *kind, const char *resource,
			const char *tenant, const json_t *details);
int registry_audit_list(struct registry *registry, const struct registry_query *query,
			struct registry_result *ret);
// Body: {ok, entries, first_bad, missing, head, head_found}. `head`: the first digits (hexadecimal,
// lower case) of the hash of an entry that must be there, as the log or the metrics told it; NULL:
// none.
int registry_audit_verify(struct registry *registry, const char *head, struct registry_result *ret);
// The number of the newest entry (0: none), and its hash.
#define REGISTRY_HASH_TEXT 65 // with its zero
uint64_t registry_audit_head(const struct registry *registry, char ret_hash[REGISTRY_HASH_TEXT]);

// ---- inside the registry

// `old` and `new` are borrowed and may be NULL.
int audit_write(struct work *work, const char *action, const char *kind, const char *resource,
		const char *tenant, const json_t *old, const json_t *new);
int audit_row(struct work *work, const char *action, enum registry_kind kind, const struct row *row,
	      const json_t *old, const json_t *new);
void audit_hash_text(const uint8_t *hash, char ret[REGISTRY_HASH_TEXT]); // AUDIT_HASH_SIZE bytes
int audit_check(struct registry *registry, bool *ret_whole);             // the chain and its end
