// A subscription of a session: the near end of a group's member. It knows no frame.
#pragma once

#include "core/loop/loop.h"
#include "core/model/model.h"
#include "proxy/client/conn.h"
#include "proxy/group/member_link.h"

struct subscription;

// What a front end does with what comes. All of it is called on the connection's loop; each may
// close the connection, so it is the last that is done.
struct subscription_ops {
	// The group has taken it; what the link says of group and topics is good until return.
	void (*joined)(struct subscription *subscription, const struct member_link *link);
	// The group does not take it: the owner frees it.
	void (*refused)(struct subscription *subscription, enum code code, const char *text);
	// `flags` (DISPATCH_FLAG_…) are those of each delivery.
	void (*deliver)(struct subscription *subscription, const struct delivery *deliveries,
			uint32_t count, uint32_t flags);
	// What became of a settle that wants an answer.
	void (*settled)(struct subscription *subscription, const struct settle_event *event);
	void (*drained)(struct subscription *subscription, uint64_t number);
	// The group ends it: subscription_close() follows.
	void (*ended)(struct subscription *subscription, enum code code, const char *text);
	// The last of a subscription that closes: every settle is answered, or has to wait no more.
	void (*closed)(struct subscription *subscription);
};

// Embedded in its owner, whose memory lasts until the end of the round after subscription_free().
struct subscription {
	const struct subscription_ops *ops;
	struct conn *conn;
	struct member_link *link;   // NULL: home has nothing of it any more
	struct loop_timer patience; // while it is closing
	// Member of session->output_blocked: the client has given more credit than was passed on.
	struct list output_blocked;
	uint64_t credit_messages, credit_bytes, drain; // the client's totals
	uint64_t begun;                                // the client's word, too
	uint64_t drain_passed, drained;                // to home; answered
	uint64_t passed_messages, passed_bytes;        // of these, what home knows
	uint64_t given_messages, given_bytes;          // delivered
	uint32_t largest;                              // message of its topic, as far as is known
	bool stopping, left;                           // left: home knows that it is closing
	bool closing, by_client;         // its owner closes it; the client has asked for that
	char name[MODEL_NAME_BYTES + 1]; // of the group
};

// Totals as the client says them; they never fall.
struct subscription_credit {
	uint64_t messages, bytes, drain, begun;
};

// To a group that has been looked up and is allowed. `tells_begun`: the client says what it begins.
// -ENOMEM
int subscription_init(struct subscription *subscription, const struct subscription_ops *ops,
		      struct conn *conn, const struct group *group, bool tells_begun);
void subscription_join(struct subscription *subscription); // joined() or refused() follows
void subscription_free(struct subscription *subscription); // all that it has out comes again
// The same, but closed() follows when its settles are answered.
void subscription_close(struct subscription *subscription, bool by_client);
// What is wrong with it; NULL: fine. May close the connection.
const char *subscription_credit(struct subscription *subscription,
				const struct subscription_credit *credit);

// An event with room for the entries, which the caller fills. `number` 0: no answer is wanted.
// NULL: out of memory.
struct settle_event *subscription_settle_new(uint64_t number, uint32_t count);
// Takes the event of an open subscription over.
void subscription_settle(struct subscription *subscription, struct settle_event *event);
// What becomes of the entries when the subscription is not open any more.
void subscription_settle_stale(struct settle_event *event);

void subscription_stop(struct subscription *subscription); // nothing more is to be delivered
void subscription_feed_all(struct conn *conn);             // the output has room again
