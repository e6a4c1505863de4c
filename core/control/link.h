// A connection of a control link: frames over TLS with both certificates, on a loop.
//
// For the loop's thread. `ops` are called from the loop and, but for `closed`, never inside a call
// of the owner's.
#pragma once

#include "core/loop/loop.h"
#include "core/net/framer.h"
#include "core/net/outq.h"

#include <jansson.h>
#include <openssl/ssl.h>

#define LINK_VERSION 1 // of what is spoken over control links
#define LINK_LEAST   1 // the oldest version that is understood

#define LINK_SLICE_BYTES (64u << 10)

struct link;

struct link_ops {
	// The handshake is over: look at link->transport.ssl, and speak. Closing is allowed.
	void (*established)(struct link *link);
	void (*frame)(struct link *link, uint8_t type, struct slice payload);
	void (*room)(struct link *link); // a slice may be added; also once a second
	void (*closed)(struct link *link, const char *why); // the last call
};

struct link {
	const struct link_ops *ops;
	struct loop *loop;
	bool server;
	struct transport transport;
	struct framer framer;
	struct outq outq;
	struct loop_io io;
	struct loop_timer timer;
	uint64_t heard_ns;
	bool open, ready, preface, ending;
	char why[200]; // it ends when all is written
};

// Takes over the descriptor, also when it fails. -errno.
int link_open(struct link *link, struct loop *loop, int fd, SSL_CTX *context, bool server,
	      const struct link_ops *ops);
// Closes at once; `closed` is called, unless it was closed before.
void link_close(struct link *link, const char *why);
// The same when all that is queued has been written, at most a second later.
void link_end(struct link *link, const char *why);

// Without memory the link ends.
void link_send(struct link *link, uint8_t type, const void *head, size_t head_size,
	       const void *data, size_t size);
void link_send_json(struct link *link, uint8_t type, json_t *body); // takes `body`
bool link_has_room(const struct link *link);

// The object that a payload is, at most 64 KiB and 8 levels; NULL: it is none.
json_t *link_json(struct slice payload);
// The highest version that both ranges hold; 0: none.
unsigned link_version(unsigned version, unsigned least);
