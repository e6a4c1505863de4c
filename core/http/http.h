// A small HTTP/1.1 server for the control plane: one request per connection, everything bounded.
//
// Everything is for the loop's own thread. An exchange is one connection with its one request; it
// may be answered later, from the loop, through any reference to it.
#pragma once

#include "core/base/list.h"
#include "core/http/head.h"
#include "core/loop/loop.h"

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_server;
struct http_exchange;

struct http_limits {
	uint32_t connections; // requests in work, and connections whose request is not whole
	uint32_t head_ms;     // from accept to the end of the head, TLS handshake included
	uint32_t body_ms;     // to the end of the body
	uint32_t work_ms;     // until there is an answer; then TIMEOUT
	uint32_t write_ms;    // until the answer is taken
};

struct http_handler {
	void *ctx;
	// The head is there. Sets the most bytes a body may have; may answer already (http_reply).
	void (*head)(void *ctx, struct http_exchange *exchange, size_t *ret_body_bytes);
	void (*request)(void *ctx, struct http_exchange *exchange); // head and body are there
	// The server refuses by itself; the handler writes the answer. exchange->head may be empty.
	void (*refuse)(void *ctx, struct http_exchange *exchange, unsigned status, const char *why);
	// A reference to the TLS context of new connections; NULL: none can be had now.
	SSL_CTX *(*tls_context)(void *ctx);
	void (*release)(void *user); // what http_set_user() gave; the exchange ends
};

struct http_response {
	unsigned status;
	const char *content_type; // NULL: no body
	const char *headers;      // further lines, each ending in CRLF; NULL: none
	const void *body;         // copied
	size_t size;
};

int http_new(struct loop *loop, const struct http_limits *limits,
	     const struct http_handler *handler, struct http_server **ret);
// Binds and listens. "127.0.0.1:8080", "[::1]:0". -EINVAL: not an address; -errno of bind.
int http_listen(struct http_server *server, const char *address, bool tls, uint16_t *ret_port);
// No new connections; those without a whole request are closed; `done` when none is left.
void http_drain(struct http_server *server, void (*done)(void *ctx), void *ctx);
void http_free(struct http_server *server); // loop not running any more

// Answers; the first answer counts, later ones are dropped.
void http_reply(struct http_exchange *exchange, const struct http_response *response);

struct http_exchange *http_ref(struct http_exchange *exchange);
void http_unref(struct http_exchange *exchange);

const struct head *http_head(const struct http_exchange *exchange);
const char *http_body(const struct http_exchange *exchange, size_t *ret_size);
const char *http_peer(const struct http_exchange *exchange); // address of the client, without port
const struct sockaddr *http_peer_address(const struct http_exchange *exchange); // of the socket
void http_set_peer(struct http_exchange *exchange, const char *peer); // a balancer speaks for it
// It is served also when as many requests are in work as may be: what others ask to learn whether
// this process lives.
void http_set_reserved(struct http_exchange *exchange);
bool http_answered(const struct http_exchange *exchange);
void http_set_user(struct http_exchange *exchange, void *user);
void *http_user(const struct http_exchange *exchange);
