// The opened clusters: one row each, found by any worker without a lock, kept in step with the
// catalog.
#pragma once

#include "adapters/adapter.h"
#include "core/catalog/catalog.h"
#include "proxy/resource/budget.h"

#define BACKEND_UNSETTLED_MAX (512ull << 20)

// What workers may see of a row; the rest belongs to backends.c.
struct backend {
	const struct adapter_ops *ops;
	struct adapter *adapter;
	struct budget unsettled; // of what its queues have given to sources of groups
};

// As far as they are known by now.
static inline uint32_t backend_capabilities(const struct backend *backend)
{
	return backend->ops->capabilities(backend->adapter);
}

struct backend_row;

// The operations of a kind of adapter; NULL: this build has none.
typedef const struct adapter_ops *(*adapter_find_fn)(const char *kind);

struct backends {
	struct backend_row *rows; // atomic; only ever added to
	adapter_find_fn find_adapter;
	const char *data_dir;
	struct catalog *catalog;
};

// Opens every cluster of the catalog. A cluster that cannot be opened is logged and answers
// BACKEND_DOWN.
void backends_init(struct backends *backends, struct catalog *catalog, adapter_find_fn find_adapter,
		   const char *data_dir);        // borrowed
void backends_deinit(struct backends *backends); // all closed

// A reference; NULL: no such cluster, or it is not open. @thread any
struct backend *backend_get(struct backends *backends, uint64_t cluster);
struct backend *backend_unref(struct backend *backend); // returns NULL; accepts NULL; @thread any

// After a change of the catalog. True: what was opened through the old row must be given back; the
// cluster is opened again when the last reference is gone. @thread of the change
bool backends_changed(struct backends *backends, uint64_t cluster);
// No new references from now on; done when every adapter has closed. @thread any, once
void backends_close(struct backends *backends, void (*done)(void *ctx), void *ctx);

// How a cluster is doing, and what it can do as far as that is known; one that is not open is down.
// False: no such cluster. @thread any
bool backends_state(struct backends *backends, uint64_t cluster, struct adapter_state *ret,
		    uint32_t *ret_capabilities);
// The same of every cluster of the catalog. @thread any
typedef void (*backend_each_fn)(void *ctx, uint64_t cluster, const struct adapter_state *state);
void backends_each_state(struct backends *backends, backend_each_fn fn, void *ctx);
