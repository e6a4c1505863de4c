// The thread that deletes what topics need not keep any more.
#pragma once

struct durable_log;
struct retention;

// 0 or negative errno. The log's stores and committers must outlive it. @thread start-up
int retention_start(struct durable_log *log, struct retention **ret);
// Waits for the step under way. Accepts NULL. @thread any that may wait for a disk
void retention_stop(struct retention *retention);
