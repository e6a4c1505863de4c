// One loop, run by hand: a round is mailbox, timers, deferred tasks, late frees, in the order of
// core/loop/loop.c. Time stands still in a round and leaps to the next timer between them.

#include "tests/sim/world.h"

#include "core/base/clock.h"
#include "core/loop/timer.h"
#include "tests/sim/sim.h"

#define ROUNDS_MAX 100000u // without time passing: it would never end
#define LATE_FREES 64u

struct late_free {
	void *memory;
	void (*free_fn)(void *memory);
};

struct task_list {
	struct loop_task *first, **end;
};

struct loop {
	struct timer_heap timers;
	struct task_list mailbox, deferred;
	struct late_free late_frees[LATE_FREES];
	size_t late_free_count;
	uint64_t now_ns, floor_ns; // no timer is set to less than the floor
	int64_t wall_ms;           // when now_ns was 0
};

static struct loop world;

// ---- core/base/clock.h

uint64_t clock_now_ns(void)
{
	return world.now_ns;
}

int64_t clock_wall_ms(void)
{
	return world.wall_ms + (int64_t)(world.now_ns / MS_NS);
}

// ---- core/loop/loop.h

uint64_t loop_now_ns(const struct loop *loop)
{
	return loop->now_ns;
}

static void task_add(struct task_list *list, struct loop_task *task)
{
	task->next = NULL;
	*list->end = task;
	list->end = &task->next;
}

void loop_post(struct loop *loop, struct loop_task *task)
{
	task_add(&loop->mailbox, task);
}

void loop_defer(struct loop *loop, struct loop_task *task)
{
	task_add(&loop->deferred, task);
}

void loop_timer_init(struct loop_timer *timer, struct loop *loop, loop_timer_fn fn)
{
	*timer = (struct loop_timer){.loop = loop, .fn = fn};
}

void loop_timer_set(struct loop_timer *timer, uint64_t at_ns)
{
	loop_timer_cancel(timer);
	timer->at_ns = MAX(at_ns, timer->loop->floor_ns);
	timer_heap_insert(&timer->loop->timers, timer);
}

void loop_timer_cancel(struct loop_timer *timer)
{
	if (timer->at_ns == 0)
		return;
	timer_heap_remove(&timer->loop->timers, timer);
	timer->at_ns = 0;
}

void loop_free_later(struct loop *loop, void *memory, void (*free_fn)(void *memory))
{
	SIM_MUST(loop->late_free_count < LATE_FREES);
	loop->late_frees[loop->late_free_count++] = (struct late_free){memory, free_fn};
}

// ---- the world

static void list_reset(struct task_list *list)
{
	list->first = NULL;
	list->end = &list->first;
}

static void tasks_run(struct task_list *list)
{
	struct loop_task *task = list->first;

	list_reset(list);
	while (task) {
		struct loop_task *next = task->next;

		task->fn(task);
		task = next;
	}
}

static bool timer_is_due(void)
{
	return world.timers.first && world.timers.first->at_ns <= world.now_ns;
}

static void timers_run(void)
{
	// What a callback sets to now or to the past runs in the next round.
	world.floor_ns = world.now_ns + 1;
	while (timer_is_due()) {
		struct loop_timer *timer = world.timers.first;

		timer_heap_remove(&world.timers, timer);
		timer->at_ns = 0;
		timer->fn(timer);
	}
	world.floor_ns = 1;
}

static void late_frees_run(void)
{
	for (size_t i = 0; i < world.late_free_count; ++i)
		world.late_frees[i].free_fn(world.late_frees[i].memory);
	world.late_free_count = 0;
}

void world_run(void)
{
	unsigned rounds = 0;

	while (world.mailbox.first || world.deferred.first || timer_is_due()) {
		SIM_MUST(++rounds < ROUNDS_MAX);
		tasks_run(&world.mailbox);
		timers_run();
		tasks_run(&world.deferred);
		late_frees_run();
	}
}

void world_pass(uint64_t ns)
{
	uint64_t until_ns = world.now_ns + ns;

	world_run();
	while (world.timers.first && world.timers.first->at_ns <= until_ns) {
		world.now_ns = world.timers.first->at_ns;
		world_run();
	}
	world.now_ns = until_ns;
}

void world_wall_jump(int64_t ms)
{
	world.wall_ms += ms;
}

struct loop *world_start(uint64_t now_ns, int64_t wall_ms)
{
	world = (struct loop){.now_ns = now_ns, .floor_ns = 1, .wall_ms = wall_ms};
	list_reset(&world.mailbox);
	list_reset(&world.deferred);
	return &world;
}

void world_end(void)
{
	world_run();
	SIM_MUST(!world.timers.first);
}
