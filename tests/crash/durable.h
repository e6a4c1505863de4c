// No OK before what it covers is durable, of everything that the store's committers do besides
// appending: commits of positions with their rows, changes of topics and groups.
//
// Linked with --wrap=committer_run. A job may end well only when all that was written to the D2
// file is durable; an answer may be OK only when a job that began after its question has ended.
// The D1 file promises nothing at a power cut, so of its jobs only the order counts.
#pragma once

#include <stdbool.h>
#include <stddef.h>

// From here on the next answer of the harness that is OK is looked at. A question that changes
// something, or the settle that is waited for, comes next; nothing else of the caller's is under
// way.
void durable_ask(void);
size_t durable_early(void);    // jobs and answers that came too early. @thread any
size_t durable_answered(void); // answers that were looked at. @thread any
