// One event loop a worker thread: descriptors, timers, and a mailbox through which every other
// thread reaches it.
//
// Everything here is for the loop's own thread unless marked @thread any. A callback may free its
// own object only through loop_free_later(): the memory goes when the callback has returned.
#pragma once

#include "core/base/list.h"

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_timer;
struct loop_task;
struct loop_io;

typedef void (*loop_timer_fn)(struct loop_timer *timer);
typedef void (*loop_task_fn)(struct loop_task *task);
typedef void (*loop_io_fn)(struct loop_io *io, unsigned events);

enum { LOOP_READ = 1, LOOP_WRITE = 2 };

// Embedded in its owner, found again with CONTAINER_OF.
struct loop_timer {
	struct loop *loop;
	loop_timer_fn fn;
	uint64_t at_ns;                         // 0: not set
	struct loop_timer *child, *next, *prev; // core/loop/timer.c
};

// Work for a loop. Owned by the sender until posted, by the loop until fn runs, then by fn.
struct loop_task {
	struct loop_task *next;
	loop_task_fn fn;
};

struct loop_io {
	struct loop *loop;
	loop_io_fn fn;
	void *event;
	int fd;
	unsigned events;
};

int loop_new(const char *name, struct loop **ret);
void loop_free(struct loop *loop); // not running; drops tasks that are still in the mailbox by
				   // running them
int loop_run(struct loop *loop);   // returns after loop_stop(); 0 or negative errno
void loop_stop(struct loop *loop); // @thread any
bool loop_is_current(const struct loop *loop); // @thread any
uint64_t loop_now_ns(const struct loop *loop); // the time when this round of callbacks began

const char *loop_name(const struct loop *loop); // and its thread's. @thread any

void loop_post(struct loop *loop,
	       struct loop_task *task); // @thread any; never blocks; order per sender is kept

// Runs the task once at the end of this round, after the mailbox and the timers, before the loop
// waits again: output that a round has gathered leaves here. From a deferred task: later in this
// round or in the next, which then does not wait. A task waits in one place at a time.
void loop_defer(struct loop *loop, struct loop_task *task);

void loop_timer_init(struct loop_timer *timer, struct loop *loop, loop_timer_fn fn);
void loop_timer_set(struct loop_timer *timer, uint64_t at_ns); // also moves one that is set
void loop_timer_cancel(struct loop_timer *timer); // does nothing to one that is not set

int loop_io_init(struct loop_io *io, struct loop *loop, int fd, loop_io_fn fn);
int loop_io_want(struct loop_io *io, unsigned events); // level-triggered; 0: none
void loop_io_deinit(struct loop_io *io);

void loop_free_later(struct loop *loop, void *memory,
		     void (*free_fn)(void *memory)); // freed at the end of this round
