// The example programs as processes against a fake proxy: what they send, consume, print and
// return. Argument: the folder of the programs.

#include "tests/sdk/scene.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#define LINES 200

static const char *folder;
extern char **environ;

struct run {
	int status;
	char output[4096];
};

// Runs a program with up to six more arguments; both outputs are read together.
static void run(struct run *result, const struct scene *scene, const char *program,
		const char *const extra[6])
{
	char path[512];
	const char *argv[16] = {path,        "--address", scene->address, "--access-key", "ak",
				"--timeout", "20"};
	posix_spawn_file_actions_t actions;
	size_t used = 0, count = 7;
	int pipes[2];
	ssize_t got;
	pid_t pid;

	snprintf(path, sizeof path, "%s/%s", folder, program);
	for (size_t i = 0; i < 6 && extra[i]; ++i)
		argv[count++] = extra[i];
	CHECK_EQ(pipe2(pipes, O_CLOEXEC), 0);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, pipes[1], STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, pipes[1], STDERR_FILENO);
	CHECK_EQ(posix_spawn(&pid, path, &actions, NULL, (char **)(uintptr_t)argv, environ), 0);
	posix_spawn_file_actions_destroy(&actions);
	close(pipes[1]);
	while (used < sizeof result->output - 1 &&
	       (got = read(pipes[0], result->output + used, sizeof result->output - 1 - used)) > 0)
		used += (size_t)got;
	result->output[used] = 0;
	close(pipes[0]);
	CHECK_EQ(waitpid(pid, &result->status, 0), pid);
}

#define RUN(result, scene, program, ...)                                                           \
	run(result, scene, program, (const char *const[6]){__VA_ARGS__})

static void must(const struct run *result, int status, const char *text)
{
	if (!WIFEXITED(result->status) || WEXITSTATUS(result->status) != status ||
	    !strstr(result->output, text)) {
		fprintf(stderr, "status %d, wanted %d with \"%s\":\n%s", result->status, status,
			text, result->output);
		exit(1);
	}
}

static void write_events(char *path)
{
	int fd = mkstemp(path);

	CHECK(fd >= 0);
	for (int i = 0; i < LINES; ++i)
		dprintf(fd, "{\"id\":%d,\"net\":\"n%d\"}\n", i, i % 7);
	close(fd);
}

static void senders(void)
{
	static const char *const programs[] = {"send_sync", "send_async", "event_loop"};
	char file[] = "/tmp/mqpaas-events-XXXXXX", key[8], body[64];
	uint8_t id[16];

	write_events(file);
	for (size_t i = 0; i < ARRAY_SIZE(programs); ++i) {
		struct scene scene;
		struct run result;

		scene_prepare(&scene, &scene_fake);
		RUN(&result, &scene, programs[i], "--topic", "t", "--file", file, "--key", "net");
		must(&result, 0, "\"acknowledged\":200,");
		CHECK_EQ(fake_stored(scene.fake), LINES);
		CHECK(fake_message(scene.fake, 9, key, body, sizeof key, id));
		CHECK_STR(key, "n2");
		RUN(&result, &scene, programs[i], "--topic", "nowhere", "--file", file);
		must(&result, 1, "NOT_FOUND");
		scene_end(&scene);
	}
	unlink(file);
}

static void oneway(void)
{
	char file[] = "/tmp/mqpaas-events-XXXXXX";
	struct scene scene;
	struct run result;

	write_events(file);
	scene_prepare(&scene, &scene_fake);
	RUN(&result, &scene, "send_oneway", "--topic", "t", "--file", file);
	must(&result, 0, "\"oneway_written\":200,");
	EVENTUALLY(fake_oneway(scene.fake) == LINES);
	scene_end(&scene);
	unlink(file);
}

static void consumers(void)
{
	static const char *const programs[] = {"consume_push", "consume_pull"};

	for (size_t i = 0; i < ARRAY_SIZE(programs); ++i) {
		struct scene scene;
		struct run result;

		scene_prepare(&scene, &scene_fake);
		for (int n = 0; n < LINES; ++n)
			fake_store(scene.fake, NULL, "x");
		RUN(&result, &scene, programs[i], "--group", "g", "--count", "150");
		must(&result, 0, "\"acked\":150,");
		EVENTUALLY(fake_in_flight(scene.fake) == 0);
		CHECK_EQ(fake_acked(scene.fake), 150); // not one more than asked for
		RUN(&result, &scene, programs[i], "--group", "g", "--count", "50");
		must(&result, 0, "\"redelivered\":0,");
		CHECK_EQ(fake_acked(scene.fake), 200);
		RUN(&result, &scene, programs[i], "--group", "other");
		must(&result, 1, "NOT_FOUND");
		scene_end(&scene);
	}
}

static void complaints(void)
{
	struct scene scene;
	struct run result;

	scene_prepare(&scene, &scene_fake);
	RUN(&result, &scene, "send_sync", "--topic", "t");
	must(&result, 2, "--file");
	RUN(&result, &scene, "send_sync", "--topic", "t", "--file", "/no/such/file");
	must(&result, 1, "/no/such/file");
	RUN(&result, &scene, "consume_pull", "--group", "g", "--count", "many");
	must(&result, 2, "number");
	RUN(&result, &scene, "consume_push", "--group", "g", "--secret", "wrong");
	must(&result, 1, "UNAUTHENTICATED");
	RUN(&result, &scene, "consume_push", "--help");
	must(&result, 0, "--group NAME");
	scene_end(&scene);
}

int main(int argc, char **argv)
{
	const struct unit_case cases[] = {UNIT_CASE(senders), UNIT_CASE(oneway),
					  UNIT_CASE(consumers), UNIT_CASE(complaints)};

	CHECK_EQ(argc, 2);
	folder = argv[1];
	setenv("MQPAAS_SECRET", "secret", 1); // the secret comes from the environment
	return unit_main(cases, ARRAY_SIZE(cases));
}
