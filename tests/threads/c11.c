// The threads of C11, made of those of POSIX, so that the thread sanitizer sees librdkafka.
//
// It learns which thread waits for which by standing in the place of the pthread functions. The C
// library's own C11 functions do not pass through there: a thread made by thrd_create() ends the
// program at its first step, and what a mtx_t or cnd_t puts in order looks like a race. So under
// that sanitizer these are linked into every program that uses librdkafka, whose calls are bound to
// them first.
//
// The types are those of the C library, which are pthread's under another name. Functions that
// order nothing (thrd_current, thrd_sleep, tss_get, …) stay the C library's.

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#pragma GCC visibility push(default)
#include <threads.h>

_Static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t), "a mtx_t is not pthread's");
_Static_assert(sizeof(cnd_t) == sizeof(pthread_cond_t), "a cnd_t is not pthread's");
_Static_assert(sizeof(once_flag) == sizeof(pthread_once_t), "a once_flag is not pthread's");
_Static_assert(_Generic((thrd_t)0, pthread_t: 1, default: 0), "a thrd_t is not pthread's");

static int answer(int error)
{
	switch (error) {
	case 0: return thrd_success;
	case EBUSY: return thrd_busy;
	case ENOMEM: return thrd_nomem;
	case ETIMEDOUT: return thrd_timedout;
	default: return thrd_error;
	}
}

static pthread_mutex_t *mutex(mtx_t *mtx)
{
	return (pthread_mutex_t *)mtx;
}

static pthread_cond_t *condition(cnd_t *cnd)
{
	return (pthread_cond_t *)cnd;
}

// ---- threads

struct start {
	thrd_start_t run;
	void *arg;
};

static void *start_run(void *ctx)
{
	struct start start = *(struct start *)ctx;

	free(ctx);
	return (void *)(intptr_t)start.run(start.arg);
}

int thrd_create(thrd_t *ret_thread, thrd_start_t run, void *arg)
{
	struct start *start = malloc(sizeof *start);
	int r;

	if (!start)
		return thrd_nomem;
	*start = (struct start){run, arg};
	r = pthread_create(ret_thread, NULL, start_run, start);
	if (r)
		free(start);
	return answer(r);
}

int thrd_join(thrd_t thread, int *ret_result)
{
	void *result;
	int r = pthread_join(thread, &result);

	if (r == 0 && ret_result)
		*ret_result = (int)(intptr_t)result;
	return answer(r);
}

int thrd_detach(thrd_t thread)
{
	return answer(pthread_detach(thread));
}

// ---- locks

int mtx_init(mtx_t *mtx, int type)
{
	bool recursive = type & mtx_recursive;
	pthread_mutexattr_t attr;
	int r;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr,
				  recursive ? PTHREAD_MUTEX_RECURSIVE : PTHREAD_MUTEX_NORMAL);
	r = pthread_mutex_init(mutex(mtx), &attr);
	pthread_mutexattr_destroy(&attr);
	return answer(r);
}

int mtx_lock(mtx_t *mtx)
{
	return answer(pthread_mutex_lock(mutex(mtx)));
}

int mtx_trylock(mtx_t *mtx)
{
	return answer(pthread_mutex_trylock(mutex(mtx)));
}

int mtx_timedlock(mtx_t *mtx, const struct timespec *until)
{
	return answer(pthread_mutex_timedlock(mutex(mtx), until));
}

int mtx_unlock(mtx_t *mtx)
{
	return answer(pthread_mutex_unlock(mutex(mtx)));
}

void mtx_destroy(mtx_t *mtx)
{
	pthread_mutex_destroy(mutex(mtx));
}

// ---- waiting

int cnd_init(cnd_t *cnd)
{
	return answer(pthread_cond_init(condition(cnd), NULL));
}

int cnd_signal(cnd_t *cnd)
{
	return answer(pthread_cond_signal(condition(cnd)));
}

int cnd_broadcast(cnd_t *cnd)
{
	return answer(pthread_cond_broadcast(condition(cnd)));
}

int cnd_wait(cnd_t *cnd, mtx_t *mtx)
{
	return answer(pthread_cond_wait(condition(cnd), mutex(mtx)));
}

int cnd_timedwait(cnd_t *cnd, mtx_t *mtx, const struct timespec *until)
{
	return answer(pthread_cond_timedwait(condition(cnd), mutex(mtx), until));
}

void cnd_destroy(cnd_t *cnd)
{
	pthread_cond_destroy(condition(cnd));
}

void call_once(once_flag *flag, void (*run)(void))
{
	pthread_once((pthread_once_t *)flag, run);
}
