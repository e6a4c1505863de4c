// Lists, a page at a time.
#pragma once

#include "core/registry/registry.h"

struct registry_query {
	const char *tenant; // name; NULL: of all, or not a tenant's kind
	const char *cursor; // `next` of the page before; NULL: the first
	unsigned limit;     // entries a page, 1 to 500
	// Filters; NULL or 0: any. A list that does not know one answers BAD_REQUEST.
	const char *prefix;                    // of the name
	const char *cluster;                   // topics: name
	const char *topic;                     // groups: name
	const char *state;                     // topics and groups
	const char *role;                      // users and tokens
	const char *actor, *action, *resource; // audit
	int64_t since_ms, until_ms;            // audit
};

// Body: {items, next}, by name; the audit log newest first.
int registry_page(struct registry *registry, enum registry_kind kind,
		  const struct registry_query *query, struct registry_result *ret);
