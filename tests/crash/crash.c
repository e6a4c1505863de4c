// Power cuts without a power switch:
//
//   crash [--cuts N] [--rounds N] [--seed S]   every image keeps every promise
//   crash --planted …                          at least one image must not
//   crash --bulk                               transactions of more than 16 MiB, no images
//
// Whatever the images say, no D2 send, settle or change of a topic or group may be answered OK
// before all that was written for it is durable.
//
// Records a workload of the embedded store, cuts it at N moments, builds what a disk may hold then,
// in four ways in turn, opens each with the store's own code and checks it. The seed chooses the
// workload and the images; which batches share a commit is up to the threads, so a broken image is
// kept.

#include "tests/crash/check.h"
#include "tests/crash/durable.h"
#include "tests/crash/image.h"
#include "tests/crash/wall.h"

#include <errno.h>
#include <sys/wait.h>

struct options {
	size_t cuts;
	uint32_t rounds;
	uint64_t seed;
	bool planted, bulk;
};

static uint64_t number_of(const char *text)
{
	char *end = NULL;
	uint64_t value = text ? strtoull(text, &end, 10) : 0;

	if (value == 0 || *end) {
		fputs("use: crash [--cuts N] [--rounds N] [--seed S] [--planted] [--bulk]\n",
		      stderr);
		exit(2);
	}
	return value;
}

static struct options options_read(char **argv)
{
	struct options options = {.cuts = 1000, .rounds = 60, .seed = 1};

	while (*++argv) {
		if (strcmp(*argv, "--planted") == 0)
			options.planted = true;
		else if (strcmp(*argv, "--bulk") == 0)
			options.bulk = true;
		else if (strcmp(*argv, "--cuts") == 0)
			options.cuts = number_of(*++argv);
		else if (strcmp(*argv, "--rounds") == 0)
			options.rounds = (uint32_t)number_of(*++argv);
		else if (strcmp(*argv, "--seed") == 0)
			options.seed = number_of(*++argv);
		else
			number_of(NULL);
	}
	return options;
}

static void directory_remove(const char *dir)
{
	char command[160];

	snprintf(command, sizeof command, "rm -rf '%s'", dir);
	CHECK_EQ(system(command), 0);
}

// In a process of its own: an image that breaks a promise may break LMDB as well.
static bool image_is_good(const struct workload *workload, const char *dir, size_t cut, bool quiet)
{
	pid_t child;
	int status;

	fflush(NULL);
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		if (!freopen(quiet ? "/dev/null" : "/dev/stdout", "w", stderr))
			_exit(3);
		wall_set_back(workload->ended_ms);
		check_image(workload, dir, cut);
		fflush(NULL);
		_exit(0);
	}
	while (waitpid(child, &status, 0) < 0)
		CHECK(errno == EINTR);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// Returns how many images were broken; stops at the first unless they are expected.
static size_t look_at_all(const struct workload *workload, const struct options *options)
{
	size_t count, broken = 0;
	const struct event *events = recorder_events(&count);
	struct image image = {0};
	char dir[64];

	for (size_t i = 0; i < options->cuts; ++i) {
		size_t cut = workload->begin + (count - workload->begin) * (i + 1) / options->cuts;
		enum image_mode mode = (enum image_mode)(i % IMAGE_MODES);

		unit_directory(dir);
		image_advance(&image, events, cut);
		image_write(&image, events, dir, mode, options->seed + i);
		if (image_is_good(workload, dir, cut, options->planted)) {
			directory_remove(dir);
		} else if (options->planted) {
			++broken;
			directory_remove(dir);
		} else {
			printf("cut at event %zu of %zu, what was not durable: %s; kept in %s\n",
			       cut, count, image_mode_names[mode], dir);
			broken = 1;
			break;
		}
	}
	image_deinit(&image);
	return broken;
}

static int bulk_run(const char *dir)
{
	size_t oks = workload_bulk(dir), early = workload_early_acks();

	directory_remove(dir);
	printf("%zu passed, %zu failed\n", oks - early, early);
	return early > 0;
}

int main(int argc, char **argv)
{
	struct options options = options_read(argv);
	size_t count, broken;
	struct workload workload;
	char dir[64];
	bool right;

	unit_directory(dir);
	if (options.bulk)
		return bulk_run(dir);
	workload_run(&workload, dir, options.rounds, options.seed);
	directory_remove(dir);
	broken = look_at_all(&workload, &options);
	recorder_events(&count);
	fprintf(stderr,
		"# %u messages, %zu events, %zu cuts, %zu images broken, %zu early acks, %zu "
		"settles and changes looked at\n",
		workload.count, count, options.cuts, broken, workload_early_acks(),
		durable_answered());
	workload_free(&workload);
	right = options.planted ? broken > 0 && workload_early_acks() > 0
				: broken == 0 && workload.doubts > 0 &&
					  workload_early_acks() == 0 && durable_answered() > 0;
	printf("%zu passed, %d failed\n", options.planted ? (size_t)right : options.cuts - broken,
	       !right);
	return !right;
}
