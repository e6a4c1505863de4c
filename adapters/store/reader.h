// The threads that read from a store.
#pragma once

#include "adapters/log/log.h"

struct reader;

// Starts with one thread, and has `threads` at most. 0 or negative errno. @thread start-up
int reader_start(unsigned threads, struct reader **ret);
// Runs what was given to it, then ends the threads. Accepts NULL. @thread any that may wait for a
// disk
void reader_stop(struct reader *reader);
// Calls job->run on one of the threads; the job is the caller's, and is not touched once it runs.
// @thread any
void reader_run(struct reader *reader, struct log_job *job);
