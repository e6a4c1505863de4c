// core/loop: a thread runs its loop under the loop's name, is drained in the order of what is
// posted, and leaves the rest to loop_free().

#include "core/loop/loop_thread.h"
#include "tests/unit/unit.h"

#include <sched.h>

enum { SENDERS = 4, EACH = 2000 };

struct post {
	struct loop_task task;
	unsigned *ran;
};

// Slowly, so that a drain that does not wait is seen. Only the loop's thread counts.
static void count_run(struct loop_task *task)
{
	sched_yield();
	*CONTAINER_OF(task, struct post, task)->ran += 1;
}

static void a_drain_waits_for_what_was_posted(void)
{
	static struct post posts[EACH];
	struct loop_thread thread = {0};
	struct loop *loop;
	unsigned ran = 0;

	CHECK_EQ(loop_new("test", &loop), 0);
	CHECK_EQ(loop_thread_start(&thread, loop), 0);
	for (unsigned round = 1; round <= 3; ++round) {
		for (unsigned i = 0; i < EACH; ++i) {
			posts[i] = (struct post){{.fn = count_run}, &ran};
			loop_post(loop, &posts[i].task);
		}
		loop_thread_drain(&thread);
		CHECK_EQ(ran, round * EACH);
	}
	loop_thread_drain(&thread); // of nothing
	loop_thread_stop(&thread);
	loop_free(loop);
}

struct sender {
	struct post posts[EACH];
	struct loop_thread *drained;
	unsigned ran;
	pthread_t thread;
};

static void *post_and_drain(void *ctx)
{
	struct sender *sender = ctx;

	for (unsigned i = 0; i < EACH; ++i) {
		sender->posts[i] = (struct post){{.fn = count_run}, &sender->ran};
		loop_post(sender->drained->loop, &sender->posts[i].task);
	}
	loop_thread_drain(sender->drained);
	CHECK_EQ(sender->ran, EACH);
	return NULL;
}

static void each_caller_drains_its_own(void)
{
	static struct sender senders[SENDERS];
	struct loop_thread thread = {0};
	struct loop *loop;

	CHECK_EQ(loop_new("test", &loop), 0);
	CHECK_EQ(loop_thread_start(&thread, loop), 0);
	for (unsigned i = 0; i < SENDERS; ++i) {
		senders[i].drained = &thread;
		CHECK_EQ(pthread_create(&senders[i].thread, NULL, post_and_drain, &senders[i]), 0);
	}
	for (unsigned i = 0; i < SENDERS; ++i)
		pthread_join(senders[i].thread, NULL);
	loop_thread_stop(&thread);
	loop_free(loop);
}

static void look_at_the_thread(struct loop_task *task)
{
	char name[16];
	sigset_t blocked;

	CHECK_EQ(pthread_getname_np(pthread_self(), name, sizeof name), 0);
	CHECK_STR(name, "named");
	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	CHECK(sigismember(&blocked, SIGTERM));
	count_run(task);
}

static void it_has_the_name_of_its_loop(void)
{
	unsigned ran = 0;
	struct post post = {{.fn = look_at_the_thread}, &ran};
	struct loop_thread thread = {0};
	struct loop *loop;

	CHECK_EQ(loop_new("named", &loop), 0);
	CHECK_EQ(loop_thread_start(&thread, loop), 0);
	loop_post(loop, &post.task);
	loop_thread_drain(&thread);
	CHECK_EQ(ran, 1);
	loop_thread_stop(&thread);
	loop_free(loop);
}

// Its loop may run again, on another thread, and what came in between runs there.
static void it_stops_and_starts_again(void)
{
	unsigned ran = 0;
	struct post post = {{.fn = count_run}, &ran};
	struct loop_thread thread = {0};
	struct loop *loop;

	CHECK_EQ(loop_new("test", &loop), 0);
	loop_thread_stop(&thread); // not started
	CHECK_EQ(loop_thread_start(&thread, loop), 0);
	loop_thread_stop(&thread);
	loop_thread_stop(&thread);
	loop_post(loop, &post.task);
	CHECK_EQ(ran, 0);
	CHECK_EQ(loop_thread_start(&thread, loop), 0);
	loop_thread_drain(&thread);
	CHECK_EQ(ran, 1);
	loop_thread_stop(&thread);
	loop_post(loop, &post.task);
	CHECK_EQ(ran, 1);
	loop_free(loop);
	CHECK_EQ(ran, 2);
}

static void on_its_own_thread(struct loop_task *task)
{
	loop_thread_drain(CONTAINER_OF(task, struct sender, posts[0].task)->drained);
}

static void a_loop_does_not_wait_for_itself(void)
{
	static struct sender sender;
	struct loop_thread thread = {0};
	struct loop *loop;

	CHECK_EQ(loop_new("test", &loop), 0);
	thread.loop = loop;
	thread.running = true; // as its own tasks see it
	sender.drained = &thread;
	sender.posts[0].task.fn = on_its_own_thread;
	loop_post(loop, &sender.posts[0].task);
	CHECK_ABORTS(loop_run(loop));
	sender.posts[0].task.fn = count_run;
	sender.posts[0].ran = &sender.ran;
	loop_free(loop);
}

UNIT_MAIN(UNIT_CASE(a_drain_waits_for_what_was_posted), UNIT_CASE(each_caller_drains_its_own),
	  UNIT_CASE(it_has_the_name_of_its_loop), UNIT_CASE(it_stops_and_starts_again),
	  UNIT_CASE(a_loop_does_not_wait_for_itself))
