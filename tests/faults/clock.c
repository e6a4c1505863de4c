// A wall clock that a test sets while the program runs, to be preloaded. The machine's own clock,
// and the program's monotonic one, stay as they are.
//
// The step is in a file of 8 bytes that both map (CLOCK_STEP: i64, milliseconds). Only what the C
// library is asked for is changed: what the kernel stamps itself (files) is not.

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define PRELOADED __attribute__((visibility("default")))

static const int64_t *step_ms;

__attribute__((constructor)) static void step_map(void)
{
	const char *path = getenv("CLOCK_STEP");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *memory = fd < 0 ? MAP_FAILED : mmap(NULL, 8, PROT_READ, MAP_SHARED, fd, 0);

	if (memory == MAP_FAILED) {
		perror("CLOCK_STEP");
		_exit(99);
	}
	close(fd);
	step_ms = memory;
}

PRELOADED int clock_gettime(clockid_t clock, struct timespec *ret)
{
	int r = (int)syscall(SYS_clock_gettime, clock, ret);
	int64_t step = step_ms ? __atomic_load_n(step_ms, __ATOMIC_RELAXED) : 0, ns;

	if (r != 0 || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE))
		return r;
	ns = ret->tv_nsec + step % 1000 * 1000000;
	ret->tv_sec += step / 1000 + (ns >= 1000000000) - (ns < 0);
	ret->tv_nsec = ns + (ns < 0) * 1000000000 - (ns >= 1000000000) * 1000000000;
	return 0;
}

PRELOADED int gettimeofday(struct timeval *restrict ret, void *restrict zone)
{
	struct timespec now;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &now);
	*ret = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
	return 0;
}

PRELOADED time_t time(time_t *ret)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (ret)
		*ret = now.tv_sec;
	return now.tv_sec;
}
