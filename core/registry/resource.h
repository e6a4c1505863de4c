// Resources: read, made, changed.
#pragma once

#include "core/registry/registry.h"

struct row;
struct work;

#define REGISTRY_MATCH_NONE 0          // no condition
#define REGISTRY_MATCH_ANY  UINT64_MAX // it must exist

// Body: the resource.
int registry_resource_get(struct registry *registry, const struct registry_ref *ref,
			  struct registry_result *ret);

// Makes a resource that is not there yet (CONFLICT otherwise). With an access key or a token the
// body holds `secret` or `token`, which cannot be read again.
int registry_resource_create(struct registry *registry, const struct registry_actor *actor,
			     enum registry_kind kind, const char *tenant, const json_t *body,
			     struct registry_result *ret);

// Makes it, or changes the members that are given; the same again changes nothing. Access keys and
// tokens are never made so. PRECONDITION_FAILED when `match` (a revision) is not the present one.
int registry_resource_put(struct registry *registry, const struct registry_actor *actor,
			  const struct registry_ref *ref, uint64_t match, const json_t *body,
			  struct registry_result *ret);

// ---- inside the registry

// work->tenant is set for a tenant's kinds. `name` is NULL when the body has it. The
// answer is the caller's.
int resource_create(struct work *work, enum registry_kind kind, const char *name,
		    const json_t *body, json_t **ret_json);
int resource_change(struct work *work, enum registry_kind kind, struct row *row, const json_t *body,
		    json_t **ret_json, bool *ret_changed);

int resource_match(struct work *work, const struct row *row, uint64_t match); // NULL: not there
