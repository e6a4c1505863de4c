// One REST call to the portal.
#pragma once

#include "ctl/ctl.h"

struct rest_answer {
	long status;  // HTTP
	json_t *body; // NULL when there is none
	char *text;   // the body as it came, when it is not JSON
	char *etag;   // NULL when there is none
};

// `path` begins with '/'. `body` is borrowed and may be NULL; `if_match` may be NULL. 0 with *ret
// filled, whatever the status; else a CTL_ exit status after a message was printed.
int rest_call(const struct context *context, const char *method, const char *path,
	      const json_t *body, const char *if_match, struct rest_answer *ret);
void rest_answer_deinit(struct rest_answer *answer);

// Prints the problem of a refused call and returns the exit status for it.
int rest_fail(const struct rest_answer *answer);

char *rest_escape(const char *text); // percent-encoded for a path or query; malloc'ed
