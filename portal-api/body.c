// Reads JSON bodies.
//
// A parser that builds a tree needs up to 79 times the size of a hostile body. So a scanner that
// builds nothing runs first and bounds what the tree can cost: tokens and depth (the server bounds
// the size). It keeps brackets on a small stack and recognises strings; the parser checks the rest
// of the grammar.
//
// Invariant: a body is parsed only if the scanner accepted it. Not here: which members a body may
// have (body_rule.c).

#include "portal-api/body.h"

#include "core/base/util.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

enum { DEPTH_MOST = 64 };

const struct body_limits body_limits_default = {.tokens = 8192, .depth = 16};

struct scan {
	const char *at, *end;
	char closing[DEPTH_MOST];
	unsigned depth;
	size_t tokens;
};

static bool scan_string(struct scan *scan)
{
	for (++scan->at; scan->at < scan->end; ++scan->at) {
		if (*scan->at == '"') {
			++scan->at;
			return true;
		}
		if (*scan->at == '\\')
			++scan->at;
	}
	return false;
}

// A number, true, false or null, or garbage of the same length: one token.
static void scan_word(struct scan *scan)
{
	while (scan->at < scan->end && !strchr(" \t\r\n,:\"[]{}", *scan->at))
		++scan->at;
}

// 0: go on; positive: the limit that is passed; negative: not JSON.
static int scan_step(struct scan *scan, const struct body_limits *limits, const char **why)
{
	char c = *scan->at;

	switch (c) {
	case ' ':
	case '\t':
	case '\r':
	case '\n':
	case ',':
	case ':': ++scan->at; return 0;
	case '}':
	case ']':
		*why = "a bracket closes what is not open";
		if (scan->depth == 0 || scan->closing[scan->depth - 1] != c)
			return -EINVAL;
		--scan->depth;
		++scan->at;
		return 0;
	case '{':
	case '[':
		*why = "the body is nested too deeply";
		if (scan->depth == MIN(limits->depth, (unsigned)DEPTH_MOST))
			return -E2BIG;
		scan->closing[scan->depth++] = c == '{' ? '}' : ']';
		++scan->at;
		break;
	case '"':
		*why = "a string does not end";
		if (!scan_string(scan))
			return -EINVAL;
		break;
	case '\0': *why = "the body has a NUL byte"; return -EINVAL;
	default: scan_word(scan);
	}
	*why = "the body has too many values";
	return ++scan->tokens > limits->tokens ? -E2BIG : 0;
}

int body_check(const char *text, size_t size, const struct body_limits *limits,
	       const char **ret_why)
{
	struct scan scan = {.at = text, .end = text + size};
	int r;

	while (scan.at < scan.end) {
		r = scan_step(&scan, limits, ret_why);
		if (r < 0)
			return r;
	}
	*ret_why = "a bracket is not closed";
	return scan.depth ? -EINVAL : 0;
}

int body_parse(const char *text, size_t size, const struct body_limits *limits, json_t **ret,
	       char why[BODY_WHY_SIZE])
{
	const char *reason = "";
	json_error_t error;
	json_t *body;
	int r;

	r = body_check(text, size, limits, &reason);
	snprintf(why, BODY_WHY_SIZE, "%s", reason);
	if (r)
		return r;
	body = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
	if (!body) {
		snprintf(why, BODY_WHY_SIZE, "line %d, column %d: %s", error.line, error.column,
			 error.text);
		return -EINVAL;
	}
	if (!json_is_object(body)) {
		snprintf(why, BODY_WHY_SIZE, "the body is not a JSON object");
		json_decref(body);
		return -EINVAL;
	}
	*ret = body;
	return 0;
}
