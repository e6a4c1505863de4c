// adapters/breaker: when a cluster that does not answer is left alone, and when no longer.

#include "adapters/breaker.h"
#include "tests/unit/unit.h"

#define START (1000 * S_NS)

static bool admit(struct breaker *breaker, uint64_t now_ns, bool probes)
{
	bool probe, admitted = breaker_admit(breaker, 1, now_ns, &probe);

	CHECK_EQ(probe, probes);
	return admitted;
}

static void a_cluster_that_answers_is_not_asked(void)
{
	struct breaker breaker = {0};

	for (uint64_t now_ns = START; now_ns < START + 60 * S_NS; now_ns += MS_NS) {
		CHECK(admit(&breaker, now_ns, false));
		if (breaker.waiting == 1000)
			breaker_ended(&breaker, 900, true, now_ns);
	}
}

static void idleness_is_not_silence(void)
{
	struct breaker breaker = {0};

	CHECK(admit(&breaker, START, false));
	breaker_ended(&breaker, 1, true, START);
	CHECK(admit(&breaker, START + 3600 * S_NS, false));
	CHECK(admit(&breaker, START + 3600 * S_NS + BREAKER_SILENCE_NS - 1, false));
}

static void silence_asks_and_no_answer_opens(void)
{
	struct breaker breaker = {0};
	uint64_t now_ns = START;

	CHECK(admit(&breaker, now_ns, false));
	now_ns += BREAKER_SILENCE_NS;
	CHECK(admit(&breaker, now_ns, true));
	CHECK(admit(&breaker, now_ns + S_NS, false)); // one probe at a time; sends go on meanwhile
	CHECK(breaker_probed(&breaker, false, now_ns + S_NS));
	CHECK_EQ(breaker.circuit, BREAKER_HALF_OPEN);
	CHECK(!admit(&breaker, now_ns + S_NS, false));
	CHECK_EQ(breaker.waiting, 3);
}

// Slow is not dead: a cluster that answers the probe keeps getting messages.
static void an_answered_probe_keeps_it_closed(void)
{
	struct breaker breaker = {0};
	uint64_t now_ns = START;

	CHECK(admit(&breaker, now_ns, false));
	for (unsigned i = 0; i < 10; ++i) {
		now_ns += BREAKER_SILENCE_NS;
		CHECK(admit(&breaker, now_ns, true));
		CHECK(!breaker_probed(&breaker, true, now_ns));
		CHECK_EQ(breaker.circuit, BREAKER_CLOSED);
	}
}

static void open(struct breaker *breaker, uint64_t now_ns)
{
	*breaker = (struct breaker){0};
	CHECK(breaker_doubt(breaker, now_ns));
	CHECK(!breaker_doubt(breaker, now_ns));
	CHECK(!breaker_probed(breaker, false, now_ns + 1));
	CHECK_EQ(breaker->circuit, BREAKER_OPEN);
}

static void probes_keep_their_distance(void)
{
	struct breaker breaker;

	open(&breaker, START);
	CHECK(!admit(&breaker, START + BREAKER_PAUSE_NS - 1, false));
	CHECK_EQ(breaker.circuit, BREAKER_OPEN);
	CHECK(!admit(&breaker, START + BREAKER_PAUSE_NS, true));
	CHECK_EQ(breaker.circuit, BREAKER_HALF_OPEN);
	CHECK(!admit(&breaker, START + 10 * S_NS, false));
	CHECK(!breaker_probed(&breaker, true, START + 10 * S_NS));
	CHECK(admit(&breaker, START + 10 * S_NS, false));
}

static void what_was_under_way_closes_it_too(void)
{
	struct breaker breaker = {0};

	CHECK(admit(&breaker, START, false));
	CHECK(admit(&breaker, START + BREAKER_SILENCE_NS, true));
	CHECK(breaker_probed(&breaker, false, START + BREAKER_SILENCE_NS + S_NS));
	breaker_ended(&breaker, 1, false, START + 5 * S_NS); // given up by us
	CHECK_EQ(breaker.circuit, BREAKER_HALF_OPEN);
	breaker_ended(&breaker, 1, true, START + 6 * S_NS);
	CHECK_EQ(breaker.circuit, BREAKER_CLOSED);
	CHECK(admit(&breaker, START + 6 * S_NS, false));
	// The probe that was under way says nothing any more.
	CHECK(!breaker_probed(&breaker, false, START + 7 * S_NS));
	CHECK_EQ(breaker.circuit, BREAKER_CLOSED);
}

// No more is sent, but the breaker is looked at.
static void what_waits_alone_is_missed_too(void)
{
	struct breaker breaker = {0};
	uint64_t now_ns = START;

	CHECK(!breaker_look(&breaker, now_ns + 3600 * S_NS));
	CHECK(admit(&breaker, now_ns, false));
	CHECK(!breaker_look(&breaker, now_ns + BREAKER_SILENCE_NS - 1));
	now_ns += BREAKER_SILENCE_NS;
	CHECK(breaker_look(&breaker, now_ns));
	CHECK(!breaker_look(&breaker, now_ns + S_NS / 2));
	CHECK_EQ(breaker.circuit, BREAKER_CLOSED);
	// A probe that fails at once is followed by the next one when it is looked at again.
	CHECK(!breaker_probed(&breaker, false, now_ns + 1));
	CHECK_EQ(breaker.circuit, BREAKER_OPEN);
	CHECK(!breaker_look(&breaker, now_ns + BREAKER_PAUSE_NS - 1));
	CHECK(breaker_look(&breaker, now_ns + BREAKER_PAUSE_NS));
	CHECK_EQ(breaker.circuit, BREAKER_HALF_OPEN);
	CHECK(!breaker_probed(&breaker, true, now_ns + S_NS));
	CHECK_EQ(breaker.circuit, BREAKER_CLOSED);
	CHECK_EQ(breaker.waiting, 1);
}

UNIT_MAIN(UNIT_CASE(a_cluster_that_answers_is_not_asked), UNIT_CASE(idleness_is_not_silence),
	  UNIT_CASE(silence_asks_and_no_answer_opens), UNIT_CASE(an_answered_probe_keeps_it_closed),
	  UNIT_CASE(probes_keep_their_distance), UNIT_CASE(what_was_under_way_closes_it_too),
	  UNIT_CASE(what_waits_alone_is_missed_too))
