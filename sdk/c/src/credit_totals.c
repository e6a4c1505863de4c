// The credit of a subscription: how many messages and bytes the proxy may send.
//
// Credit is counted in totals, so a grant and a delivery that cross on the wire need no
// reconciliation: what is outstanding is granted less delivered, on both sides.
//
// Invariant: granted >= delivered in messages. Bytes may be exceeded by one message, which is sent
// when nothing is outstanding (docs/protocol.md, section 7). Not here: sending CREDIT
// (consumer_report.c).

#include "sdk/c/src/credit_totals.h"

#include "core/base/util.h"

static uint64_t room_left(uint64_t window, uint64_t held)
{
	return window > held ? window - held : 0;
}

// A grant is sent when it adds half of the window, or when nothing is outstanding: else each
// message would cost a frame.
static bool is_worth_frame(uint64_t granted, uint64_t wanted, uint64_t delivered, uint64_t window)
{
	return wanted > granted && (wanted - granted >= (window + 1) / 2 || granted <= delivered);
}

bool credit_totals_top_up(struct credit_totals *credit, uint64_t window_messages,
			  uint64_t window_bytes, uint64_t held_messages, uint64_t held_bytes)
{
	uint64_t messages = credit->delivered_messages + room_left(window_messages, held_messages);
	uint64_t bytes = credit->delivered_bytes + room_left(window_bytes, held_bytes);

	if (credit->draining)
		return false;
	if (!is_worth_frame(credit->granted_messages, messages, credit->delivered_messages,
			    window_messages) &&
	    !is_worth_frame(credit->granted_bytes, bytes, credit->delivered_bytes, window_bytes))
		return false;
	credit->granted_messages = MAX(credit->granted_messages, messages);
	credit->granted_bytes = MAX(credit->granted_bytes, bytes);
	return true;
}

void credit_totals_ask(struct credit_totals *credit, uint64_t messages, uint64_t bytes)
{
	credit->granted_messages =
		MAX(credit->granted_messages, credit->delivered_messages + messages);
	credit->granted_bytes = MAX(credit->granted_bytes, credit->delivered_bytes + bytes);
}

void credit_totals_drain(struct credit_totals *credit)
{
	assert(!credit->draining);
	++credit->drain;
	credit->draining = true;
}

bool credit_totals_delivered(struct credit_totals *credit, uint64_t messages, uint64_t bytes)
{
	credit->delivered_messages += messages;
	credit->delivered_bytes += bytes;
	return credit->delivered_messages <= credit->granted_messages;
}

bool credit_totals_drained(struct credit_totals *credit, uint64_t drain)
{
	if (!credit->draining || drain != credit->drain)
		return false;
	credit->draining = false;
	credit->granted_messages = credit->delivered_messages;
	credit->granted_bytes = credit->delivered_bytes;
	return true;
}
