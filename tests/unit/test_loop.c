// core/loop: timers against a model, the mailbox under threads, descriptors, deferred tasks and
// graves.

#include "core/base/clock.h"
#include "core/loop/loop.h"
#include "core/loop/timer.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <pthread.h>

// ---- the heap

enum { TIMERS = 500 };

static struct loop_timer *model_first(struct loop_timer *timers)
{
	struct loop_timer *first = NULL;

	for (size_t i = 0; i < TIMERS; ++i)
		if (timers[i].at_ns && (!first || timers[i].at_ns < first->at_ns))
			first = &timers[i];
	return first;
}

static void heap_equals_model(void)
{
	struct timer_heap heap = {0};
	struct loop_timer timers[TIMERS] = {0};
	unsigned seed = 12345;

	for (unsigned step = 0; step < 50000; ++step) {
		struct loop_timer *timer = &timers[rand_r(&seed) % TIMERS], *first;

		if (timer->at_ns) {
			timer_heap_remove(&heap, timer);
			timer->at_ns = 0;
		} else {
			timer->at_ns = 1 + (uint64_t)rand_r(&seed) % 1000;
			timer_heap_insert(&heap, timer);
		}
		first = model_first(timers);
		CHECK((heap.first == NULL) == (first == NULL));
		if (first)
			CHECK_EQ(heap.first->at_ns, first->at_ns);
	}
}

// ---- timers on a loop

struct timed {
	struct loop_timer timer;
	struct loop *loop;
	unsigned *order;
	unsigned seen, again;
};

static void on_timed(struct loop_timer *timer)
{
	struct timed *timed = CONTAINER_OF(timer, struct timed, timer);

	timed->seen = ++*timed->order;
	if (timed->again) {
		--timed->again;
		loop_timer_set(timer, 1); // the past: must not starve the others
	} else if (*timed->order >= 6) {
		loop_stop(timed->loop);
	}
}

static void timers_run_in_order(void)
{
	struct loop *loop;
	struct timed timed[4];
	unsigned order = 0;
	uint64_t now_ns = clock_now_ns();

	CHECK_EQ(loop_new("test", &loop), 0);
	for (unsigned i = 0; i < 4; ++i) {
		timed[i] = (struct timed){.loop = loop, .order = &order};
		loop_timer_init(&timed[i].timer, loop, on_timed);
	}
	timed[0].again = 3;
	loop_timer_set(&timed[0].timer, now_ns);
	loop_timer_set(&timed[1].timer, now_ns + 3 * MS_NS);
	loop_timer_set(&timed[2].timer, now_ns + S_NS);
	loop_timer_set(&timed[2].timer, now_ns + 2 * MS_NS); // moved
	loop_timer_set(&timed[3].timer, now_ns + MS_NS);
	loop_timer_cancel(&timed[3].timer);
	loop_timer_cancel(&timed[3].timer);
	CHECK_EQ(loop_run(loop), 0);
	// On a busy machine all may be due in the first round; their order by time holds all the
	// same.
	CHECK_EQ(timed[0].again, 0);
	CHECK(timed[2].seen > 0 && timed[2].seen < timed[1].seen);
	CHECK_EQ(timed[3].seen, 0);
	CHECK(clock_now_ns() >= now_ns + 3 * MS_NS);
	loop_free(loop);
}

// ---- mailbox

enum { SENDERS = 4, LETTERS = 20000 };

struct letter {
	struct loop_task task;
	struct post_office *office;
	unsigned sender, number;
};

struct post_office {
	struct loop *loop;
	unsigned next[SENDERS], received;
	struct letter letters[SENDERS][LETTERS];
};

static void on_letter(struct loop_task *task)
{
	struct letter *letter = CONTAINER_OF(task, struct letter, task);
	struct post_office *office = letter->office;

	CHECK(loop_is_current(office->loop));
	CHECK_EQ(letter->number, office->next[letter->sender]);
	++office->next[letter->sender];
	if (++office->received == SENDERS * LETTERS)
		loop_stop(office->loop);
}

struct sender {
	struct post_office *office;
	unsigned number;
};

static void *send_letters(void *arg)
{
	struct sender *sender = arg;

	for (unsigned i = 0; i < LETTERS; ++i) {
		struct letter *letter = &sender->office->letters[sender->number][i];

		letter->task.fn = on_letter;
		letter->office = sender->office;
		letter->sender = sender->number;
		letter->number = i;
		loop_post(sender->office->loop, &letter->task);
		if (i % 500 == 0)
			sched_yield(); // lets the loop fall asleep now and then
	}
	return NULL;
}

// Also that no wake is lost: the test would hang.
static void mailbox_keeps_order(void)
{
	struct post_office *office = calloc(1, sizeof *office);
	struct sender senders[SENDERS];
	pthread_t threads[SENDERS];

	CHECK(office);
	CHECK_EQ(loop_new("test", &office->loop), 0);
	for (unsigned i = 0; i < SENDERS; ++i) {
		senders[i] = (struct sender){office, i};
		CHECK_EQ(pthread_create(&threads[i], NULL, send_letters, &senders[i]), 0);
	}
	CHECK_EQ(loop_run(office->loop), 0);
	for (unsigned i = 0; i < SENDERS; ++i)
		pthread_join(threads[i], NULL);
	CHECK_EQ(office->received, SENDERS * LETTERS);
	loop_free(office->loop);
	free(office);
}

struct ping {
	struct loop_task task;
	struct loop *own, *to;
	struct ping *other;
	unsigned left;
};

static void on_ping(struct loop_task *task)
{
	struct ping *ping = CONTAINER_OF(task, struct ping, task);

	if (ping->left == 0)
		return; // the last letter is run by loop_free()
	if (--ping->left == 0)
		loop_stop(ping->own);
	loop_post(ping->to, &ping->other->task);
}

static void *run_loop(void *arg)
{
	CHECK_EQ(loop_run(arg), 0);
	return NULL;
}

// Each letter finds the other loop asleep or about to sleep.
static void two_loops_wake_each_other(void)
{
	struct loop *a, *b;
	struct ping ping_a, ping_b;
	pthread_t thread;

	CHECK_EQ(loop_new("a", &a), 0);
	CHECK_EQ(loop_new("b", &b), 0);
	ping_a = (struct ping){{.fn = on_ping}, a, b, &ping_b, 5000};
	ping_b = (struct ping){{.fn = on_ping}, b, a, &ping_a, 5000};
	loop_post(a, &ping_a.task);
	CHECK_EQ(pthread_create(&thread, NULL, run_loop, b), 0);
	CHECK_EQ(loop_run(a), 0);
	pthread_join(thread, NULL);
	CHECK_EQ(ping_a.left, 0);
	CHECK_EQ(ping_b.left, 0);
	loop_free(a);
	loop_free(b);
}

// ---- descriptors, deferred tasks, graves

struct pipe_end {
	struct loop_io io;
	struct loop_task flush;
	struct loop_timer timeout;
	struct loop *loop;
	unsigned reads, flushes, freed;
	char got[8];
};

static void count_free(void *memory)
{
	++((struct pipe_end *)memory)->freed;
}

static void on_flush(struct loop_task *task)
{
	struct pipe_end *end = CONTAINER_OF(task, struct pipe_end, flush);

	++end->flushes;
	loop_free_later(end->loop, end, count_free);
	CHECK_EQ(end->freed, end->flushes - 1); // not before the round has ended
	if (end->flushes == 1)
		loop_defer(end->loop, task);
	else
		loop_stop(end->loop);
}

static void on_readable(struct loop_io *io, unsigned events)
{
	struct pipe_end *end = CONTAINER_OF(io, struct pipe_end, io);

	CHECK_EQ(events, LOOP_READ);
	CHECK_EQ(read(io->fd, end->got, sizeof end->got), 3);
	++end->reads;
	loop_io_want(io, 0);
	loop_defer(end->loop, &end->flush);
}

static void on_timeout(struct loop_timer *timer)
{
	struct pipe_end *end = CONTAINER_OF(timer, struct pipe_end, timeout);

	loop_stop(end->loop);
}

static void descriptors_and_rounds(void)
{
	struct pipe_end end = {.flush = {.fn = on_flush}};
	int fds[2];

	CHECK_EQ(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
	CHECK_EQ(loop_new("test", &end.loop), 0);
	CHECK_EQ(loop_io_init(&end.io, end.loop, fds[0], on_readable), 0);
	CHECK_EQ(loop_io_want(&end.io, LOOP_READ), 0);
	CHECK_EQ(write(fds[1], "abc", 3), 3);
	CHECK_EQ(loop_run(end.loop), 0);
	CHECK_EQ(end.reads, 1);
	CHECK_EQ(end.flushes, 2);
	CHECK_EQ(end.freed, 2);

	// Nothing is wanted any more: bytes stay unread until the timer ends the run.
	CHECK_EQ(write(fds[1], "def", 3), 3);
	loop_timer_init(&end.timeout, end.loop, on_timeout);
	loop_timer_set(&end.timeout, clock_now_ns() + 2 * MS_NS);
	CHECK_EQ(loop_run(end.loop), 0);
	CHECK_EQ(end.reads, 1);
	loop_io_deinit(&end.io);
	loop_free(end.loop);
	close(fds[0]);
	close(fds[1]);
}

// ---- completions

struct exchange {
	struct loop_task work, answer, flush;
	struct loop *loop;
	uint64_t work_ns, flush_ns;
};

static void on_work(struct loop_task *task)
{
	struct exchange *exchange = CONTAINER_OF(task, struct exchange, work);

	exchange->work_ns = loop_now_ns(exchange->loop);
	loop_post(exchange->loop, &exchange->answer);
}

static void on_answer(struct loop_task *task)
{
	struct exchange *exchange = CONTAINER_OF(task, struct exchange, answer);

	loop_defer(exchange->loop, &exchange->flush);
}

static void on_exchange_over(struct loop_task *task)
{
	struct exchange *exchange = CONTAINER_OF(task, struct exchange, flush);

	exchange->flush_ns = loop_now_ns(exchange->loop);
	loop_stop(exchange->loop);
}

// What a deferred task posts is answered, and the answer leaves, in the same round.
static void completed_in_the_same_round(void)
{
	struct exchange exchange = {.work = {.fn = on_work},
				    .answer = {.fn = on_answer},
				    .flush = {.fn = on_exchange_over}};

	CHECK_EQ(loop_new("test", &exchange.loop), 0);
	loop_defer(exchange.loop, &exchange.work);
	CHECK_EQ(loop_run(exchange.loop), 0);
	CHECK_EQ(exchange.flush_ns, exchange.work_ns);
	loop_free(exchange.loop);
}

// What is still in the mailbox is not lost: its owner frees itself in fn.
static void freeing_runs_the_mailbox(void)
{
	struct post_office *office = calloc(1, sizeof *office);

	CHECK(office);
	CHECK_EQ(loop_new("test", &office->loop), 0);
	for (unsigned i = 0; i < 3; ++i) {
		struct letter *letter = &office->letters[0][i];

		*letter = (struct letter){{.fn = on_letter}, office, 0, i};
		loop_post(office->loop, &letter->task);
	}
	loop_free(office->loop);
	CHECK_EQ(office->received, 3);
	free(office);
}

UNIT_MAIN(UNIT_CASE(heap_equals_model), UNIT_CASE(timers_run_in_order),
	  UNIT_CASE(mailbox_keeps_order), UNIT_CASE(two_loops_wake_each_other),
	  UNIT_CASE(descriptors_and_rounds), UNIT_CASE(completed_in_the_same_round),
	  UNIT_CASE(freeing_runs_the_mailbox))
