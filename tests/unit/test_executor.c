// core/loop: executors run everything in order and lose nothing; tickers rest, are poked and end.
// Only the gathering of pokes takes time; what else would wait for a clock rests for an hour and is
// poked.

#include "core/base/clock.h"
#include "core/loop/executor.h"
#include "core/loop/ticker.h"
#include "tests/unit/unit.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

enum { SENDERS = 4, EACH = 5000 };
#define HOUR_NS (3600 * S_NS)

// ---- executor

struct office {
	struct executor *executor;
	unsigned ran, running;
	unsigned next[SENDERS];
	bool in_order, freeing;
};

struct job {
	struct loop_task task;
	struct office *office;
	unsigned sender, number;
};

// Only with one thread: nothing is locked.
static void run_job(struct loop_task *task)
{
	struct job *job = CONTAINER_OF(task, struct job, task);
	struct office *office = job->office;

	office->in_order &= office->next[job->sender]++ == job->number;
	office->ran += 1;
	free(job);
}

struct sender {
	struct office *office;
	unsigned index;
	pthread_t thread;
};

static void *send_jobs(void *ctx)
{
	const struct sender *sender = ctx;

	for (unsigned i = 0; i < EACH; ++i) {
		struct job *job = malloc(sizeof *job);

		CHECK(job);
		*job = (struct job){{.fn = run_job}, sender->office, sender->index, i};
		executor_post(sender->office->executor, &job->task);
	}
	return NULL;
}

static void send_from_all(struct office *office)
{
	struct sender senders[SENDERS];

	for (unsigned i = 0; i < SENDERS; ++i) {
		senders[i] = (struct sender){.office = office, .index = i};
		CHECK_EQ(pthread_create(&senders[i].thread, NULL, send_jobs, &senders[i]), 0);
	}
	for (unsigned i = 0; i < SENDERS; ++i)
		pthread_join(senders[i].thread, NULL);
}

static void one_thread_keeps_order(void)
{
	struct office office = {.in_order = true};

	CHECK_EQ(executor_new("test", 1, &office.executor), 0);
	send_from_all(&office);
	executor_drain(office.executor);
	CHECK_EQ(office.ran, SENDERS * EACH);
	CHECK(office.in_order);
	executor_drain(office.executor); // of nothing
	executor_free(office.executor);
}

// Holds up what is behind it until executor_free() is about to be called, and a little longer.
static void hold_up(struct loop_task *task)
{
	struct job *job = CONTAINER_OF(task, struct job, task);

	while (!__atomic_load_n(&job->office->freeing, __ATOMIC_ACQUIRE))
		sched_yield();
	for (unsigned i = 0; i < 1000; ++i)
		sched_yield();
}

static void freeing_runs_what_is_queued(void)
{
	struct office office = {.in_order = true};
	struct job first = {{.fn = hold_up}, &office, 0, 0};

	CHECK_EQ(executor_new("test", 1, &office.executor), 0);
	executor_post(office.executor, &first.task);
	send_from_all(&office);
	__atomic_store_n(&office.freeing, true, __ATOMIC_RELEASE);
	executor_free(office.executor);
	CHECK_EQ(office.ran, SENDERS * EACH);
	CHECK(office.in_order);
	executor_free(NULL);
}

// Each waits until all run: that they do shows as many threads.
static void run_with_others(struct loop_task *task)
{
	struct job *job = CONTAINER_OF(task, struct job, task);
	struct office *office = job->office;

	__atomic_add_fetch(&office->running, 1, __ATOMIC_ACQ_REL);
	while (__atomic_load_n(&office->running, __ATOMIC_ACQUIRE) < SENDERS)
		sched_yield();
	__atomic_add_fetch(&office->ran, 1, __ATOMIC_ACQ_REL);
}

static void several_threads_work_at_a_time(void)
{
	struct office office = {0};
	struct job jobs[SENDERS];

	CHECK_EQ(executor_new("test", SENDERS, &office.executor), 0);
	for (unsigned i = 0; i < SENDERS; ++i) {
		jobs[i] = (struct job){{.fn = run_with_others}, &office, i, 0};
		executor_post(office.executor, &jobs[i].task);
	}
	executor_drain(office.executor);
	CHECK_EQ(office.ran, SENDERS);
	executor_free(office.executor);
}

// ---- how many threads

struct crowd {
	unsigned threads; // atomic: those that have run a task
	unsigned running; // atomic
	bool held;        // atomic: a task does not end
};

static _Thread_local const struct crowd *counted;

struct visit {
	struct loop_task task;
	struct crowd *crowd;
};

static void count_thread(struct loop_task *task)
{
	struct crowd *crowd = CONTAINER_OF(task, struct visit, task)->crowd;

	if (counted != crowd)
		__atomic_add_fetch(&crowd->threads, 1, __ATOMIC_ACQ_REL);
	counted = crowd;
	__atomic_add_fetch(&crowd->running, 1, __ATOMIC_ACQ_REL);
	while (__atomic_load_n(&crowd->held, __ATOMIC_ACQUIRE))
		sched_yield();
	__atomic_sub_fetch(&crowd->running, 1, __ATOMIC_ACQ_REL);
}

static void wait_for_running(const struct crowd *crowd, unsigned running)
{
	while (__atomic_load_n(&crowd->running, __ATOMIC_ACQUIRE) < running)
		sched_yield();
}

static void one_task_at_a_time_needs_one_thread(void)
{
	struct crowd crowd = {0};
	struct visit visit = {{.fn = count_thread}, &crowd};
	struct executor *executor;

	CHECK_EQ(executor_new("test", SENDERS, &executor), 0);
	for (unsigned i = 0; i < 200; ++i) {
		executor_post(executor, &visit.task);
		executor_drain(executor);
	}
	executor_free(executor);
	CHECK_EQ(crowd.threads, 1);
}

// Each task is posted while all threads are held by the tasks before it.
static void a_busy_executor_takes_another_thread(void)
{
	struct crowd crowd = {.held = true};
	struct visit visits[SENDERS];
	struct executor *executor;

	CHECK_EQ(executor_new("test", SENDERS, &executor), 0);
	for (unsigned i = 0; i < SENDERS; ++i) {
		visits[i] = (struct visit){{.fn = count_thread}, &crowd};
		executor_post(executor, &visits[i].task);
		wait_for_running(&crowd, i + 1);
		CHECK_EQ(crowd.threads, i + 1);
	}
	__atomic_store_n(&crowd.held, false, __ATOMIC_RELEASE);
	executor_free(executor);
	CHECK_EQ(crowd.threads, SENDERS);
}

// What comes while as many threads as may be are held waits for one of them.
static void it_takes_no_more_threads_than_it_may(void)
{
	enum { MOST = 2, TASKS = 32 };
	struct crowd crowd = {.held = true};
	struct visit visits[TASKS];
	struct executor *executor;

	CHECK_EQ(executor_new("test", MOST, &executor), 0);
	for (unsigned i = 0; i < TASKS; ++i) {
		visits[i] = (struct visit){{.fn = count_thread}, &crowd};
		executor_post(executor, &visits[i].task);
	}
	wait_for_running(&crowd, MOST);
	CHECK_EQ(crowd.threads, MOST);
	__atomic_store_n(&crowd.held, false, __ATOMIC_RELEASE);
	executor_free(executor);
	CHECK_EQ(crowd.threads, MOST);
	CHECK_EQ(crowd.running, 0);
}

static void look_at_the_thread(struct loop_task *task)
{
	struct job *job = CONTAINER_OF(task, struct job, task);
	char name[16];
	sigset_t blocked;

	CHECK_EQ(pthread_getname_np(pthread_self(), name, sizeof name), 0);
	CHECK_STR(name, "named");
	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	CHECK(sigismember(&blocked, SIGTERM));
	CHECK(!sigismember(&blocked, SIGSEGV)); // of its own: it has a handler
	CHECK(!sigismember(&blocked, SIGBUS));
	job->office->ran += 1;
}

static void threads_have_names_and_no_signals(void)
{
	struct office office = {0};
	struct job job = {{.fn = look_at_the_thread}, &office, 0, 0};
	sigset_t blocked;

	CHECK_EQ(executor_new("named", 1, &office.executor), 0);
	executor_post(office.executor, &job.task);
	executor_free(office.executor);
	CHECK_EQ(office.ran, 1);
	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	CHECK(!sigismember(&blocked, SIGTERM));
}

// ---- ticker

struct clockwork {
	unsigned rounds; // atomic
	uint64_t rest_ns;
	bool held; // atomic: a round does not end
};

static uint64_t count_round(void *ctx)
{
	struct clockwork *work = ctx;

	__atomic_add_fetch(&work->rounds, 1, __ATOMIC_ACQ_REL);
	while (__atomic_load_n(&work->held, __ATOMIC_ACQUIRE))
		sched_yield();
	return work->rest_ns;
}

static void wait_for_rounds(const struct clockwork *work, unsigned rounds)
{
	while (__atomic_load_n(&work->rounds, __ATOMIC_ACQUIRE) < rounds)
		sched_yield();
}

static void rounds_come_by_themselves(void)
{
	struct clockwork work = {.rest_ns = 0};
	struct ticker *ticker;

	CHECK_EQ(ticker_new("test", 0, count_round, &work, &ticker), 0);
	wait_for_rounds(&work, 100);
	ticker_free(ticker);
	ticker_free(NULL);
}

static void a_poke_ends_a_rest(void)
{
	struct clockwork work = {.rest_ns = HOUR_NS};
	struct ticker *ticker;

	CHECK_EQ(ticker_new("test", HOUR_NS, count_round, &work, &ticker), 0);
	for (unsigned i = 1; i <= 100; ++i) {
		CHECK_EQ(__atomic_load_n(&work.rounds, __ATOMIC_ACQUIRE), i - 1);
		ticker_poke(ticker);
		wait_for_rounds(&work, i);
	}
	ticker_free(ticker);
	CHECK_EQ(work.rounds, 100);
}

// However often it is poked while a round runs, one more round comes, and none is lost.
static void pokes_in_a_round_are_one(void)
{
	struct clockwork work = {.rest_ns = HOUR_NS, .held = true};
	struct ticker *ticker;

	CHECK_EQ(ticker_new("test", 0, count_round, &work, &ticker), 0);
	wait_for_rounds(&work, 1);
	for (unsigned i = 0; i < 10; ++i)
		ticker_poke(ticker);
	__atomic_store_n(&work.held, false, __ATOMIC_RELEASE);
	wait_for_rounds(&work, 2);
	ticker_free(ticker);
	CHECK_EQ(work.rounds, 2);
}

static void it_ends_while_it_rests(void)
{
	struct clockwork work = {.rest_ns = HOUR_NS};
	struct ticker *ticker;

	CHECK_EQ(ticker_new("test", HOUR_NS, count_round, &work, &ticker), 0);
	ticker_free(ticker);
	CHECK_EQ(work.rounds, 0);
}

// A round begins no earlier than the gathering after its first poke, and answers all of them. A
// machine that stalls between two pokes may need a round more.
static void pokes_that_come_together_are_one(void)
{
	enum { ROUNDS = 5, POKES = 10 };
	const uint64_t gather_ns = 50 * MS_NS;
	struct clockwork work = {.rest_ns = HOUR_NS};
	struct ticker *ticker;
	bool together = true;

	CHECK_EQ(ticker_new("test", HOUR_NS, count_round, &work, &ticker), 0);
	ticker_set_gather(ticker, gather_ns);
	for (unsigned i = 0; i < ROUNDS; ++i) {
		unsigned rounds = __atomic_load_n(&work.rounds, __ATOMIC_ACQUIRE);
		uint64_t began_ns = clock_now_ns();

		for (unsigned k = 0; k < POKES; ++k)
			ticker_poke(ticker);
		together = together && clock_now_ns() - began_ns < gather_ns;
		wait_for_rounds(&work, rounds + 1);
		CHECK(!together || clock_now_ns() - began_ns >= gather_ns);
	}
	ticker_free(ticker);
	CHECK(work.rounds >= ROUNDS);
	CHECK(!together || work.rounds == ROUNDS);
}

static void it_ends_while_it_gathers(void)
{
	struct clockwork work = {.rest_ns = HOUR_NS};
	struct ticker *ticker;

	for (unsigned i = 0; i < 20; ++i) {
		CHECK_EQ(ticker_new("test", HOUR_NS, count_round, &work, &ticker), 0);
		ticker_set_gather(ticker, HOUR_NS);
		ticker_poke(ticker);
		sched_yield();
		ticker_free(ticker);
	}
	CHECK_EQ(work.rounds, 0);
}

static void it_may_be_poked_when_it_is_not_there(void)
{
	struct clockwork work = {.rest_ns = HOUR_NS};
	struct ticker *ticker;

	ticker_poke(NULL);
	ticker_stop(NULL);
	CHECK_EQ(ticker_new("test", HOUR_NS, count_round, &work, &ticker), 0);
	ticker_stop(ticker);
	ticker_poke(ticker);
	ticker_stop(ticker);
	CHECK_EQ(work.rounds, 0);
	ticker_free(ticker);
}

UNIT_MAIN(UNIT_CASE(one_thread_keeps_order), UNIT_CASE(freeing_runs_what_is_queued),
	  UNIT_CASE(several_threads_work_at_a_time), UNIT_CASE(one_task_at_a_time_needs_one_thread),
	  UNIT_CASE(a_busy_executor_takes_another_thread),
	  UNIT_CASE(it_takes_no_more_threads_than_it_may),
	  UNIT_CASE(threads_have_names_and_no_signals), UNIT_CASE(rounds_come_by_themselves),
	  UNIT_CASE(a_poke_ends_a_rest), UNIT_CASE(pokes_in_a_round_are_one),
	  UNIT_CASE(it_ends_while_it_rests), UNIT_CASE(pokes_that_come_together_are_one),
	  UNIT_CASE(it_ends_while_it_gathers), UNIT_CASE(it_may_be_poked_when_it_is_not_there))
