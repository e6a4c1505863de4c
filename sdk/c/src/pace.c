// When a producer sends under a quota that refuses.
//
// The proxy then tells each stream how many messages will pass, and from when on. A producer that
// sends that many at that time is not refused. The next turn is told while the answer to the last
// batch is on its way.
//
// A proxy whose quota is gone says so, or says nothing: then the producer sends freely again after
// PATIENCE_NS, which is long against a round trip. The next turn comes before the answer to the
// batch that used up the last one, so this time counts from that answer: a machine that is so busy
// that either takes seconds is no reason to try again.
//
// It neither sends nor sets timers; all times are arguments.

#include "sdk/c/src/pace.h"

#include "core/base/util.h"

#define PATIENCE_NS S_NS

void pace_reset(struct pace *pace)
{
	*pace = (struct pace){.messages = UINT64_MAX};
}

void pace_told(struct pace *pace, uint64_t messages, uint64_t after_ns, uint64_t now_ns)
{
	*pace = (struct pace){.messages = messages,
			      .turn_ns = after_ns ? now_ns + after_ns : 0,
			      .spent_ns = now_ns + after_ns,
			      .told = messages != UINT64_MAX};
}

uint64_t pace_most(struct pace *pace, bool unanswered, uint64_t now_ns)
{
	if (pace->messages == 0 && !unanswered && now_ns >= pace->spent_ns + PATIENCE_NS)
		pace_reset(pace);
	return now_ns >= pace->turn_ns ? pace->messages : 0;
}

void pace_sent(struct pace *pace, uint64_t messages, uint64_t now_ns)
{
	if (pace->messages == UINT64_MAX)
		return;
	pace->messages -= MIN(pace->messages, messages);
	pace->spent_ns = now_ns;
}

void pace_answered(struct pace *pace, uint64_t now_ns)
{
	if (pace->messages == 0)
		pace->spent_ns = MAX(pace->spent_ns, now_ns);
}

uint64_t pace_next_ns(const struct pace *pace, bool unanswered, uint64_t now_ns)
{
	if (pace->messages == 0)
		return (unanswered ? MAX(pace->spent_ns, now_ns) : pace->spent_ns) + PATIENCE_NS;
	return pace->turn_ns > now_ns ? pace->turn_ns : UINT64_MAX;
}
