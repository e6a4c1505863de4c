// The C library's clock_gettime() is replaced in this program; what waits uses the monotonic clock,
// which is left as it is.

#include "tests/crash/wall.h"

#include "core/base/clock.h"

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int64_t behind_ms;

int clock_gettime(clockid_t clock, struct timespec *ret)
{
	int r = (int)syscall(SYS_clock_gettime, clock, ret);

	if (r == 0 && clock == CLOCK_REALTIME) {
		ret->tv_sec -= behind_ms / 1000;
		ret->tv_nsec -= behind_ms % 1000 * 1000000;
		if (ret->tv_nsec < 0) {
			--ret->tv_sec;
			ret->tv_nsec += 1000000000;
		}
	}
	return r;
}

void wall_set_back(int64_t ms)
{
	behind_ms = clock_wall_ms() - ms;
}
