// sim [ENGINE]... [--schedules N] [--seed S] [--whole]: runs the schedules S, S + 1, … of the
// engines named, of all when none is.
//
// Schedules run in a child process, so that a failed check, a failed assertion of the engine, a
// finding of a sanitizer and an endless loop are all the same: the child ends badly, and memory
// shared with it says in which schedule and step. The parent then leaves out steps, in ever smaller
// pieces, as long as the schedule still fails, and shows what is left with its trace.

#include "tests/sim/sim.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>

#define SCHEDULES_DEFAULT 10000u
#define CPU_SECONDS       20 // of one schedule, which takes milliseconds: it does not end

static const struct sim_engine *const engines[] = {
	&sim_window, &sim_source, &sim_kafka, &sim_group,  &sim_hand, &sim_membership,
	&sim_quota,  &sim_share,  &sim_fair,  &sim_follow, &sim_queue};

// What the child tells, and what it is told to leave out.
static struct shared {
	uint64_t seed;
	unsigned step;
	bool left_out[SIM_STEPS];
} *shared;

static uint64_t random_state;
static bool tracing;

// ---- for the engines

static uint64_t random_next(void)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15ull; // splitmix64

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

uint64_t sim_below(uint64_t n)
{
	return random_next() % n;
}

bool sim_one_in(uint64_t n)
{
	return sim_below(n) == 0;
}

void sim_trace(const char *format, ...)
{
	va_list args;

	if (!tracing)
		return;
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

void sim_fail(const char *file, int line, const char *what)
{
	printf("%s:%d: not so: %s\n", file, line, what);
	fflush(stdout);
	_exit(1);
}

void sim_fail_equal(const char *file, int line, const char *what, int64_t left, int64_t right)
{
	printf("%lld on the left, %lld on the right\n", (long long)left, (long long)right);
	sim_fail(file, line, what);
}

// ---- one schedule

static void random_seed(unsigned step)
{
	random_state = (shared->seed << 12 ^ step) * 0xd1342543de82ef95ull;
	random_next();
}

static void schedule_run(const struct sim_engine *engine, uint64_t seed)
{
	const struct itimerval limit = {.it_value = {.tv_sec = CPU_SECONDS}};

	setitimer(ITIMER_VIRTUAL, &limit, NULL);
	shared->seed = seed;
	shared->step = 0;
	random_seed(SIM_STEPS);
	engine->start();
	for (; shared->step < engine->steps; ++shared->step) {
		if (shared->left_out[shared->step])
			continue;
		if (tracing)
			printf("[%u]\n", shared->step);
		random_seed(shared->step);
		engine->step();
	}
	if (tracing)
		puts("[end]");
	random_seed(SIM_STEPS + 1);
	engine->finish();
}

enum show { SHOW_NOTHING, SHOW_FAULT, SHOW_TRACE };

// Runs schedules in a child; true: all of them are fine.
static bool child_run(const struct sim_engine *engine, uint64_t seed, uint64_t count,
		      enum show show)
{
	pid_t child;
	int status;

	fflush(stdout);
	child = fork();
	if (child < 0) {
		perror("fork");
		exit(2);
	}
	if (child == 0) {
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

		if (null < 0)
			_exit(2);
		if (show != SHOW_TRACE)
			dup2(null, STDOUT_FILENO);
		if (show == SHOW_NOTHING)
			dup2(null, STDERR_FILENO);
		if (show == SHOW_TRACE)
			dup2(STDOUT_FILENO, STDERR_FILENO);
		tracing = show == SHOW_TRACE;
		setvbuf(stdout, NULL, _IOLBF, 0); // nothing is lost when it dies
		for (uint64_t i = 0; i < count; ++i)
			schedule_run(engine, seed + i);
		exit(0);
	}
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return status == 0;
}

// ---- a failing one

static unsigned left_in(const struct sim_engine *engine)
{
	unsigned count = 0;

	for (unsigned i = 0; i < engine->steps; ++i)
		count += !shared->left_out[i];
	return count;
}

// Leaves out the steps from `at` on, if the schedule fails without them too.
static void leave_out(const struct sim_engine *engine, uint64_t seed, unsigned at, unsigned count)
{
	bool before[SIM_STEPS], any = false;

	memcpy(before, shared->left_out, sizeof before);
	for (unsigned i = at; i < MIN(at + count, engine->steps); ++i) {
		any = any || !shared->left_out[i];
		shared->left_out[i] = true;
	}
	if (any && child_run(engine, seed, 1, SHOW_NOTHING))
		memcpy(shared->left_out, before, sizeof before);
}

static void shorten(const struct sim_engine *engine, uint64_t seed)
{
	unsigned size, before;

	for (unsigned i = shared->step + 1; i < engine->steps; ++i)
		shared->left_out[i] = true; // never reached
	for (size = engine->steps / 2; size > 0; size /= 2)
		for (unsigned at = 0; at < engine->steps; at += size)
			leave_out(engine, seed, at, size);
	do {
		before = left_in(engine);
		for (unsigned at = 0; at < engine->steps; ++at)
			leave_out(engine, seed, at, 1);
	} while (left_in(engine) < before);
}

static void show_failure(const struct sim_engine *engine, uint64_t seed, bool whole)
{
	memset(shared->left_out, 0, sizeof shared->left_out);
	if (child_run(engine, seed, 1, SHOW_NOTHING)) {
		printf("%s: schedule %llu fails only after those before it\n", engine->name,
		       (unsigned long long)seed);
		return;
	}
	if (!whole)
		shorten(engine, seed);
	printf("%s: schedule %llu fails; %u of its %u steps:\n", engine->name,
	       (unsigned long long)seed, left_in(engine), engine->steps);
	if (child_run(engine, seed, 1, SHOW_TRACE))
		puts("it does not fail when it is traced");
	printf("again: sim %s --seed %llu --schedules 1\n", engine->name, (unsigned long long)seed);
	memset(shared->left_out, 0, sizeof shared->left_out);
}

// ---- the program

struct options {
	uint64_t seed, schedules;
	bool list, whole, chosen[ARRAY_SIZE(engines)], any;
};

static void engines_list(FILE *file)
{
	for (size_t i = 0; i < ARRAY_SIZE(engines); ++i)
		fprintf(file, "%s\n", engines[i]->name);
}

static void usage(void)
{
	fputs("usage: sim [ENGINE]... [--schedules N] [--seed S] [--whole]\n"
	      "--whole: show a failing schedule as it is, not shortened\nengines:\n",
	      stderr);
	engines_list(stderr);
	exit(2);
}

static uint64_t number_of(const char *text)
{
	char *end;
	uint64_t number;

	errno = 0;
	number = text ? strtoull(text, &end, 10) : 0;
	if (!text || !*text || *end || errno)
		usage();
	return number;
}

static void engine_choose(struct options *options, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(engines); ++i) {
		if (strcmp(engines[i]->name, name) == 0) {
			options->chosen[i] = options->any = true;
			return;
		}
	}
	usage();
}

static struct options options_read(char **argv)
{
	struct options options = {.seed = 1, .schedules = SCHEDULES_DEFAULT};

	while (*++argv) {
		if (strcmp(*argv, "--schedules") == 0)
			options.schedules = number_of(*++argv);
		else if (strcmp(*argv, "--seed") == 0)
			options.seed = number_of(*++argv);
		else if (strcmp(*argv, "--list") == 0)
			options.list = true;
		else if (strcmp(*argv, "--whole") == 0)
			options.whole = true;
		else
			engine_choose(&options, *argv);
	}
	return options;
}

int main(int argc, char **argv)
{
	struct options options = options_read(argv);
	unsigned passed = 0, failed = 0;

	if (options.list) {
		engines_list(stdout);
		return 0;
	}
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (shared == MAP_FAILED) {
		perror("mmap");
		return 2;
	}
	for (size_t i = 0; i < ARRAY_SIZE(engines); ++i) {
		if (options.any && !options.chosen[i])
			continue;
		if (child_run(engines[i], options.seed, options.schedules, SHOW_FAULT)) {
			printf("%s: %llu schedules from seed %llu\n", engines[i]->name,
			       (unsigned long long)options.schedules,
			       (unsigned long long)options.seed);
			++passed;
		} else {
			show_failure(engines[i], shared->seed, options.whole);
			++failed;
		}
	}
	printf("%u passed, %u failed\n", passed, failed);
	return failed > 0;
}
