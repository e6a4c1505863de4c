// Restarts in order and by kill -9.

#include "tests/contract/promises.h"

#include "tests/contract/cases.h"
#include "tests/contract/steps.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

void stored_messages_survive(struct bench *bench)
{
	const struct topic *topic = plain_topic(bench, 2);
	const struct group *group = bench_group(bench, topic, GROUP_START_EARLIEST, 0);
	struct message message = {.partition = 1, .number = 100, .body = TEXT("x")};
	json_t *answer;

	bench_fill(bench, topic, 1, 0, 100);
	bench_reopen(bench);
	answer = bench_describe(bench, topic, NULL);
	CHECK_EQ(sum_of(answer, "end"), 100);
	json_decref(answer);
	CHECK_EQ(bench_send_ok(bench, topic, &message, 1), 100); // positions go on
	expect_closed_backlog(bench, group, topic, 101, 0, 0);
	models_end(topic, group);
}

void contract_live_and_be_killed(const char *kind, enum durability durability, const char *dir,
				 int fd)
{
	struct bench bench;
	const struct topic *topic;
	const struct group *group;
	struct reader *reader;
	static struct got got[1000];
	struct settle entry;

	bench_open(&bench, kind, durability, dir, "");
	topic = plain_topic(&bench, 1);
	group = bench_group(&bench, topic, GROUP_START_EARLIEST, 0);
	bench_fill(&bench, topic, 0, 0, 1000);
	reader = reader_open(&bench, topic, group);
	reader_demand(reader, 1000, 1 << 30);
	take_all(reader, got, 1000);
	for (uint32_t i = 1; i < 1000; i += 2) {
		entry = reader_receipt(&got[i], SETTLE_ACK, 0);
		reader_settle_soon(reader, &entry, 1);
	}
	settle(reader, &got[0], SETTLE_NACK, 3600 * 1000);
	settle(reader, &got[2], SETTLE_NACK, 0);
	if (write(fd, "x", 1) == 1)
		pause();
	_exit(1);
}

// Every other one but the first, which waits. The third has an attempt more: a log has it in its
// place, a queue where its copy stands.
static void expect_unacked(struct bench *bench, struct reader *reader)
{
	enum { COUNT = 499 };
	static struct got got[COUNT];
	size_t nacked = 0;

	take_all(reader, got, COUNT);
	while (nacked < COUNT - 1 && got[nacked].number != 2)
		++nacked;
	CHECK_EQ(got[nacked].number, 2);
	CHECK_EQ(got[nacked].delivery.attempt, 2);
	CHECK(nacked == 0 || !keeps_positions(bench));
	for (size_t i = 0; i < COUNT - 1; ++i) {
		const struct got *next = &got[i < nacked ? i : i + 1];

		CHECK_EQ(next->number, 4 + 2 * i);
		CHECK_EQ(next->delivery.attempt, 1);
	}
	reader_drop(got, COUNT);
	expect_quiet(reader);
}

void only_the_unacked_comes_after_a_kill(struct bench *bench)
{
	char dir[120], fd[12], byte;
	struct bench after;
	int ends[2], status;
	pid_t child;
	const struct topic *topic;
	const struct group *group;
	struct reader *reader;

	snprintf(dir, sizeof dir, "%s/killed", bench->dir);
	CHECK_EQ(mkdir(dir, 0700), 0);
	CHECK_EQ(pipe(ends), 0);
	bench_leave(bench); // whose directory it is
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		snprintf(fd, sizeof fd, "%d", ends[1]);
		execl("/proc/self/exe", "contract", "--victim", bench->ops->kind,
		      bench->durability == DURABILITY_D1 ? "d1" : "d2", dir, fd, NULL);
		_exit(127);
	}
	close(ends[1]);
	CHECK_EQ(read(ends[0], &byte, 1), 1);
	close(ends[0]);
	CHECK_EQ(kill(child, SIGKILL), 0);
	CHECK_EQ(waitpid(child, &status, 0), child);

	bench_open(&after, bench->ops->kind, bench->durability, dir, "");
	topic = plain_topic(&after, 1);
	group = bench_group(&after, topic, GROUP_START_EARLIEST, 0);
	expect_closed_backlog(&after, group, topic, 499, 1, 0);
	reader = reader_open(&after, topic, group);
	reader_demand(reader, 1000, 1 << 30);
	expect_unacked(&after, reader);
	reader_close(reader);
	models_end(topic, group);
	bench_leave(&after);
	bench_open(bench, after.ops->kind, after.durability, bench->dir, ""); // for the end
}
