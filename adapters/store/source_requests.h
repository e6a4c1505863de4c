// What an open source asks of its group (adapters/log/log.h): its cursors, commits of them, and
// what is due in its retry store. A request belongs to the source and is filled here; its task is
// posted to its loop once, also when it fails. @thread any
#pragma once

#include "adapters/log/log.h"

struct durable_log;

// NOT_FOUND: the group is not there. Texts of cursors are malloc'ed, the caller's, also after a
// failure.
void store_source_requests_load(struct durable_log *log, struct log_cursors *load);
// Cursors and retry store change in one transaction, or not at all; durable as the topic's class
// is.
void store_source_requests_commit(struct durable_log *log, struct log_cursors *commit);
void store_source_requests_due(struct durable_log *log, struct log_due *due);
