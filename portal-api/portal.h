// The control plane in one object: REST over HTTP on its own thread.
//
// It answers from the registry and asks the proxies through ask.h. The data plane never waits for
// it.
#pragma once

#include "core/registry/ask.h"

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct portal;
struct registry;
struct catalog;

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
	struct catalog *catalog;          // of the proxy in this process; NULL: none
	struct ask_door *door;            // NULL: no proxy can be asked
	const char *data_dir;             // bootstrap token and backups; copied
	const char *version;              // static
	const char *const *cluster_kinds; // not NULL: that can be registered; static, ends in NULL

	uint32_t connections;       // [256]
	uint32_t head_ms, body_ms;  // [10000, 30000] total deadlines
	uint32_t work_ms, write_ms; // [30000, 30000]
	uint32_t ask_ms;            // [5000] for an answer of the proxies
	uint32_t body_bytes;        // [65536]
	uint32_t definitions_bytes; // [16 MiB] body of an import

	// A reference to the TLS context of new connections. @thread portal
	SSL_CTX *(*tls_context)(void *ctx);
	// Appends Prometheus text; 0 or -ENOMEM; *ret is the caller's. @thread portal
	int (*metrics)(void *ctx, bool detailed, char **ret, size_t *ret_size);
	void *ctx; // of both
};

enum { PORTAL_E_PLAIN = 1 }; // a plain address that is not loopback, and allow_plain is not set

// Binds every listener and starts the thread. -errno of bind: `ret_which` is the listener's index.
int portal_start(const struct portal_config *config, struct portal **ret, size_t *ret_which);
uint16_t portal_port(const struct portal *portal, size_t listener); // what a port 0 became
// Stops accepting, lets answers in work finish within their deadlines, ends the thread, frees.
// Accepts NULL.
void portal_stop(struct portal *portal);
