// From a request to its handler, and from a handler to the answer.
//
// The order of the checks is the order of what an unauthenticated caller may learn: path, token,
// tenant, permission, and only then what is wrong with the request. Another tenant is answered
// exactly like one that does not exist, before any permission is looked at. All of it happens when
// the head is there: a caller without the permission cannot make the server read a body.
//
// A permission is checked when it is used. Where time passes between the first check and the use (a
// body that arrives slowly, a query to the proxies, a background job), call_still_allowed() checks
// again.
//
// Invariants: every path through a handler answers the call or leaves a query or job that will; the
// exchange is referenced while one is under way. Not here: what the routes do.

#include "portal-api/call.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/registry/identity.h"
#include "core/registry/lookup.h"
#include "portal-api/background_job.h"
#include "portal-api/body.h"
#include "portal-api/portal_query.h"
#include "portal-api/state.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <utf8proc.h>

enum { DETAIL_SIZE = 600 };

// ---- answering

static char *dump_json(const json_t *json, size_t *ret_size)
{
	char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);

	*ret_size = text ? strlen(text) : 0;
	return text;
}

static void reply_json(struct http_exchange *exchange, unsigned status, const char *type,
		       const char *headers, const json_t *json)
{
	static const char poor[] =
		"{\"type\":\"about:blank\",\"title\":\"the proxy is short of memory "
		"or descriptors\",\"status\":503,\"code\":\"OVERLOADED\",\"detail\":"
		"\"there is no memory for the answer\",\"retriable\":true}";
	struct http_response response = {
		.status = status, .content_type = type, .headers = headers};
	_cleanup_(freep) char *text = dump_json(json, &response.size);

	response.body = text;
	if (!text)
		response = (struct http_response){.status = 503,
						  .content_type = "application/problem+json",
						  .body = poor,
						  .size = sizeof poor - 1};
	http_reply(exchange, &response);
}

void call_json(struct call *call, unsigned status, json_t *body)
{
	reply_json(call->exchange, status, "application/json", NULL, body);
	json_decref(body);
}

void call_created(struct call *call, const char *location, json_t *body)
{
	char headers[256];

	snprintf(headers, sizeof headers, "Location: %s\r\n", location);
	reply_json(call->exchange, 201, "application/json", headers, body);
}

void call_empty(struct call *call)
{
	http_reply(call->exchange, &(struct http_response){.status = 204});
}

void call_text(struct call *call, const char *type, const char *text, size_t size)
{
	http_reply(call->exchange,
		   &(struct http_response){
			   .status = 200, .content_type = type, .body = text, .size = size});
}

// Whatever a client sent may be quoted in a detail; JSON needs it to be UTF-8 also when it was cut.
static json_t *safe_string(const char *text)
{
	char copy[DETAIL_SIZE];
	size_t at = 0, size = strlen(text);
	utf8proc_int32_t point;

	while (at < size && at < sizeof copy - 4) {
		utf8proc_ssize_t step = utf8proc_iterate((const utf8proc_uint8_t *)text + at,
							 (utf8proc_ssize_t)(size - at), &point);
		if (step <= 0)
			break;
		memcpy(copy + at, text + at, (size_t)step);
		at += (size_t)step;
	}
	return json_stringn(copy, at);
}

void call_problem(struct http_exchange *exchange, unsigned status, enum code code,
		  const char *detail, json_t *extra, const char *headers)
{
	json_t *problem =
		json_pack("{s:s, s:s, s:i, s:s, s:o, s:b}", "type", "about:blank", "title",
			  code_sentence(code), "status", (int)status, "code", code_name(code),
			  "detail", safe_string(detail), "retriable", code_retriable(code));

	if (extra)
		json_object_update(problem, extra);
	json_decref(extra);
	if (status == 401 && !headers)
		headers = "WWW-Authenticate: Bearer\r\n";
	reply_json(exchange, status, "application/problem+json", headers, problem);
	json_decref(problem);
}

void call_fail(struct call *call, enum code code, const char *fmt, ...)
{
	char detail[DETAIL_SIZE];
	va_list args;

	va_start(args, fmt);
	vsnprintf(detail, sizeof detail, fmt, args);
	va_end(args);
	call_problem(call->exchange, code_http(code), code, detail, NULL, NULL);
}

void call_fail_fields(struct call *call, const char *detail, json_t *errors)
{
	call_problem(call->exchange, 400, CODE_BAD_REQUEST, detail,
		     json_pack("{s:o}", "errors", errors), NULL);
}

// ---- the registry's answers

static void registry_failed(struct call *call, int r)
{
	log_error(NULL, "REGISTRY-FAILED", "%s %s: %s", call->route->method, call->route->path,
		  strerror(-r));
	call_fail(call, CODE_NOT_READY, "the registry cannot answer now: %s", strerror(-r));
}

bool call_refused(struct call *call, int r, struct registry_result *result)
{
	json_t *extra;

	if (r >= 0 && result->code == CODE_OK)
		return false;
	if (r < 0) {
		registry_failed(call, r);
	} else {
		extra = json_object();
		if (result->errors)
			json_object_set(extra, "errors", result->errors);
		if (result->affected)
			json_object_set(extra, "affected", result->affected);
		call_problem(call->exchange, code_http(result->code), result->code,
			     result->text ? result->text : code_sentence(result->code), extra,
			     NULL);
	}
	registry_result_deinit(result);
	return true;
}

static void append_escaped(char *out, size_t room, const char *part)
{
	size_t used = strlen(out);

	for (; *part && used + 4 < room; ++part) {
		unsigned char c = (unsigned char)*part;
		if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		    strchr("-._~", c))
			used += (size_t)snprintf(out + used, room - used, "%c", c);
		else
			used += (size_t)snprintf(out + used, room - used, "%%%02X", c);
	}
	out[used] = '\0';
}

// The path of what was created: the request's own, with `name` at its end after a POST.
static void make_location(const struct call *call, const json_t *name, char *out, size_t room)
{
	const struct head *head = http_head(call->exchange);
	char number[24];

	out[0] = '\0';
	for (size_t i = 0; i + call->location_up < head->segment_count; ++i) {
		strncat(out, "/", room - strlen(out) - 1);
		append_escaped(out, room, head->segments[i]);
	}
	if (strcmp(call->route->method, "POST") != 0)
		return;
	strncat(out, "/", room - strlen(out) - 1);
	snprintf(number, sizeof number, "%lld", (long long)json_integer_value(name));
	append_escaped(out, room, json_is_string(name) ? json_string_value(name) : number);
}

// Takes what `result` holds, in every case. `id_field` is the member of the body that names what
// was created.
void call_result(struct call *call, int r, struct registry_result *result, const char *id_field)
{
	char headers[4096] = "", location[3072];
	size_t used = 0;

	if (call_refused(call, r, result))
		return;
	if (result->revision)
		used = (size_t)snprintf(headers, sizeof headers, "ETag: \"%llu\"\r\n",
					(unsigned long long)result->revision);
	if (result->created) {
		make_location(call, json_object_get(result->body, id_field), location,
			      sizeof location);
		snprintf(headers + used, sizeof headers - used, "Location: %s\r\n", location);
	}
	if (result->body)
		reply_json(call->exchange, result->created ? 201 : 200, "application/json", headers,
			   result->body);
	else
		call_empty(call);
	registry_result_deinit(result);
}

// ---- asking

struct asking {
	struct call *call;
	call_then_fn then;
};

// What was read is answered only if the caller may still read it. An act was done when the query
// was sent.
static bool may_see_answer(struct call *call, enum code code)
{
	return code != CODE_OK || strcmp(call->route->method, "GET") != 0 ||
	       call_still_allowed(call);
}

static void on_answer(void *ctx, enum code code, json_t *answer, const char *text)
{
	struct asking *asking = ctx;

	if (http_answered(asking->call->exchange) || !may_see_answer(asking->call, code))
		json_decref(answer);
	else
		asking->then(asking->call, code, answer, text);
	http_unref(asking->call->exchange);
	free(asking);
}

void call_query(struct call *call, enum query_kind kind, json_t *parameters, call_then_fn then)
{
	struct asking *asking = malloc(sizeof *asking);

	if (!asking) {
		json_decref(parameters);
		call_fail(call, CODE_OVERLOADED, "there is no memory to ask the proxies");
		return;
	}
	*asking = (struct asking){.call = call, .then = then};
	http_ref(call->exchange);
	portal_query(call->portal, kind, parameters, on_answer, asking);
}

void call_query_failed(struct call *call, enum code code, const char *text)
{
	call_fail(call, code, "%s", text ? text : code_sentence(code));
}

// ---- what takes long

struct background_call {
	struct call *call;
	call_background_fn work;
	void (*done)(struct call *call);
};

// @thread executor
static void background_work(void *ctx)
{
	const struct background_call *own = ctx;

	own->work(own->call->job);
}

static void background_done(void *ctx)
{
	struct background_call *own = ctx;

	own->done(own->call);
	http_unref(own->call->exchange);
	free(own);
}

// Takes `job`: it is freed with the call (call_release()), also when this fails, so a handler never
// frees it. `work` runs on the executor and touches nothing but the job.
bool call_in_background(struct call *call, void *job, call_background_fn work,
			void (*done)(struct call *call))
{
	struct background_call *own = malloc(sizeof *own);

	call->job = job;
	if (!own || !job)
		goto no_memory;
	*own = (struct background_call){.call = call, .work = work, .done = done};
	http_ref(call->exchange);
	if (background_job_run(call->portal, background_work, background_done, own) == 0)
		return true;
	http_unref(call->exchange);
no_memory:
	free(own);
	call_fail(call, CODE_OVERLOADED, "there is no memory for the request");
	return false;
}

// ---- the request

static char *normal_form(const char *text)
{
	utf8proc_uint8_t *out = utf8proc_NFC((const utf8proc_uint8_t *)text);

	return out ? (char *)out : strdup(text);
}

// Path -> route; false: answered.
static bool find_route(const struct portal *portal, struct http_exchange *exchange,
		       struct route_match *match)
{
	const struct head *head = http_head(exchange);
	char allow[128] = "GET, HEAD, POST, PUT, DELETE, OPTIONS", headers[160];
	enum route_outcome outcome = ROUTE_NO_METHOD;

	if (!head->asterisk) {
		outcome = route_find(portal->routes, portal->route_count, head, match);
		if (outcome == ROUTE_NO_PATH) {
			call_problem(exchange, 404, CODE_NOT_FOUND,
				     "there is no such path; /docs lists all", NULL, NULL);
			return false;
		}
		route_methods(portal->routes, portal->route_count, match->route->path, allow,
			      sizeof allow);
	}
	if (outcome == ROUTE_FOUND)
		return true;
	snprintf(headers, sizeof headers, "Allow: %s\r\n", allow);
	if (strcmp(head->method, "OPTIONS") == 0)
		http_reply(exchange, &(struct http_response){.status = 204, .headers = headers});
	else
		call_problem(exchange, 405, CODE_BAD_REQUEST,
			     "this path does not know the method; Allow lists those it knows", NULL,
			     headers);
	return false;
}

static bool needs_token(const struct call *call)
{
	const struct route *route = call->route;

	return route->permission &&
	       !((route->flags & ROUTE_OPENABLE) && call->portal->config.open_metrics);
}

// NULL: there is none.
static const char *bearer_of(const struct call *call)
{
	const char *header = head_field(http_head(call->exchange), "authorization");

	if (!header || strncasecmp(header, "Bearer ", 7) != 0)
		return NULL;
	return header + 7 + strspn(header + 7, " ");
}

static bool authenticate_call(struct call *call)
{
	int r;

	call->bearer = bearer_of(call);
	if (!call->bearer) {
		call_fail(call, CODE_UNAUTHENTICATED,
			  "send 'Authorization: Bearer TOKEN' with the token of a session or of a "
			  "machine");
		return false;
	}
	r = registry_identity_authenticate(call->portal->registry, call->bearer, &call->who);
	if (r < 0) {
		registry_failed(call, r);
		return false;
	}
	if (r == REGISTRY_E_UNKNOWN) {
		call_fail(call, CODE_UNAUTHENTICATED,
			  "the token is not accepted; it may have "
			  "expired or been revoked");
		return false;
	}
	call->actor.tenant = call->who.tenant;
	call->actor.of_platform = !permission_role_is_tenants(call->who.role);
	snprintf(call->actor_name, sizeof call->actor_name, "%s:%s",
		 call->who.session ? "user" : "token", call->who.name);
	return true;
}

// Tenant first, then permission.
static bool authorize_call(struct call *call)
{
	const struct permission *permission = permission_find(call->route->permission);
	uint64_t target = call->who.tenant;

	if (call->in_tenant) {
		call->tenant = registry_lookup_tenant_id(call->portal->registry, call->params[0]);
		if (call->who.tenant && call->tenant != call->who.tenant) {
			call_fail(call, CODE_NOT_FOUND, "there is no tenant \"%s\"",
				  call->params[0]);
			return false;
		}
		target = call->tenant;
	}
	if (!permission ||
	    !permission_check(permission, call->who.role, call->who.tenant, target)) {
		call_fail(call, CODE_FORBIDDEN, "the role %s does not have the permission %s",
			  permission_role_names()[call->who.role], call->route->permission);
		return false;
	}
	// The tenant itself may be missing: PUT makes it.
	if (call->in_tenant && !call->tenant && !(call->route->flags & ROUTE_MAKES_TENANT)) {
		call_fail(call, CODE_NOT_FOUND, "there is no tenant \"%s\"", call->params[0]);
		return false;
	}
	return true;
}

bool call_may(const struct call *call, const char *permission)
{
	struct registry_identity who;
	const char *bearer = bearer_of(call);

	return bearer &&
	       registry_identity_authenticate(call->portal->registry, bearer, &who) == 0 &&
	       permission_check(permission_find(permission), who.role, who.tenant, 0);
}

bool call_still_allowed(struct call *call)
{
	uint64_t tenant = call->tenant;

	if (!needs_token(call))
		return true;
	if (!authenticate_call(call) || !authorize_call(call))
		return false;
	if (tenant && call->tenant != tenant) { // gone, and another one has its name
		call_fail(call, CODE_NOT_FOUND, "there is no tenant \"%s\"", call->params[0]);
		return false;
	}
	return true;
}

static bool is_base64url(const char *text)
{
	return strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") ==
	       strlen(text);
}

static const char *read_query_value(const struct query_rule *rule, const char *text,
				    struct query_value *ret)
{
	static _Thread_local char detail[120];
	size_t size;
	char *end;

	ret->given = true;
	ret->text = text;
	if (rule->type == QUERY_BOOLEAN) {
		ret->integer = strcmp(text, "true") == 0;
		return ret->integer || strcmp(text, "false") == 0 ? NULL : "must be true or false";
	}
	if (rule->type == QUERY_CURSOR && !is_base64url(text))
		return "must be what `next` of the page before said";
	if (rule->type == QUERY_TEXT || rule->type == QUERY_CURSOR) {
		snprintf(detail, sizeof detail, "must have %lld to %lld characters",
			 (long long)rule->min, (long long)rule->max);
		size = body_rule_characters(text);
		return size >= (size_t)rule->min && size <= (size_t)rule->max ? NULL : detail;
	}
	snprintf(detail, sizeof detail, "must be an integer from %lld to %lld",
		 (long long)rule->min, (long long)rule->max);
	if (!*text || strlen(text) > 18 || strspn(text, "0123456789") != strlen(text))
		return detail;
	ret->integer = strtoll(text, &end, 10);
	return ret->integer >= rule->min && ret->integer <= rule->max ? NULL : detail;
}

static bool read_query(struct call *call)
{
	const struct head *head = http_head(call->exchange);
	const struct query_rule *rules = call->route->query;
	json_t *errors = json_array();

	for (size_t r = 0; rules && rules[r].name; ++r)
		call->query[r].integer = rules[r].initial;
	for (size_t i = 0; i < head->query_count; ++i) {
		const char *why = "is not a parameter of this request";
		for (size_t r = 0; rules && rules[r].name; ++r) {
			if (strcmp(rules[r].name, head->query[i].name) == 0)
				why = read_query_value(&rules[r], head->query[i].value,
						       &call->query[r]);
		}
		if (why)
			body_rule_fault(errors, head->query[i].name, why);
	}
	if (json_array_size(errors)) {
		call_fail_fields(call, "a query parameter is wrong", errors);
		return false;
	}
	json_decref(errors);
	return true;
}

static bool check_content(struct call *call)
{
	const char *type = head_field(http_head(call->exchange), "content-type");
	const char *encoding = head_field(http_head(call->exchange), "content-encoding");

	if (!(call->route->flags & ROUTE_JSON))
		return true;
	if (encoding && strcasecmp(encoding, "identity") != 0) {
		call_problem(call->exchange, 415, CODE_BAD_REQUEST,
			     "the body must not be compressed", NULL, NULL);
		return false;
	}
	if (!type || strncasecmp(type, "application/json", 16) != 0 || !strchr("; \t", type[16])) {
		call_problem(call->exchange, 415, CODE_BAD_REQUEST,
			     "the body must be application/json", NULL, NULL);
		return false;
	}
	return true;
}

static struct call *call_new(struct portal *portal, struct http_exchange *exchange,
			     const struct route_match *match)
{
	struct call *call = calloc(1, sizeof *call);

	if (!call)
		return NULL;
	call->portal = portal;
	call->exchange = exchange;
	call->route = match->route;
	call->in_tenant = match->in_tenant;
	call->actor =
		(struct registry_actor){.name = call->actor_name, .address = http_peer(exchange)};
	http_set_user(exchange, call);
	for (size_t i = 0; i < match->param_count; ++i) {
		call->params[i] = normal_form(match->params[i]);
		if (!call->params[i])
			return NULL;
	}
	return call;
}

void call_begin(struct portal *portal, struct http_exchange *exchange, size_t *ret_body_bytes)
{
	struct route_match match;
	struct call *call;
	unsigned flags;

	if (!find_route(portal, exchange, &match))
		return;
	call = call_new(portal, exchange, &match);
	if (!call) {
		call_problem(exchange, 503, CODE_OVERLOADED, "there is no memory for the request",
			     NULL, NULL);
		return;
	}
	if (call->route->flags & ROUTE_RESERVED)
		http_set_reserved(exchange);
	if (needs_token(call) && (!authenticate_call(call) || !authorize_call(call)))
		return;
	if (!check_content(call) || !read_query(call))
		return;
	flags = call->route->flags;
	*ret_body_bytes = !(flags & ROUTE_JSON) ? 0
			  : flags & ROUTE_LARGE ? portal->config.definitions_bytes
						: portal->config.body_bytes;
}

static bool read_body(struct call *call)
{
	const struct body_limits large = {.tokens = 4000000, .depth = 16};
	char why[BODY_WHY_SIZE], detail[BODY_WHY_SIZE + 40];
	json_t *errors;
	size_t size;
	const char *text = http_body(call->exchange, &size);
	int r = body_parse(text, size,
			   call->route->flags & ROUTE_LARGE ? &large : &body_limits_default,
			   &call->body, why);

	if (r) {
		snprintf(detail, sizeof detail, "the body is not taken: %s", why);
		call_problem(call->exchange, r == -E2BIG ? 413 : 400,
			     r == -E2BIG ? CODE_TOO_LARGE : CODE_BAD_REQUEST, detail, NULL, NULL);
		return false;
	}
	if (!call->route->body)
		return true;
	errors = json_array();
	if (!body_rule_check(call->route->body, call->body, errors)) {
		call_fail_fields(call, "the body has wrong fields", errors);
		return false;
	}
	json_decref(errors);
	return true;
}

void call_run(struct call *call)
{
	bool has_body = call->route->flags & ROUTE_JSON;

	if (!has_body || (call_still_allowed(call) && read_body(call)))
		call->route->handle(call);
}

void call_release(void *user)
{
	struct call *call = user;

	for (size_t i = 0; i < ROUTE_PARAMS_MOST; ++i)
		free(call->params[i]);
	json_decref(call->body);
	free(call->job);
	free(call);
}
