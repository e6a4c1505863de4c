// What a load costs, from when everything stands to the end: looked at twice, and taken apart.

#include "tests/bench/costs.h"

#include "core/base/clock.h"
#include "core/base/util.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now = {0, 0};

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * S_NS + (uint64_t)now.tv_nsec;
}

struct costs costs_now(const struct args *args)
{
	pid_t pid = (pid_t)args_number(args, "watch", 0);
	clockid_t watched;
	struct costs costs = {clock_now_ns(), clock_ns(CLOCK_PROCESS_CPUTIME_ID), 0};

	if (pid && clock_getcpuclockid(pid, &watched) == 0)
		costs.watched_ns = clock_ns(watched);
	return costs;
}

struct costs costs_since(const struct costs *begun, const struct args *args)
{
	struct costs now = costs_now(args);

	return (struct costs){now.at_ns - begun->at_ns, now.own_ns - begun->own_ns,
			      now.watched_ns - begun->watched_ns};
}

void costs_sleep_until(uint64_t at_ns)
{
	struct timespec at = {.tv_sec = (time_t)(at_ns / S_NS), .tv_nsec = (long)(at_ns % S_NS)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
		;
}
