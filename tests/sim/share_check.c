// The bounds: over any 10 s at most 3 % more than the limit; over 60 s within 1 % of it, where as
// much was offered all the time; 10 % more while Redis is away. A unit for each proxy comes on top.

#include "tests/sim/share_check.h"

#include "core/base/util.h"
#include "tests/sim/sim.h"

#define SETTLE_SLOTS 20u // after a fault
#define FEW                                                                                        \
	100u // units a second: what comes between is refused, and a burst of one unit saves nothing
	     // up

void share_check_start(struct share_check *check, uint64_t limit, uint64_t proxies)
{
	*check = (struct share_check){.limit = limit, .slack = proxies + 1};
}

void share_check_add(struct share_check *check, uint64_t admitted, double missing)
{
	size_t at = check->slots % CHECK_SLOTS;

	check->admitted[at] += admitted;
	check->missing[at] += missing;
	check->sum_short += admitted;
	check->sum_long += admitted;
	check->missing_long += missing;
}

static uint64_t slots_since(const struct share_check *check, uint64_t from)
{
	return check->slots > from ? check->slots - from : 0;
}

static double part(const struct share_check *check, uint64_t sum, uint64_t seconds)
{
	return ((double)sum - (double)check->slack) / ((double)check->limit * (double)seconds);
}

// The parts that proxies took by themselves while others had Redis, at most in the last 10 s.
static double cut_lately(const struct share_check *check)
{
	double most = 0;

	for (size_t i = 0; i < CHECK_SHORT; ++i)
		most = MAX(most, check->cut[i]);
	return most;
}

static void check_short(struct share_check *check)
{
	double found = part(check, check->sum_short, 10);
	bool calm = slots_since(check, check->calm_from) >= CHECK_SHORT;

	if (calm)
		check->worst_short = MAX(check->worst_short, found);
	else
		check->worst_fault = MAX(check->worst_fault, found);
	SIM_MUST(found <= (calm ? 1.03 : 1.10 + cut_lately(check)));
}

// What was not offered could not be admitted; the rest of the limit must have been.
static void check_long(struct share_check *check)
{
	double over = part(check, check->sum_long, 60);
	double under = ((double)(check->sum_long + check->slack) + check->missing_long) /
		       ((double)check->limit * 60);

	if (slots_since(check, check->calm_from) < CHECK_SLOTS)
		return;
	check->worst_over = MAX(check->worst_over, over);
	SIM_MUST(over <= 1.01);
	if (slots_since(check, check->even_from) < CHECK_SLOTS)
		return;
	check->worst_under = MAX(check->worst_under, 1 - under);
	SIM_MUST(check->limit < FEW || under >= 0.99);
}

void share_check_slot(struct share_check *check, bool fault, bool moved, double cut)
{
	size_t next;

	check->cut[check->slots++ % CHECK_SHORT] = cut;
	if (fault)
		check->calm_from = check->slots + SETTLE_SLOTS;
	if (fault || moved)
		check->even_from = check->slots + SETTLE_SLOTS;
	if (check->slots >= CHECK_SHORT) {
		check_short(check);
		check->sum_short -= check->admitted[(check->slots - CHECK_SHORT) % CHECK_SLOTS];
	}
	if (check->slots >= CHECK_SLOTS)
		check_long(check);
	next = check->slots % CHECK_SLOTS;
	check->sum_long -= check->admitted[next];
	check->missing_long -= check->missing[next];
	check->admitted[next] = 0;
	check->missing[next] = 0;
}
