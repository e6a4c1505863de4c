// Drives every topic and group that is creating or deleting until its backend agrees, by asking the
// proxies; with back-off, and again after a restart because the registry remembers.
//
// For the portal's thread. The answers to queries come on any thread and only lie in a queue until
// reconcile_run().
#pragma once

#include <stdint.h>

struct query_channel;
struct reconcile;
struct registry;

struct reconcile_config {
	struct registry *registry;
	struct query_channel *queries;
	void (*wake)(void *ctx); // an answer waits for reconcile_run(); @thread any
	void *wake_ctx;
};

int reconcile_new(const struct reconcile_config *config, struct reconcile **ret);
// Waits for nothing: answers that come later are dropped.
void reconcile_free(struct reconcile *reconcile);

// Takes the answers, asks what is due. Call it after a change of the registry, after wake(), and at
// the time it returned. Returns when it wants to run again at the latest (monotonic nanoseconds).
uint64_t reconcile_run(struct reconcile *reconcile, uint64_t now_ns);
