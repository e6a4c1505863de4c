// Routes of the REST interface: what a row of the table says, and how a request finds its row.
#pragma once

#include "core/http/head.h"
#include "portal-api/body_rule.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct call;

enum { ROUTE_PARAMS_MOST = 2, ROUTE_QUERY_MOST = 8 };

// A cursor is a text of the base64url alphabet.
enum query_type { QUERY_INTEGER, QUERY_BOOLEAN, QUERY_TEXT, QUERY_CURSOR };

struct query_rule {
	const char *name; // NULL: the end
	enum query_type type;
	int64_t min, max; // of an integer; characters of a text
	int64_t initial;  // of an integer or boolean that is not given
};

enum route_flag {
	ROUTE_JSON = 1,         // takes a JSON object, checked by `body`; NULL: by the registry
	ROUTE_LARGE = 2,        // that may be as large as a definitions document
	ROUTE_MATCH = 4,        // understands If-Match
	ROUTE_OPENABLE = 16,    // needs no token when the configuration says so
	ROUTE_MAKES_TENANT = 8, // the tenant of the path need not exist
	ROUTE_RESERVED = 32,    // is answered also when as many requests are in work as may be
};

struct route {
	const char *method;
	const char *path;       // "/api/v1/tenants/{tenant}"
	const char *permission; // row of core/registry/permission.h; NULL: no token needed
	void (*handle)(struct call *call);
	const struct body_rule *body;
	const struct query_rule *query;
	unsigned flags;
	const char *sentence;
};

enum route_outcome { ROUTE_FOUND, ROUTE_NO_PATH, ROUTE_NO_METHOD };

struct route_match {
	const struct route *route; // with NO_METHOD: any route of that path
	const char *params[ROUTE_PARAMS_MOST];
	size_t param_count;
	bool in_tenant; // the first parameter is a tenant
};

// HEAD is found as GET. Literal parts win over parameters.
enum route_outcome route_find(const struct route *table, size_t count, const struct head *head,
			      struct route_match *ret);

// "GET, HEAD, PUT, OPTIONS": the methods of a route's path.
void route_methods(const struct route *table, size_t count, const char *path, char *out,
		   size_t size);
