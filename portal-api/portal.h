// The control plane in one object: REST over HTTP on its own thread.
//
// It answers from the registry and asks the proxies through query.h. The data plane never waits for
// it.
#pragma once

#include "core/catalog/query.h"
#include "portal-api/backlogs.h"
#include "portal-api/counters.h"
#include "portal-api/stored.h"

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct network;
struct portal;
struct registry;
struct catalog;

// What the portal's end of the control links needs (core/control/leader.h).
struct portal_control {
	const char *address;
	const char *authority_key, *authority; // PEM
	const void *secrets;                   // that proxies get
	size_t secrets_size;
};

struct portal_listener {
	const char *address; // "127.0.0.1:8080", "[::1]:0"
	bool tls;
};

// Where a number is 0 the default in brackets holds.
struct portal_config {
	const struct portal_listener *listeners; // borrowed until portal_new() returns
	size_t listener_count;
	bool allow_plain;  // plain HTTP also on addresses that are not loopback
	bool open_metrics; // /metrics needs no token
	struct registry *registry;
	struct catalog *catalog;              // of the proxy in this process; NULL: none
	struct query_channel *queries;        // NULL: no proxy can be asked
	const struct portal_control *control; // borrowed as the listeners; NULL: no control links
	const char *data_dir;                 // bootstrap token and backups; copied
	const char *version;                  // static
	const char *const *cluster_kinds; // not NULL: that can be registered; static, ends in NULL

	const char *client_header;       // in which `balancers` name the client; NULL: none; copied
	const struct network *balancers; // copied
	size_t balancer_count;
	uint32_t connections;       // [256]
	uint32_t head_ms, body_ms;  // [10000, 30000] total deadlines
	uint32_t work_ms, write_ms; // [30000, 30000]
	uint32_t query_ms;          // [5000] for an answer of the proxies
	uint32_t body_bytes;        // [65536]
	uint32_t definitions_bytes; // [16 MiB] body of an import

	// A reference to the TLS context of new connections. @thread portal
	SSL_CTX *(*tls_context)(void *ctx);
	// Prometheus text, made of portal_each_total() among others; 0 or -ENOMEM; *ret is the
	// caller's. @thread portal
	int (*metrics)(void *ctx, const struct portal *portal, bool detailed, char **ret,
		       size_t *ret_size);
	void *ctx; // of both
};

enum { PORTAL_E_PLAIN = 1 }; // a plain address that is not loopback, and allow_plain is not set

// Binds every listener and starts the thread. -errno of bind: `ret_which` is the listener's index;
// of anything else: their number.
int portal_start(const struct portal_config *config, struct portal **ret, size_t *ret_which);
uint16_t portal_port(const struct portal *portal, size_t listener); // what a port 0 became
unsigned portal_control_port(const struct portal *portal);          // 0: there are no control links
// From now on /readyz says that this process leaves; all else goes on. Accepts NULL. @thread any
void portal_leaving(struct portal *portal);
// Stops accepting, takes the proxies' counters a last time, lets answers in work finish within
// their deadlines, ends the thread, frees. Accepts NULL.
void portal_stop(struct portal *portal);

// The counters of every tenant, topic or group, as they go on across restarts, and the age of their
// newest part (UINT64_MAX: no proxy has answered yet). @thread portal
void portal_each_total(const struct portal *portal, enum registry_kind kind, counters_row_fn fn,
		       void *ctx);
uint64_t portal_totals_age_ns(const struct portal *portal);
// What else the proxies told last: {send|deliver|settle: {counts, sum_us}} since their start, and
// rows of QUERY_CLUSTER_STATES; NULL: nothing. @thread portal
const json_t *portal_latencies(const struct portal *portal);
const json_t *portal_cluster_states(const struct portal *portal);
void portal_each_backlog(const struct portal *portal, backlog_row_fn fn, void *ctx);
void portal_each_stored(const struct portal *portal, stored_use_fn fn, void *ctx);
void portal_each_stored_wait(const struct portal *portal, stored_wait_fn fn, void *ctx);
