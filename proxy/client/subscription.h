// A subscription of a connection: the near end of a group's member.
#pragma once

#include "proxy/client/native/stream.h"
#include "proxy/group/member_link.h"

struct subscription {
	struct stream stream;
	struct member_link *link;   // NULL: home has nothing of it any more
	struct loop_timer patience; // while it is closing
	struct list output_blocked; // member of conn->session.output_blocked: the client has given
				    // more credit than was passed on
	uint64_t credit_messages, credit_bytes, drain; // the client's totals
	uint64_t begun;                                // the client's word, too
	uint64_t drain_passed, drained;                // to home; answered
	uint64_t passed_messages, passed_bytes;        // of these, what home knows
	uint64_t given_messages, given_bytes;          // delivered
	uint32_t largest;                              // message of its topic, as far as is known
	bool joined, stopping, left;                   // left: home knows that it is closing
	char name[MODEL_NAME_BYTES + 1];               // of the group
};

// SUBSCRIBE to a group that has been looked up and is allowed.
void subscription_open(struct conn *conn, uint32_t id, const struct group *group);
void subscription_free(struct subscription *subscription); // the stream part is undone already
// Gives everything back; stream_closed() when its settles are answered.
void subscription_close(struct subscription *subscription);
void subscription_credit(struct subscription *subscription, const struct frame *frame);
// NULL: it is not open any more, everything is STALE.
void subscription_settle(struct conn *conn, struct subscription *subscription,
			 const struct frame *frame);
void subscription_feed_all(struct conn *conn); // the output has room again
void subscription_stop_all(struct conn *conn); // nothing more is to be delivered
