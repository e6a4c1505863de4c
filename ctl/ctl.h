// What the parts of mqpaasctl share: the invocation, its context, and how to fail.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum output_format { OUTPUT_TABLE, OUTPUT_JSON, OUTPUT_YAML };

// Where and as whom: one named entry of the contexts file, overridden by the environment, then by
// options.
struct context {
	char *name;
	char *url;        // of the portal, e.g. "http://127.0.0.1:7080"
	char *token;      // bearer token
	char *ca_file;    // PEM, for https and tls://
	char *addresses;  // of the proxies, comma separated
	char *access_key; // for produce, consume and perf
	char *secret;
	char *tenant; // default of commands that take --tenant

	char *token_url; // where the entry's own token belongs; NULL: the token is not the entry's
};

struct ctl {
	struct context context;
	enum output_format format;
	bool quiet;
	bool yes; // do not ask before something is lost
};

// Exit statuses, stable for scripts.
enum {
	CTL_OK = 0,
	CTL_FAILED = 1,  // the server refused or something went wrong
	CTL_USAGE = 2,   // the command line is wrong
	CTL_DOWN = 3,    // the server cannot be reached
	CTL_MISSING = 4, // no such resource
};

// "mqpaasctl: …" to standard error; returns `status` so that callers can `return ctl_fail(…)`.
int ctl_fail(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
