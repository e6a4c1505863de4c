// Wakes a thread that looks at something in turns, before its next turn is due.
//
// The ground floor of the watcher: code that finds out that the cluster should be looked at pokes
// the waker and needs to know nothing of the watcher.
#pragma once

#include <pthread.h>
#include <stdbool.h>

struct waker {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool poked, stopped; // under lock
};

void waker_init(struct waker *waker);
void waker_deinit(struct waker *waker); // no thread rests in it
void waker_poke(struct waker *waker);   // the next turn is now. @thread any
void waker_stop(struct waker *waker);   // there is no next turn. @thread any
bool waker_is_stopped(struct waker *waker);
// Rests until the next turn: `rest_ms`, or `soon_ms` after a poke, so that pokes that come together
// make one turn. false: stopped. Blocks. @thread the one that is woken
bool waker_rest(struct waker *waker, unsigned rest_ms, unsigned soon_ms);
