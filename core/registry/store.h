// Rows of the registry: found, written and shown. Results are as in work.h.
#pragma once

#include "core/registry/registry.h"
#include "core/registry/work.h"

#define STORE_CHECKED_BYTES (64 << 20) // a file up to this size is checked when it is opened
#define STORE_GONE_KEPT     100000     // revisions for which deltas can be made

int store_make_private(const char *path); // makes the file, readable by its owner only
// What a file holds, whatever its size: 0, or -EUCLEAN and said.
int store_check_pages(struct db *db);
int store_check_rows(struct registry *registry, enum registry_kind kind);

// 1: it is there; 0: it is not.
int store_find(struct work *work, enum registry_kind kind, uint64_t tenant, const char *name,
	       struct row *ret);
int store_load(struct work *work, enum registry_kind kind, uint64_t id, struct row *ret);
// The row a reference names; work->tenant is set on the way. 1, 0, or STORE_REFUSED.
enum { STORE_REFUSED = 2 };
int store_locate(struct work *work, const struct registry_ref *ref, struct row *ret);
// The same, but refuses with NOT_FOUND, also what is going.
int store_resolve(struct work *work, const struct registry_ref *ref, struct row *ret);
int store_tenant(struct work *work, const char *name); // sets work->tenant; refuses

int store_insert(struct work *work, enum registry_kind kind, struct row *row);
int store_update(struct work *work, enum registry_kind kind, struct row *row);
int store_drop(struct work *work, enum registry_kind kind, uint64_t id);
uint64_t store_new_id(struct work *work);

json_t *store_json(struct work *work, enum registry_kind kind, const struct row *row);
struct json_names store_names(struct work *work);

// What something is called, in the arena; NULL: none.
const char *store_name(struct work *work, enum registry_kind kind, uint64_t id);
const char *store_tenant_name(struct work *work, uint64_t tenant); // in the arena; NULL: platform
