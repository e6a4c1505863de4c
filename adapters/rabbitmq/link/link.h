// One connection to a cluster: a loop on a thread of its own, and the connection while there is
// one. It connects again by itself. Its channels: channel.h.
//
// Everything @thread the link's loop unless marked. No handler is called before the call that
// causes it has returned.
#pragma once

#include "adapters/rabbitmq/link/channel.h"
#include "adapters/rabbitmq/link/options.h"
#include "core/base/code.h"
#include "core/base/log.h"
#include "core/loop/loop.h"

struct rabbitmq_link;

struct rabbitmq_link_config {
	const char *name; // of its thread: "rabbitmq-send"
	const struct rabbitmq_options *options;
	const char *cluster; // its name, for texts
	struct log_ctx *log;
	// The connection is there (code OK), or is not (why, in words that name the address). Each
	// attempt that fails tells it once. May be NULL. @thread the link's loop
	void (*changed)(void *ctx, enum code code, const char *text);
	// The broker has blocked the connection (reason), or does no more (NULL). May be NULL.
	void (*blocked)(void *ctx, const char *reason);
	void *ctx;
};

// Starts connecting; waits for nothing. -errno. @thread any
int rabbitmq_link_start(const struct rabbitmq_link_config *config, struct rabbitmq_link **ret);
// Ends it: channels are told closed(), then nothing is called any more and its loop has run all
// that was posted to it. Blocks, at most as long as connecting may. Accepts NULL. @thread any but
// the link's
void rabbitmq_link_stop(struct rabbitmq_link *link);
struct loop *rabbitmq_link_loop(struct rabbitmq_link *link); // @thread any
// Ends the connection when what is to be sent has not moved for `limit_ns`, unless the broker has
// blocked it; called now and then. @thread any
void rabbitmq_link_watch(struct rabbitmq_link *link, uint64_t now_ns, uint64_t limit_ns);

bool rabbitmq_link_is_up(const struct rabbitmq_link *link);
bool rabbitmq_link_is_blocked(const struct rabbitmq_link *link);
// "3.10.8", from the broker's properties; "" before the first login. @thread any
void rabbitmq_link_version(struct rabbitmq_link *link, char *room, size_t size);
// Bytes of the largest frame, as agreed at login: headers of a message must fit into one, bodies
// are cut. 0: it is not up.
uint32_t rabbitmq_link_frame_bytes(const struct rabbitmq_link *link);
