// Credit is counted in totals, so that a grant and a delivery that cross on the wire need no
// reconciliation: what is outstanding is granted less delivered, on both sides.
//
// Invariant: granted >= delivered in messages. Bytes may be passed by one message, which goes when
// nothing is outstanding (docs/protocol.md, section 7).

#include "sdk/c/src/grants.h"

#include "core/base/util.h"

static uint64_t room(uint64_t window, uint64_t held)
{
	return window > held ? window - held : 0;
}

static bool worth(uint64_t granted, uint64_t wanted, uint64_t delivered, uint64_t window)
{
	return wanted > granted && (wanted - granted >= (window + 1) / 2 || granted <= delivered);
}

bool grants_top_up(struct grants *grants, uint64_t window_messages, uint64_t window_bytes,
		   uint64_t held_messages, uint64_t held_bytes)
{
	uint64_t messages = grants->delivered_messages + room(window_messages, held_messages);
	uint64_t bytes = grants->delivered_bytes + room(window_bytes, held_bytes);

	if (grants->draining)
		return false;
	if (!worth(grants->granted_messages, messages, grants->delivered_messages,
		   window_messages) &&
	    !worth(grants->granted_bytes, bytes, grants->delivered_bytes, window_bytes))
		return false;
	grants->granted_messages = MAX(grants->granted_messages, messages);
	grants->granted_bytes = MAX(grants->granted_bytes, bytes);
	return true;
}

void grants_ask(struct grants *grants, uint64_t messages, uint64_t bytes)
{
	grants->granted_messages =
		MAX(grants->granted_messages, grants->delivered_messages + messages);
	grants->granted_bytes = MAX(grants->granted_bytes, grants->delivered_bytes + bytes);
}

void grants_drain(struct grants *grants)
{
	++grants->drain;
	grants->draining = true;
}

bool grants_delivered(struct grants *grants, uint64_t messages, uint64_t bytes)
{
	grants->delivered_messages += messages;
	grants->delivered_bytes += bytes;
	return grants->delivered_messages <= grants->granted_messages;
}

bool grants_drained(struct grants *grants, uint64_t drain)
{
	if (!grants->draining || drain != grants->drain)
		return false;
	grants->draining = false;
	grants->granted_messages = grants->delivered_messages;
	grants->granted_bytes = grants->delivered_bytes;
	return true;
}
