// Flipped bits: whatever is missing afterwards is said.
//
//   flips [--flips N] [--from N] [--seed S] [--fill N] [--ballast MIB] [--only FILE]
//         [--when rest|running]
//
// Makes stores of both classes, with messages, positions, and messages that wait; then, again and
// again, copies them, flips one bit of one file, at rest or while the store is open, and consumes
// everything. What does not come must have been said: the store is refused at start with a reason,
// or it reports damage. What comes must be what was sent. A scrub follows, because what waits for a
// far due time has no other reader.
//
// LMDB trusts its pages: a bit that is flipped in one while the store is open may end the process.
// Then it must have said in which store, and the next start must say what is wrong, or find nothing
// missing.

#include "adapters/embedded/embedded.h"
#include "adapters/kinds.h"
#include "adapters/store/damage.h"
#include "adapters/store/durable_log.h"
#include "adapters/store/fault.h"
#include "adapters/store/scrub.h"
#include "tests/contract/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define PAGE      4096u
#define DELAYED   50u
#define TAKEN     500u
#define ACKED     300u
#define QUIET_MS  300u
#define QUIETS    60u // in a row of them nothing comes, and nothing is said: it is missing
#define HANG_S    60u // longer than one look takes on a busy machine
#define HOUR_MS   (3600 * 1000)
#define NUMBERS   (1u << 20)
#define TOPICS    4u
#define BALLAST   3u    // the topic that only makes the file large
#define WAIT_MORE 5000u // while messages come

#define STORE_OPTIONS "{\"map_bytes\": 4294967296, \"scrub_hours\": 0}"

enum moment { AT_REST, RUNNING, MOMENTS };
static const char *const moment_names[MOMENTS] = {"rest", "running"};

enum file { FILE_D1, FILE_D2, FILE_MARK, FILES };
static const char *const file_names[FILES] = {"d1/data.mdb", "d2/data.mdb", "d1/boot"};

struct options {
	size_t flips, from;
	uint64_t seed;
	uint32_t fill;    // messages of a partition
	uint32_t ballast; // messages of 1 MiB besides
	enum file only;
	enum moment when; // MOMENTS: both
};

// What was there before.
static struct {
	const struct topic *topics[TOPICS];
	const struct group *all[TOPICS], *some[TOPICS];
	uint32_t counts[TOPICS];
	json_int_t waiting[TOPICS];
	size_t topic_count;
} before;

enum end { END_RIGHT, END_SAID, END_SILENT, END_WRONG, END_HANGS, END_DIED, ENDS };
static const char *const end_names[ENDS] = {"nothing missing", "said",  "SILENT",
					    "WRONG",           "HANGS", "died"};

static uint64_t state;

static uint64_t draw(uint64_t below)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (state >> 20) % below;
}

// ---- what there is

static json_int_t backlog_of(struct bench *bench, size_t topic, enum code *ret_code)
{
	json_t *answer = bench_backlog(bench, before.some[topic], before.topics[topic], ret_code),
	       *row;
	json_int_t sum = 0;
	size_t i;

	json_array_foreach(json_object_get(answer, "partitions"), i, row)
	{
		sum += json_integer_value(json_object_get(row, "ready")) +
		       1000 * json_integer_value(json_object_get(row, "retrying")) +
		       1000000 * json_integer_value(json_object_get(row, "delayed"));
	}
	json_decref(answer);
	return sum;
}

static void some_use(struct bench *bench, size_t topic)
{
	static struct got got[TAKEN];
	struct reader *reader = reader_open(bench, before.topics[topic], before.some[topic]);
	size_t count;

	reader_demand(reader, TAKEN, 1 << 24);
	count = reader_take(reader, got, TAKEN, WAIT_MORE);
	CHECK_EQ(count, TAKEN);
	for (size_t i = 0; i < count; ++i) {
		struct settle entry = reader_receipt(&got[i], SETTLE_ACK, 0);

		if (i >= ACKED) {
			entry = reader_receipt(&got[i], SETTLE_NACK, HOUR_MS);
			if (i >= ACKED + DELAYED)
				continue;
		}
		reader_settle_soon(reader, &entry, 1);
	}
	reader_drop(got, count);
	reader_close(reader);
}

static void topic_fill(struct bench *bench, size_t topic, enum durability durability, uint32_t fill)
{
	struct topic_wish wish = {.durability = durability, .partitions = 2};
	struct message later = {.body = TEXT("later"), .due_ms = INT64_MAX / 1000000};
	uint32_t number = 1;

	before.topics[topic] = bench_topic(bench, &wish);
	before.all[topic] = bench_group(bench, before.topics[topic], GROUP_START_EARLIEST, 0);
	before.some[topic] = bench_group(bench, before.topics[topic], GROUP_START_EARLIEST, 0);
	if (topic == 2) { // its first offset is not 0
		bench_fill(bench, before.topics[topic], 0, NUMBERS - 100, 100);
		json_decref(bench_purge(bench, before.topics[topic], false, NULL));
	}
	for (uint32_t i = 0; i < DELAYED; ++i)
		bench_send_ok(bench, before.topics[topic], &later, 1);
	for (uint32_t part = 0; part < fill; part += 50, number += 100) {
		bench_fill(bench, before.topics[topic], 0, number, 50);
		bench_fill(bench, before.topics[topic], 1, number + 50, 50);
	}
	before.counts[topic] = number - 1;
	some_use(bench, topic);
	before.waiting[topic] = backlog_of(bench, topic, NULL);
}

static void ballast_fill(struct bench *bench, uint32_t count)
{
	static uint8_t body[1u << 20];
	struct topic_wish wish = {.durability = DURABILITY_D2};

	before.topics[BALLAST] = bench_topic(bench, &wish);
	before.all[BALLAST] = bench_group(bench, before.topics[BALLAST], GROUP_START_EARLIEST, 0);
	before.some[BALLAST] = before.all[BALLAST];
	for (uint32_t i = 1; i <= count; ++i)
		bench_send_ok(bench, before.topics[BALLAST],
			      &(struct message){.body = {body, sizeof body}, .number = i}, 1);
	before.counts[BALLAST] = count;
	before.waiting[BALLAST] = backlog_of(bench, BALLAST, NULL);
}

// The copy is made while the stores are open and quiet: with the mark, as a death leaves it.
static void stores_make(const struct options *options, const char *dir)
{
	char command[200], live[100];
	struct bench bench;

	snprintf(live, sizeof live, "%s/live", dir);
	CHECK_EQ(mkdir(live, 0700), 0);
	bench_open(&bench, "embedded", DURABILITY_D2, live, STORE_OPTIONS);
	before.topic_count = options->ballast ? TOPICS : BALLAST;
	topic_fill(&bench, 0, DURABILITY_D1, options->fill);
	topic_fill(&bench, 1, DURABILITY_D2, options->fill);
	topic_fill(&bench, 2, DURABILITY_D2, options->fill);
	if (options->ballast)
		ballast_fill(&bench, options->ballast);
	snprintf(command, sizeof command, "cp -r '%s' '%s/base'", live, dir);
	CHECK_EQ(system(command), 0);
	bench_leave(&bench);
}

// ---- a flip

struct flip {
	enum file file;
	uint64_t at; // byte
	unsigned bit;
	bool running; // while the store is open
};

static bool is_tree(int fd, uint64_t page)
{
	uint8_t head[16];

	return pread(fd, head, sizeof head, (off_t)(page * PAGE)) == sizeof head &&
	       le64_get(head) == page && (le16_get(head + 10) == 1 || le16_get(head + 10) == 2);
}

// Anywhere, in one of the two heads, or in a page of a tree.
static uint64_t place_draw(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat about;
	uint64_t page;

	CHECK(fd >= 0 && fstat(fd, &about) == 0 && about.st_size > 0);
	if (about.st_size < PAGE || draw(4) == 0) {
		close(fd);
		return draw((uint64_t)about.st_size);
	}
	page = draw(8) ? 2 : draw(2);
	if (page == 2)
		do {
			page = draw((uint64_t)about.st_size / PAGE);
		} while (!is_tree(fd, page));
	close(fd);
	return page * PAGE + draw(page < 2 ? 160 : PAGE);
}

static void flip_make(const char *dir, const struct flip *flip)
{
	char path[160];
	uint8_t byte;
	int fd;

	snprintf(path, sizeof path, "%s/%s", dir, file_names[flip->file]);
	fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0 && pread(fd, &byte, 1, (off_t)flip->at) == 1);
	byte ^= (uint8_t)(1u << flip->bit);
	CHECK_EQ(pwrite(fd, &byte, 1, (off_t)flip->at), 1);
	close(fd);
}

// ---- what is there afterwards

static bool *seen; // by number

static enum end topic_consume(struct bench *bench, size_t topic)
{
	static struct got got[4096];
	struct reader *reader = reader_open(bench, before.topics[topic], before.all[topic]);
	uint32_t found = 0, quiet = 0;
	size_t count;
	enum end end = END_RIGHT;

	memset(seen, 0, NUMBERS * sizeof *seen);
	while (found < before.counts[topic] && end == END_RIGHT) {
		reader_demand(reader, ARRAY_SIZE(got), 1 << 27);
		count = reader_take(reader, got, MIN(ARRAY_SIZE(got), before.counts[topic] - found),
				    QUIET_MS);
		if (count == 0 && (reader_state(reader) == SOURCE_DOWN || ++quiet > QUIETS))
			break;
		for (size_t i = 0; i < count; ++i) {
			uint32_t number = got[i].number;

			if (number == 0 || number > before.counts[topic] || seen[number])
				end = END_WRONG;
			else
				seen[number] = true;
		}
		found += (uint32_t)count;
		reader_drop(got, count);
	}
	if (end == END_RIGHT && found < before.counts[topic])
		end = reader_state(reader) == SOURCE_DOWN ? END_SAID : END_SILENT;
	reader_close(reader);
	return end;
}

static bool is_said(struct bench *bench)
{
	struct adapter_state now;

	bench->ops->state(bench->adapter, &now);
	return now.damaged_open > 0;
}

// Without its row a topic cannot be opened: the proxy answers NOT_READY, and names it in the log.
static bool can_open(struct bench *bench, size_t topic)
{
	struct adapter_topic *open = bench->ops->topic_open(bench->adapter, before.topics[topic]);

	if (open)
		bench->ops->topic_close(open);
	return open != NULL;
}

static enum end all_consume(struct bench *bench)
{
	enum end worst = END_RIGHT;
	bool told = false;

	for (size_t topic = 0; topic < before.topic_count; ++topic) {
		enum end end;
		enum code code;

		if (!can_open(bench, topic)) {
			told = true;
			continue;
		}
		end = topic_consume(bench, topic);
		worst = MAX(worst, end);
		if (end >= END_SILENT)
			fprintf(stderr, "# topic %zu: messages: %s\n", topic, end_names[end]);
		if (end == END_SILENT &&
		    !is_said(bench)) // a reader of the message's position is told
			return END_SILENT;
		if (backlog_of(bench, topic, &code) != before.waiting[topic] && code == CODE_OK) {
			fprintf(stderr, "# topic %zu: what waits is not what waited\n", topic);
			worst = MAX(worst, END_SILENT);
		}
		told = told || code != CODE_OK;
	}
	scrub_store(bench->adapter->log->stores[CLASS_D1]);
	scrub_store(bench->adapter->log->stores[CLASS_D2]);
	return worst == END_WRONG ? END_WRONG : told || is_said(bench) ? END_SAID : worst;
}

// In a process of its own.
static enum end look(const char *dir, const struct flip *flip)
{
	struct bench bench = {.ops = adapter_kind_find("embedded"), .durability = DURABILITY_D2};
	char *error = NULL;
	enum end end;

	snprintf(bench.dir, sizeof bench.dir, "%s", dir);
	strcpy(bench.options, STORE_OPTIONS);
	if (!flip || !flip->running) {
		if (!bench_start(&bench, &error)) {
			fprintf(stderr, "# refused: %s\n", error);
			return END_SAID;
		}
		bench_stop(&bench);
	}
	bench_open(&bench, "embedded", DURABILITY_D2, dir, STORE_OPTIONS);
	if (flip && flip->running)
		flip_make(dir, flip);
	end = all_consume(&bench);
	bench_leave(&bench);
	return end;
}

static enum end look_apart(const char *dir, const struct flip *flip, const char *log)
{
	pid_t child;
	int status;

	fflush(NULL);
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		if (!freopen(log, "a", stderr))
			_exit(1);
		setvbuf(stderr, NULL, _IONBF, 0); // a process that dies has said all
		alarm(HANG_S);
		_exit(10 + (int)look(dir, flip));
	}
	while (waitpid(child, &status, 0) < 0)
		CHECK(errno == EINTR);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		return END_HANGS;
	if (WIFSIGNALED(status))
		fprintf(stderr, "# ended by SIG%s\n", sigabbrev_np(WTERMSIG(status)));
	return WIFEXITED(status) && WEXITSTATUS(status) >= 10 ? (enum end)(WEXITSTATUS(status) - 10)
							      : END_DIED;
}

static bool fault_is_known(const char *dir)
{
	char path[120];
	bool known = false;

	for (int i = 1; i <= 2; ++i) {
		snprintf(path, sizeof path, "%s/d%d", dir, i);
		known = known || fault_is_marked(path);
	}
	return known;
}

static void shell(const char *format, const char *a, const char *b)
{
	char command[400];

	snprintf(command, sizeof command, "%s '%s' '%s'", format, a, b);
	CHECK_EQ(system(command), 0);
}

static struct flip flip_draw(const struct options *options, const char *base)
{
	struct flip flip = {.running = draw(2) == RUNNING};
	char path[160];

	flip.file =
		options->only < FILES ? options->only : (enum file)(draw(20) ? draw(2) : FILE_MARK);
	if (options->when < MOMENTS)
		flip.running = options->when == RUNNING;
	flip.running = flip.running && flip.file != FILE_MARK;
	snprintf(path, sizeof path, "%s/%s", base, file_names[flip.file]);
	flip.at = place_draw(path);
	flip.bit = (unsigned)draw(8);
	return flip;
}

// One flip. A store that ended its process is started again: then it has to say what is wrong.
static enum end flip_run(const struct options *options, const char *dir, size_t number,
			 bool *ret_died)
{
	char base[100], work[100], log[100];
	struct flip flip;
	enum end end;

	snprintf(base, sizeof base, "%s/base", dir);
	snprintf(work, sizeof work, "%s/work", dir);
	snprintf(log, sizeof log, "%s/log", dir);
	*ret_died = false;
	flip = flip_draw(options, base);
	if (number < options->from)
		return END_RIGHT;
	shell("rm -rf", work, log);
	shell("cp -r", base, work);
	if (!flip.running)
		flip_make(work, &flip);
	end = look_apart(work, &flip, log);
	*ret_died = end == END_DIED;
	if (*ret_died)
		shell("tail -n 2", log, log);
	if (*ret_died && fault_is_known(work))
		end = look_apart(work, NULL, log);
	if (end >= END_SILENT)
		shell("tail -n 3", log, log);
	if (end >= END_SILENT)
		printf("flip %zu: %s, byte %llu (page %llu), bit %u, %s: %s%s\n", number,
		       file_names[flip.file], (unsigned long long)flip.at,
		       (unsigned long long)(flip.at / PAGE), flip.bit,
		       flip.running ? "running" : "at rest", *ret_died ? "died, then " : "",
		       end_names[end]);
	return end;
}

// ---- options

static uint64_t number_of(const char *text)
{
	char *end = NULL;
	uint64_t value = text ? strtoull(text, &end, 10) : 0;

	if (value == 0 || *end) {
		fputs("use: flips [--flips N] [--from N] [--seed S] [--fill N] [--ballast MIB] "
		      "[--only d1|d2|mark] [--when rest|running]\n",
		      stderr);
		exit(2);
	}
	return value;
}

static size_t name_of(const char *const *names, size_t count, const char *name)
{
	for (size_t i = 0; name && i < count; ++i)
		if (strcmp(names[i], name) == 0)
			return i;
	number_of(NULL);
	return count;
}

static struct options options_read(char **argv)
{
	static const char *const names[FILES] = {"d1", "d2", "mark"};
	struct options options = {
		.flips = 50, .seed = 1, .fill = 1000, .only = FILES, .when = MOMENTS};

	while (*++argv) {
		if (strcmp(*argv, "--flips") == 0)
			options.flips = number_of(*++argv);
		else if (strcmp(*argv, "--from") == 0)
			options.from = number_of(*++argv);
		else if (strcmp(*argv, "--seed") == 0)
			options.seed = number_of(*++argv);
		else if (strcmp(*argv, "--fill") == 0)
			options.fill = (uint32_t)number_of(*++argv);
		else if (strcmp(*argv, "--ballast") == 0)
			options.ballast = (uint32_t)number_of(*++argv);
		else if (strcmp(*argv, "--only") == 0)
			options.only = (enum file)name_of(names, FILES, *++argv);
		else if (strcmp(*argv, "--when") == 0)
			options.when = (enum moment)name_of(moment_names, MOMENTS, *++argv);
		else
			number_of(NULL);
	}
	return options;
}

int main(int argc, char **argv)
{
	struct options options = options_read(argv);
	size_t ends[ENDS] = {0}, died = 0, failed;
	char dir[64], command[100];

	setvbuf(stdout, NULL, _IOLBF, 0);
	state = options.seed;
	seen = malloc(NUMBERS * sizeof *seen);
	CHECK(seen);
	unit_directory(dir);
	stores_make(&options, dir);
	for (size_t i = 0; i < options.flips; ++i) {
		bool ended;

		++ends[flip_run(&options, dir, i, &ended)];
		died += ended;
	}
	failed = ends[END_SILENT] + ends[END_WRONG] + ends[END_HANGS] + ends[END_DIED];
	fprintf(stderr, "# %zu flips: %zu with nothing missing, %zu said; %zu ended the process\n",
		options.flips, ends[END_RIGHT], ends[END_SAID], died);
	snprintf(command, sizeof command, "rm -rf '%s'", dir);
	CHECK_EQ(system(command), 0);
	free(seen);
	printf("%zu passed, %zu failed\n", options.flips - failed, failed);
	return failed > 0;
}
