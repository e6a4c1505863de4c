// The little that unit tests need: cases in a table, checks that print both sides, a plain closing
// line.
//
// A check that fails prints where and what, and ends the program with 1: the first failure is the
// one to read.
#pragma once

#include "core/base/util.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>

struct unit_case {
	const char *name;
	void (*run)(void);
};

static inline int unit_main(const struct unit_case *cases, size_t count)
{
	for (size_t i = 0; i < count; ++i) {
		fprintf(stderr, "# %s\n", cases[i].name);
		cases[i].run();
	}
	printf("%zu passed, 0 failed\n", count);
	return 0;
}

// Makes a directory for files that need not survive anything: in memory where there is such a
// place, because a test that flushes thousands of times must not wait for everybody else's disk.
static inline void unit_directory(char path[64])
{
	snprintf(path, 64, "%s/unit-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (!mkdtemp(path)) {
		perror(path);
		exit(1);
	}
}

// For CHECK_ABORTS: true in a child that is to die, false in the parent when it has.
static inline bool unit_is_child(bool *ret_aborted)
{
	pid_t child;
	int status;

	fflush(NULL);
	child = fork();
	if (child == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){0});
		if (!freopen("/dev/null", "w", stderr)) // what the assertion says
			_exit(1);
		return true;
	}
	*ret_aborted = child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status) &&
		       WTERMSIG(status) == SIGABRT;
	return false;
}

#define UNIT_MAIN(...)                                                                             \
	int main(void)                                                                             \
	{                                                                                          \
		const struct unit_case cases[] = {__VA_ARGS__};                                    \
		return unit_main(cases, ARRAY_SIZE(cases));                                        \
	}
#define UNIT_CASE(fn) {#fn, fn}

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);    \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

#define CHECK_EQ(a, b)                                                                             \
	do {                                                                                       \
		long long check_a = (long long)(a), check_b = (long long)(b);                      \
		if (check_a != check_b) {                                                          \
			fprintf(stderr, "%s:%d: %s is %lld, %s is %lld\n", __FILE__, __LINE__, #a, \
				check_a, #b, check_b);                                             \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

// The statement ends in an assertion that does not hold.
#define CHECK_ABORTS(statement)                                                                    \
	do {                                                                                       \
		bool check_aborted;                                                                \
		if (unit_is_child(&check_aborted)) {                                               \
			statement;                                                                 \
			_exit(0);                                                                  \
		}                                                                                  \
		if (!check_aborted) {                                                              \
			fprintf(stderr, "%s:%d: no assertion stops: %s\n", __FILE__, __LINE__,     \
				#statement);                                                       \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

#define CHECK_STR(a, b)                                                                            \
	do {                                                                                       \
		const char *check_a = (a), *check_b = (b);                                         \
		if (strcmp(check_a, check_b) != 0) {                                               \
			fprintf(stderr, "%s:%d: %s is \"%s\", not \"%s\"\n", __FILE__, __LINE__,   \
				#a, check_a, check_b);                                             \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)
