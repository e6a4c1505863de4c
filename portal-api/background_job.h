// What would hold the portal's thread (passwords, copies of the registry) is a background job.
#pragma once

struct portal;

// `work` on another thread, one job at a time, in order; then `done` on the portal's. Between the
// two nothing else touches what `ctx` owns. -ENOMEM: neither is called.
typedef void (*background_job_fn)(void *ctx);
int background_job_run(struct portal *portal, background_job_fn work, background_job_fn done,
		       void *ctx);
