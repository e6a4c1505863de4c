// Finds the route of a request in the table of routes.
//
// Of several paths that match, the one with the most literal parts wins: clients/kick is not taken
// for a client named kick. HEAD is answered by the route of GET. A path that exists without the
// request's method is told from one that does not exist. Not here: permissions (call.c).

#include "portal-api/route.h"

#include "core/base/util.h"

#include <stdio.h>

static bool part_equals(const char *part, size_t size, const char *text)
{
	return strlen(text) == size && memcmp(part, text, size) == 0;
}

// The number of literal parts + 1, or 0: does not match.
static unsigned match_path(const char *path, const struct head *head, struct route_match *ret)
{
	unsigned literals = 1;
	size_t index = 0;

	ret->param_count = 0;
	ret->in_tenant = false;
	for (const char *part = path; *part; ++index) {
		size_t size = strcspn(++part, "/");

		if (index == head->segment_count)
			return 0;
		if (*part == '{') {
			ret->in_tenant |= part_equals(part, size, "{tenant}");
			ret->params[ret->param_count++] = head->segments[index];
		} else if (part_equals(part, size, head->segments[index])) {
			literals += 1;
		} else {
			return 0;
		}
		part += size;
	}
	return index == head->segment_count ? literals : 0;
}

enum route_outcome route_find(const struct route *table, size_t count, const struct head *head,
			      struct route_match *ret)
{
	const char *method = strcmp(head->method, "HEAD") == 0 ? "GET" : head->method;
	enum route_outcome outcome = ROUTE_NO_PATH;
	unsigned best = 0;

	if (head->trailing_slash)
		return ROUTE_NO_PATH;
	for (size_t i = 0; i < count; ++i) {
		struct route_match match = {.route = &table[i]};
		unsigned literals = match_path(table[i].path, head, &match);
		bool right = strcmp(table[i].method, method) == 0;

		if (literals > best || (literals && literals == best && right)) {
			best = literals;
			*ret = match;
			outcome = right ? ROUTE_FOUND : ROUTE_NO_METHOD;
		}
	}
	return outcome;
}

void route_methods(const struct route *table, size_t count, const char *path, char *out,
		   size_t size)
{
	size_t used = 0;

	out[0] = '\0';
	for (size_t i = 0; i < count; ++i) {
		if (strcmp(table[i].path, path) == 0 && used < size)
			used += (size_t)snprintf(out + used, size - used, "%s, %s", table[i].method,
						 strcmp(table[i].method, "GET") == 0 ? "HEAD, "
										     : "");
	}
	if (used < size)
		snprintf(out + used, size - used, "OPTIONS");
}
