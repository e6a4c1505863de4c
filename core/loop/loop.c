// One thread's event loop: descriptors, timers, tasks that other threads post, tasks for later in
// the round, and memory that is freed at the end of the round.
//
// Descriptors are libevent events. Timers, mailbox, deferred tasks and late frees are our own and
// run between two calls of libevent, in this order: descriptors, mailbox, timers, deferred tasks,
// mailbox and deferred tasks once more, late frees, wait. The second turn is for backends that
// complete at once: what deferred tasks submitted is answered in the round that read it.
//
// The first timer is in the kernel as a timerfd that is moved only to an earlier time. libevent's
// own timeouts would cost a system call a round.
//
// The mailbox is a stack that any thread pushes on with one compare-and-swap. The loop takes the
// whole stack with one exchange and reverses it, which keeps the order of each sender. The eventfd
// is written only when the loop is about to wait or waits: `asleep` is set before the last look
// into the mailbox and cleared by the first thread that sees it. So a busy loop is never woken, and
// a sleeping one is woken once.
//
// Invariants: callbacks run on the loop's thread only; a task that was posted runs once, at the
// latest in loop_free(). Only loop_post(), loop_stop() and loop_now_ns() may be called by other
// threads. It bounds no queue.

#include "core/loop/loop.h"

#include "core/base/clock.h"
#include "core/base/util.h"
#include "core/loop/timer.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

struct late_free {
	void *memory;
	void (*free_fn)(void *memory);
};

struct loop {
	struct event_base *base;
	struct event *wake_event, *tick_event;
	int wake_fd, tick_fd;
	struct timer_heap timers;
	struct loop_task *deferred, **deferred_end;
	struct late_free *late_frees;
	size_t late_free_count, late_free_room;
	uint64_t now_ns;   // of this round; 0: not asked for yet
	uint64_t tick_ns;  // what tick_fd is set to; 0: not set
	uint64_t floor_ns; // no timer is set to less
	char name[16];
	struct loop_task *mailbox __attribute__((aligned(64))); // atomic; the newest first
	bool asleep;                                            // atomic
	bool stopping;                                          // atomic
};

static _Thread_local struct loop *current;

static void on_wake(evutil_socket_t fd, short events, void *arg)
{
	uint64_t count;

	if (read(fd, &count, sizeof count) < 0)
		return; // read already: one read ends any number of wakes
}

// Only ends the wait; the timers run afterwards.
static void on_tick(evutil_socket_t fd, short events, void *arg)
{
	struct loop *loop = arg;
	uint64_t count;

	if (read(fd, &count, sizeof count) < 0)
		return; // moved meanwhile: it will come again
	loop->tick_ns = 0;
}

static int loop_init_events(struct loop *loop)
{
	struct event_config *config = event_config_new();

	if (!config)
		return -ENOMEM;
	event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
	event_config_set_flag(config, EVENT_BASE_FLAG_IGNORE_ENV);
	loop->base = event_base_new_with_config(config);
	event_config_free(config);
	if (!loop->base)
		return -ENOMEM;
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->wake_fd < 0)
		return -errno;
	loop->tick_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (loop->tick_fd < 0)
		return -errno;
	loop->wake_event =
		event_new(loop->base, loop->wake_fd, EV_READ | EV_PERSIST, on_wake, loop);
	loop->tick_event =
		event_new(loop->base, loop->tick_fd, EV_READ | EV_PERSIST, on_tick, loop);
	if (!loop->wake_event || !loop->tick_event || event_add(loop->wake_event, NULL) < 0 ||
	    event_add(loop->tick_event, NULL) < 0)
		return -ENOMEM;
	return 0;
}

int loop_new(const char *name, struct loop **ret)
{
	struct loop *loop = aligned_alloc(64, sizeof *loop);
	int r;

	if (!loop)
		return -ENOMEM;
	memset(loop, 0, sizeof *loop);
	loop->wake_fd = loop->tick_fd = -1;
	loop->deferred_end = &loop->deferred;
	loop->floor_ns = 1;
	snprintf(loop->name, sizeof loop->name, "%s", name);
	r = loop_init_events(loop);
	if (r < 0) {
		loop_free(loop);
		return r;
	}
	*ret = loop;
	return 0;
}

static struct loop_task *mailbox_take(struct loop *loop)
{
	struct loop_task *task, *oldest = NULL;

	if (!__atomic_load_n(&loop->mailbox, __ATOMIC_RELAXED))
		return NULL;
	task = __atomic_exchange_n(&loop->mailbox, NULL, __ATOMIC_ACQUIRE);
	while (task) {
		struct loop_task *next = task->next;

		task->next = oldest;
		oldest = task;
		task = next;
	}
	return oldest;
}

static void run_tasks(struct loop_task *task)
{
	while (task) {
		struct loop_task *next = task->next;

		assert(task->fn);
		task->next = NULL;
		task->fn(task);
		task = next;
	}
}

static struct loop_task *deferred_take(struct loop *loop)
{
	struct loop_task *task = loop->deferred;

	loop->deferred = NULL;
	loop->deferred_end = &loop->deferred;
	return task;
}

static void run_late_frees(struct loop *loop)
{
	// A destructor may free more so: the array may grow and move meanwhile.
	for (size_t i = 0; i < loop->late_free_count; ++i) {
		struct late_free late_free = loop->late_frees[i];

		late_free.free_fn(late_free.memory);
	}
	loop->late_free_count = 0;
}

static void run_timers(struct loop *loop)
{
	uint64_t now_ns = loop_now_ns(loop);

	// What a callback sets to now or to the past runs in the next round.
	loop->floor_ns = now_ns + 1;
	while (loop->timers.first && loop->timers.first->at_ns <= now_ns) {
		struct loop_timer *timer = loop->timers.first;

		timer_heap_remove(&loop->timers, timer);
		timer->at_ns = 0;
		timer->fn(timer);
	}
	loop->floor_ns = 1;
}

// Runs what was posted and deferred, and frees what was left for later, until nothing is left:
// those tasks own memory. `current` is set so that they find themselves on their loop.
void loop_free(struct loop *loop)
{
	struct loop *before = current;

	if (!loop)
		return;
	current = loop;
	for (;;) {
		struct loop_task *task = mailbox_take(loop);

		if (!task)
			task = deferred_take(loop);
		if (!task && loop->late_free_count == 0)
			break;
		run_tasks(task);
		run_late_frees(loop);
	}
	current = before == loop ? NULL : before;
	assert(!loop->timers.first); // its owner would be called no more
	if (loop->wake_event)
		event_free(loop->wake_event);
	if (loop->tick_event)
		event_free(loop->tick_event);
	if (loop->base)
		event_base_free(loop->base);
	if (loop->wake_fd >= 0)
		close(loop->wake_fd);
	if (loop->tick_fd >= 0)
		close(loop->tick_fd);
	free(loop->late_frees);
	free(loop);
}

// Sets the timerfd to our first timer. True: something is due already.
static bool arm_tick(struct loop *loop)
{
	struct itimerspec when = {{0, 0}, {0, 0}};
	uint64_t at_ns;

	if (!loop->timers.first)
		return false;
	at_ns = loop->timers.first->at_ns;
	if (loop->tick_ns && loop->tick_ns <= at_ns)
		return false; // too early a tick costs less than moving it
	if (at_ns <= clock_now_ns())
		return true;
	when.it_value.tv_sec = (time_t)(at_ns / S_NS);
	when.it_value.tv_nsec = (long)(at_ns % S_NS);
	if (timerfd_settime(loop->tick_fd, TFD_TIMER_ABSTIME, &when, NULL) < 0)
		return true;
	loop->tick_ns = at_ns;
	return false;
}

static bool has_work(struct loop *loop)
{
	return __atomic_load_n(&loop->mailbox, __ATOMIC_SEQ_CST) || loop->deferred ||
	       __atomic_load_n(&loop->stopping, __ATOMIC_SEQ_CST);
}

// The store to `asleep` and the look into the mailbox must not change places, and neither must the
// push and the look at `asleep` in loop_post(): hence the sequential order of all four. Else both
// sides could miss each other.
static int wait_for_events(struct loop *loop)
{
	int flags = EVLOOP_ONCE;

	if (arm_tick(loop))
		flags |= EVLOOP_NONBLOCK;
	__atomic_store_n(&loop->asleep, true, __ATOMIC_SEQ_CST);
	if (has_work(loop)) {
		__atomic_store_n(&loop->asleep, false, __ATOMIC_SEQ_CST);
		flags |= EVLOOP_NONBLOCK;
	}
	loop->now_ns = 0;
	return event_base_loop(loop->base, flags) < 0 ? -EIO : 0;
}

static void run_completions(struct loop *loop)
{
	struct loop_task *task = mailbox_take(loop);

	if (!task)
		return;
	run_tasks(task);
	run_tasks(deferred_take(loop));
}

int loop_run(struct loop *loop)
{
	int r = 0;

	assert(!current);
	current = loop;
	pthread_setname_np(pthread_self(), loop->name);
	while (r == 0 && !__atomic_load_n(&loop->stopping, __ATOMIC_ACQUIRE)) {
		r = wait_for_events(loop);
		__atomic_store_n(&loop->asleep, false, __ATOMIC_SEQ_CST);
		run_tasks(mailbox_take(loop));
		run_timers(loop);
		run_tasks(deferred_take(loop));
		run_completions(loop);
		run_late_frees(loop);
	}
	loop->now_ns = 0;
	__atomic_store_n(&loop->stopping, false, __ATOMIC_RELEASE);
	current = NULL;
	return r;
}

static void wake_thread(struct loop *loop)
{
	uint64_t one = 1;

	if (!__atomic_load_n(&loop->asleep, __ATOMIC_SEQ_CST) ||
	    !__atomic_exchange_n(&loop->asleep, false, __ATOMIC_SEQ_CST))
		return;
	if (write(loop->wake_fd, &one, sizeof one) < 0)
		return; // EAGAIN: the counter is at its limit, so the loop is awake anyway
}

void loop_stop(struct loop *loop)
{
	__atomic_store_n(&loop->stopping, true, __ATOMIC_SEQ_CST);
	wake_thread(loop);
}

const char *loop_name(const struct loop *loop)
{
	return loop->name;
}

bool loop_is_current(const struct loop *loop)
{
	return current == loop;
}

uint64_t loop_now_ns(const struct loop *loop)
{
	struct loop *mutable_loop = (struct loop *)(uintptr_t)loop;

	if (current != loop)
		return clock_now_ns();
	if (!loop->now_ns) {
		mutable_loop->now_ns = clock_now_ns();
		// Running callbacks, not waiting: a thread that posts now need not wake it.
		__atomic_store_n(&mutable_loop->asleep, false, __ATOMIC_SEQ_CST);
	}
	return loop->now_ns;
}

void loop_post(struct loop *loop, struct loop_task *task)
{
	struct loop_task *newest = __atomic_load_n(&loop->mailbox, __ATOMIC_RELAXED);

	do {
		assert(newest != task); // it is posted already
		task->next = newest;
	} while (!__atomic_compare_exchange_n(&loop->mailbox, &newest, task, true, __ATOMIC_SEQ_CST,
					      __ATOMIC_RELAXED));
	wake_thread(loop);
}

void loop_defer(struct loop *loop, struct loop_task *task)
{
	assert(!current || current == loop);
	assert(loop->deferred_end != &task->next); // it is deferred already
	task->next = NULL;
	*loop->deferred_end = task;
	loop->deferred_end = &task->next;
}

void loop_timer_init(struct loop_timer *timer, struct loop *loop, loop_timer_fn fn)
{
	*timer = (struct loop_timer){.loop = loop, .fn = fn};
}

void loop_timer_set(struct loop_timer *timer, uint64_t at_ns)
{
	assert(!current || current == timer->loop);
	loop_timer_cancel(timer);
	timer->at_ns = MAX(at_ns, timer->loop->floor_ns);
	timer_heap_insert(&timer->loop->timers, timer);
}

void loop_timer_cancel(struct loop_timer *timer)
{
	if (timer->at_ns == 0)
		return;
	assert(!current || current == timer->loop);
	timer_heap_remove(&timer->loop->timers, timer);
	timer->at_ns = 0;
}

static void on_io(evutil_socket_t fd, short events, void *arg)
{
	struct loop_io *io = arg;

	loop_now_ns(io->loop);
	io->fn(io, (events & EV_READ ? LOOP_READ : 0u) | (events & EV_WRITE ? LOOP_WRITE : 0u));
}

int loop_io_init(struct loop_io *io, struct loop *loop, int fd, loop_io_fn fn)
{
	struct event *event = event_new(loop->base, fd, EV_PERSIST, on_io, io);

	if (!event)
		return -ENOMEM;
	*io = (struct loop_io){.loop = loop, .fn = fn, .event = event, .fd = fd};
	return 0;
}

// libevent sets the events of an event with event_assign(), which is only allowed while it is not
// added.
int loop_io_want(struct loop_io *io, unsigned events)
{
	short wanted = EV_PERSIST;

	if (events == io->events)
		return 0;
	if (events & LOOP_READ)
		wanted |= EV_READ;
	if (events & LOOP_WRITE)
		wanted |= EV_WRITE;
	if (io->events && event_del(io->event) < 0)
		return -EIO;
	io->events = 0;
	if (event_assign(io->event, io->loop->base, io->fd, wanted, on_io, io) < 0)
		return -EINVAL;
	if (events && event_add(io->event, NULL) < 0)
		return errno ? -errno : -EIO;
	io->events = events;
	return 0;
}

void loop_io_deinit(struct loop_io *io)
{
	if (io->event)
		event_free(io->event);
	io->event = NULL;
	io->events = 0;
}

void loop_free_later(struct loop *loop, void *memory, void (*free_fn)(void *memory))
{
	if (loop->late_free_count == loop->late_free_room) {
		size_t room = MAX(loop->late_free_room * 2, 16);
		struct late_free *late_frees = realloc(loop->late_frees, room * sizeof *late_frees);

		if (!late_frees)
			return; // out of memory: losing this piece beats freeing what is still used
		loop->late_frees = late_frees;
		loop->late_free_room = room;
	}
	loop->late_frees[loop->late_free_count++] = (struct late_free){memory, free_fn};
}
