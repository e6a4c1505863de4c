// Turns of senders under a quota in mode `reject`: what a stream was told about the quota of its
// tenant.
#pragma once

#include "core/base/code.h"
#include "core/base/list.h"
#include "quota/quota.h"

struct conn;
struct loop_timer;
struct sender_turn;
struct submit_record;
struct tenant_clients;

// What the sender is told: OK or THROTTLED, the quota that decides, how many messages from when on.
// May close the connection.
struct sender_turn_notice {
	enum code code;
	struct quota_answer quota;
	uint64_t messages, wait_ns;
};
typedef void (*sender_turn_tell_fn)(struct sender_turn *turn,
				    const struct sender_turn_notice *notice);

// The part of one that sends to a topic. It is told how many messages it may send and from when on
// each time that it has used up what it was told.
struct sender_turn {
	sender_turn_tell_fn tell;
	struct conn *conn;
	struct quota_turn quota;
	struct list in_tenant; // member of tenant->clients->turns while something is promised
	uint64_t told;         // messages, of these not sent
	uint64_t size;         // of its messages, about
	bool joined;
	bool limited; // it was told a number
};

void sender_turn_join(struct sender_turn *turn, struct conn *conn, sender_turn_tell_fn tell);
void sender_turn_leave(
	struct sender_turn *turn); // nothing is promised any more; accepts one that left
// At the beginning: how many messages it may send, and after how long. False: it is under
// no quota that refuses.
bool sender_turn_open(struct sender_turn *turn, uint64_t *ret_messages, uint64_t *ret_wait_ns);
// The limits of its tenant are others now. May close the connection.
void sender_turn_changed(struct sender_turn *turn);
// Charges a batch as quota_charge_batch does, out of what was promised first.
size_t sender_turn_charge(struct sender_turn *turn, const struct submit_record *records,
			  size_t count, uint64_t total, uint64_t now_ns,
			  struct quota_charge *charge);
// A batch of `count` was charged, `refused` of it in vain: tells what is next, when that
// has changed. Returns how long the refused ones have to wait.
uint64_t sender_turn_tell(struct sender_turn *turn, size_t count, size_t refused, uint64_t now_ns);
void sender_turns_expire(struct loop_timer *timer);          // of tenant_clients
void sender_turns_give_back(struct tenant_clients *clients); // all that is promised on this worker
