// The data plane: listeners, worker loops, connections, groups, and the channel of live queries.
#pragma once

#include "adapters/adapter.h"
#include "core/catalog/catalog.h"
#include "core/catalog/query.h"
#include "proxy/base/limits.h"

struct proxy;
struct network;
struct ssl_ctx_st;

struct proxy_listener_config {
	const char *address;    // "127.0.0.1:7470", "[::]:7470"; port 0: any free one
	const char *advertised; // what clients are told; NULL: the bound address
};

struct proxy_config {
	const char *proxy_id;       // unique among the proxies, as portals show it
	const char *server_version; // "0.1.0"
	const char *data_dir;       // adapters get <data_dir>/clusters/<id>
	unsigned workers;           // 0: one a core
	const struct proxy_listener_config *listeners;
	size_t listener_count;
	const struct network *balancers; // whose connections begin with a PROXY header; copied
	size_t balancer_count;
	struct proxy_limits limits;
	uint8_t salt_secret[32]; // of the cluster: stable salts for keys that do not exist
	struct ssl_ctx_st *tls;  // referenced; NULL: no TLS
	struct catalog
		*catalog; // outlives the proxy; not changed any more once proxy_free() is called
	const struct adapter_ops *(*find_adapter)(const char *kind); // adapter_kind_find
};

// Binds the listeners and opens the clusters of the catalog, but serves no client yet. Negative
// errno with *ret_error (malloc'ed sentence): -EADDRINUSE and the like. @thread start-up: all but
// where said
int proxy_new(const struct proxy_config *config, struct proxy **ret, char **ret_error);
int proxy_start(struct proxy *proxy);
// Settings that can change while running: limits and the TLS context of new connections. @thread
// any
void proxy_reload(struct proxy *proxy, const struct proxy_limits *limits, struct ssl_ctx_st *tls);
// Stops accepting, tells clients to leave, finishes what is in flight, settles, closes the
// clusters; then done(), on a thread of the proxy, within about the deadline. @thread any, once
void proxy_drain(struct proxy *proxy, uint32_t deadline_ms, void (*done)(void *ctx), void *ctx);
// After proxy_drain() has called done(), or when it was never started.
void proxy_free(struct proxy *proxy);

struct query_channel *proxy_query_channel(struct proxy *proxy);
// How a cluster is doing and what it can do, as far as that is known. False: it is not in the
// catalog. @thread any
bool proxy_cluster_state(struct proxy *proxy, uint64_t cluster, struct adapter_state *ret,
			 uint32_t *ret_capabilities);
// Bytes of message memory in use; *ret_limit: the budget. @thread any
uint64_t proxy_message_memory(struct proxy *proxy, uint64_t *ret_limit);
// "127.0.0.1:43567" as bound; NULL past the end.
const char *proxy_address(struct proxy *proxy, size_t index);
