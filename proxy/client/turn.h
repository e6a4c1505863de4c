// Turns of senders under a quota in mode `reject`.
#pragma once

#include "proxy/client/stream.h"

struct submit_record;
struct tenant_clients;

void turn_join(struct topic_stream *stream);
void turn_leave(struct topic_stream *stream); // nothing is promised any more; accepts one that left
// For TOPIC_OPENED: how many messages the stream may send, and after how long. False: it is under
// no quota that refuses.
bool turn_open(struct topic_stream *stream, uint64_t *ret_messages, uint64_t *ret_wait_ns);
// The limits of its tenant are others now. May close the connection.
void turn_changed(struct topic_stream *stream);
// Charges a batch as quota_charge_batch does, out of what was promised first.
size_t turn_charge(struct topic_stream *stream, const struct submit_record *records, size_t count,
		   uint64_t total, uint64_t now_ns, struct quota_charge *charge);
// A batch of `count` was charged, `refused` of it in vain: tells the stream what is next, when that
// has changed. Returns how long the refused ones have to wait.
uint64_t turn_tell(struct topic_stream *stream, size_t count, size_t refused, uint64_t now_ns);
void turns_expire(struct loop_timer *timer);          // of tenant_clients
void turns_give_back(struct tenant_clients *clients); // all that is promised on this worker
