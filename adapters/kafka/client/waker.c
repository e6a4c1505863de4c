// Wakes a thread that sleeps: a condition variable with a flag.
//
// Pokes are not counted: one turn of the thread answers all pokes that came before it began.

#include "adapters/kafka/client/waker.h"

#include <time.h>
#include <unistd.h>

void waker_init(struct waker *waker)
{
	pthread_condattr_t monotonic;

	*waker = (struct waker){.poked = false};
	pthread_mutex_init(&waker->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&waker->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
}

void waker_deinit(struct waker *waker)
{
	pthread_cond_destroy(&waker->changed);
	pthread_mutex_destroy(&waker->lock);
}

void waker_poke(struct waker *waker)
{
	pthread_mutex_lock(&waker->lock);
	waker->poked = true;
	pthread_cond_signal(&waker->changed);
	pthread_mutex_unlock(&waker->lock);
}

void waker_stop(struct waker *waker)
{
	pthread_mutex_lock(&waker->lock);
	waker->stopped = true;
	pthread_cond_signal(&waker->changed);
	pthread_mutex_unlock(&waker->lock);
}

bool waker_is_stopped(struct waker *waker)
{
	bool stopped;

	pthread_mutex_lock(&waker->lock);
	stopped = waker->stopped;
	pthread_mutex_unlock(&waker->lock);
	return stopped;
}

bool waker_rest(struct waker *waker, unsigned rest_ms, unsigned soon_ms)
{
	struct timespec until;
	bool going;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += rest_ms / 1000;
	until.tv_nsec += rest_ms % 1000 * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	pthread_mutex_lock(&waker->lock);
	while (!waker->poked && !waker->stopped && r == 0)
		r = pthread_cond_timedwait(&waker->changed, &waker->lock, &until);
	if (waker->poked && !waker->stopped) {
		pthread_mutex_unlock(&waker->lock);
		usleep(soon_ms * 1000);
		pthread_mutex_lock(&waker->lock);
	}
	waker->poked = false;
	going = !waker->stopped;
	pthread_mutex_unlock(&waker->lock);
	return going;
}
