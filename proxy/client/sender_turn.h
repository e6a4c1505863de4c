// Turns of senders under a quota in mode `reject`: what a stream was told about the quota of its
// tenant.
#pragma once

#include "core/base/list.h"
#include "quota/quota.h"

struct loop_timer;
struct submit_record;
struct tenant_clients;
struct topic_stream;

// A stream's part. It is told how many messages it may send and from when on (THROTTLE), each time
// that it has used up what it was told.
struct sender_turn {
	struct quota_turn quota;
	struct list in_tenant; // member of tenant->clients->turns while something is promised
	uint64_t told;         // messages, of these not sent
	uint64_t size;         // of its messages, about
	bool joined;
	bool limited; // it was told a number
};

void sender_turn_join(struct topic_stream *stream);
void sender_turn_leave(
	struct topic_stream *stream); // nothing is promised any more; accepts one that left
// For TOPIC_OPENED: how many messages the stream may send, and after how long. False: it is under
// no quota that refuses.
bool sender_turn_open(struct topic_stream *stream, uint64_t *ret_messages, uint64_t *ret_wait_ns);
// The limits of its tenant are others now. May close the connection.
void sender_turn_changed(struct topic_stream *stream);
// Charges a batch as quota_charge_batch does, out of what was promised first.
size_t sender_turn_charge(struct topic_stream *stream, const struct submit_record *records,
			  size_t count, uint64_t total, uint64_t now_ns,
			  struct quota_charge *charge);
// A batch of `count` was charged, `refused` of it in vain: tells the stream what is next, when that
// has changed. Returns how long the refused ones have to wait.
uint64_t sender_turn_tell(struct topic_stream *stream, size_t count, size_t refused,
			  uint64_t now_ns);
void sender_turns_expire(struct loop_timer *timer);          // of tenant_clients
void sender_turns_give_back(struct tenant_clients *clients); // all that is promised on this worker
