// What the routes of every resource have in common: list, create, read, put and delete through the
// registry.
#pragma once

#include "core/registry/page.h"
#include "portal-api/call.h"

// Places of the query parameters every list has, and every delete.
enum { LIST_LIMIT, LIST_CURSOR, LIST_PREFIX, LIST_FILTER };
enum { DELETE_FORCE, DELETE_PREVIEW };

// Of the last parameter of the path; `tenant` is the first when the kind belongs to one.
struct registry_ref crud_ref(const struct call *call, enum registry_kind kind);

// Fills in what every list has.
struct registry_query crud_query(const struct call *call);

void crud_list(struct call *call, enum registry_kind kind, const struct registry_query *query);
void crud_create(struct call *call, enum registry_kind kind, const char *id_field);
void crud_get(struct call *call, enum registry_kind kind);
void crud_put(struct call *call, enum registry_kind kind);
void crud_delete(struct call *call, enum registry_kind kind);

// The id for a query to the proxies; 0: there is none, answered.
uint64_t crud_id(struct call *call, enum registry_kind kind);

// Notes an act that the registry does not see by itself. False: it could not, answered.
bool crud_note(struct call *call, const char *action, const char *kind, const char *name,
	       const json_t *details);
