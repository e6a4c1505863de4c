// A client of the service made from the context, for produce, consume and perf.
#pragma once

#include "ctl/ctl.h"

#include <mqpaas/mqpaas.h>

// Connected and authenticated, or CTL_ exit status after a message.
int session_open(const struct context *context, struct mqp_client **ret);

// "mqpaasctl: doing: CODE: sentence"; returns the exit status for the code.
int session_fail(const char *doing, enum mqp_code code);

extern volatile int
	session_interrupted; // set by the first SIGINT or SIGTERM; the second one ends the process
void session_catch_signals(void);
