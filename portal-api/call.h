// One request on its way through a handler: its caller, what was sent, and the ways to answer.
//
// For the portal's thread. A handler answers once, now or in the continuation of call_query(). A
// call lives as long as its exchange.
#pragma once

#include "core/catalog/query.h"
#include "core/http/http.h"
#include "core/registry/identity.h"
#include "core/registry/registry.h"
#include "portal-api/route.h"

struct portal;

struct query_value {
	bool given;
	int64_t integer; // also of a boolean
	const char *text;
};

struct call {
	struct portal *portal;
	struct http_exchange *exchange;
	const struct route *route;
	char *params[ROUTE_PARAMS_MOST]; // in normal form C
	struct query_value query[ROUTE_QUERY_MOST];
	json_t *body;       // NULL: the route takes none
	size_t location_up; // parts at the end of the path that the Location leaves out
	const char *bearer;
	struct registry_identity who; // zero on a public route
	struct registry_actor actor;
	char actor_name[sizeof "session:" + MODEL_NAME_BYTES];
	uint64_t tenant; // of the path; 0: none in it, or no such tenant
	bool in_tenant;  // the first parameter is a tenant
	void *job;       // what call_in_background() works on; freed with the call
};

// Makes the call of an exchange: finds the route, checks token, permission, query and content type.
// Answers by itself where something is wrong.
void call_begin(struct portal *portal, struct http_exchange *exchange, size_t *ret_body_bytes);
void call_run(struct call *call); // the body is there
void call_release(void *call);

// Looks at token, tenant and permission once more, before a right is used that was read some time
// ago. False: answered like at the beginning.
bool call_still_allowed(struct call *call);

// On a public route: does the caller, who may be unauthenticated, have a permission of the
// platform?
bool call_may(const struct call *call, const char *permission);

// ---- answering

void call_json(struct call *call, unsigned status, json_t *body);         // takes `body`
void call_created(struct call *call, const char *location, json_t *body); // 201; borrows `body`
void call_empty(struct call *call);                                       // 204
void call_text(struct call *call, const char *type, const char *text, size_t size);

// A problem with a code of core/base/code.h.
void call_fail(struct call *call, enum code code, const char *fmt, ...) PRINTF_LIKE(3, 4);

// BAD_REQUEST with [{field, detail}], taken.
void call_fail_fields(struct call *call, const char *detail, json_t *errors);

// A problem on an exchange that may have no call. `extra`: members added to it, taken; may be NULL.
void call_problem(struct http_exchange *exchange, unsigned status, enum code code,
		  const char *detail, json_t *extra, const char *headers);

// Answers with what the registry said: 200, 201 with Location, 204 without a body, or a problem.
// `r` negative: the registry failed. `id_field`: the member that ends the Location after a POST.
// Deinits the result.
void call_result(struct call *call, int r, struct registry_result *result, const char *id_field);

// True when it went wrong and was answered; the result is deinited then.
bool call_refused(struct call *call, int r, struct registry_result *result);

// ---- what takes long

// Does `work` beside the portal's thread, then `done` on it, also when the client has been told
// TIMEOUT meanwhile. `job` (malloc'ed, taken) is all that `work` may touch. A call has one
// job. False: there is no memory (or `job` is NULL), answered.
typedef void (*call_background_fn)(void *job);
bool call_in_background(struct call *call, void *job, call_background_fn work,
			void (*done)(struct call *call));

// ---- asking the proxies

// `answer` is the continuation's; NULL unless code is OK.
typedef void (*call_then_fn)(struct call *call, enum code code, json_t *answer, const char *text);
void call_query(struct call *call, enum query_kind kind, json_t *parameters, call_then_fn then);
// Answers the problem of a failed query.
void call_query_failed(struct call *call, enum code code, const char *text);
