// A wall clock that a test sets while the program runs, to be preloaded. The machine's own clock,
// and the program's monotonic one, stay as they are.
//
// The step is in a file of 8 bytes that both map (CLOCK_STEP: i64, milliseconds). Only what the C
// library is asked for is changed: what the kernel stamps itself (files) is not. Waits until a time
// of the wall clock end when the program's clock says so.

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#define PRELOADED __attribute__((visibility("default")))

static const int64_t *step_ms;
static int (*real_timedwait)(cnd_t *restrict, mtx_t *restrict, const struct timespec *restrict);

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
	memory = dlsym(RTLD_NEXT, "cnd_timedwait");
	memcpy(&real_timedwait, &memory, sizeof real_timedwait);
}

static int64_t step_now(void)
{
	return step_ms ? __atomic_load_n(step_ms, __ATOMIC_RELAXED) : 0;
}

static void time_add(struct timespec *at, int64_t ms)
{
	int64_t ns = at->tv_nsec + ms % 1000 * 1000000;

	at->tv_sec += ms / 1000 + (ns >= 1000000000) - (ns < 0);
	at->tv_nsec = ns + (ns < 0) * 1000000000 - (ns >= 1000000000) * 1000000000;
}

PRELOADED int clock_gettime(clockid_t clock, struct timespec *ret)
{
	int r = (int)syscall(SYS_clock_gettime, clock, ret);

	if (r == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		time_add(ret, step_now());
	return r;
}

PRELOADED int timespec_get(struct timespec *ret, int base)
{
	return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, ret) == 0 ? base : 0;
}

// librdkafka waits so for its brokers, by the wall clock.
PRELOADED int cnd_timedwait(cnd_t *restrict wake, mtx_t *restrict lock,
			    const struct timespec *restrict until)
{
	struct timespec at = *until;

	time_add(&at, -step_now());
	return real_timedwait(wake, lock, &at);
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
