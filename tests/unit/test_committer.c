// Group commit: what fails in a round fails alone. The committer is held inside a first job until
// the round that is looked at has gathered behind it.

#include "adapters/store/committer.h"
#include "adapters/store/row.h"
#include "core/wire/record.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <semaphore.h>
#include <sys/resource.h>

#define TOPIC   7u
#define RECORDS 3u

static char directory[64];
static struct store *store;
static struct committer *committer;
static struct adapter_topic *topic;

struct test_job {
	struct committer_job job;
	sem_t *inside, *hold; // told, and waited for, inside the transaction
	const char *name;     // a row that it writes into `meta`
	int check_r;          // what `check` answers
	int r;                // what `apply` answers after it has written
	int done_r, dones;    // how it ended, and how often
};

static int job_check(struct committer_job *base, struct committer *of, MDB_txn *txn)
{
	return CONTAINER_OF(base, struct test_job, job)->check_r;
}

static int job_apply(struct committer_job *base, struct committer *of, MDB_txn *txn)
{
	struct test_job *job = CONTAINER_OF(base, struct test_job, job);
	MDB_val key, value = {1, (void *)(uintptr_t)"x"};

	if (job->hold) {
		sem_post(job->inside);
		sem_wait(job->hold);
	}
	if (job->name) {
		key = (MDB_val){strlen(job->name), (void *)(uintptr_t)job->name};
		CHECK_EQ(mdb_put(txn, store->meta, &key, &value, 0), 0);
	}
	return job->r;
}

static void job_done(struct committer_job *base, int r)
{
	struct test_job *job = CONTAINER_OF(base, struct test_job, job);

	job->done_r = r;
	++job->dones;
}

static void job_give(struct test_job *job)
{
	job->job.check = job_check;
	job->job.apply = job_apply;
	job->job.done = job_done;
	committer_run(committer, &job->job);
}

static bool row_is_there(const char *name)
{
	MDB_val key = {strlen(name), (void *)(uintptr_t)name}, value;
	MDB_txn *txn;
	int r;

	CHECK_EQ(store_read_begin(store, &txn), 0);
	r = mdb_get(txn, store->meta, &key, &value);
	mdb_txn_abort(txn);
	return r == 0;
}

static int topic_row_put(struct committer_job *base, struct committer *of, MDB_txn *txn)
{
	struct store_topic_row row = {
		.incarnation = 1, .partitions = 1, .durability = DURABILITY_D2};
	uint8_t bytes[STORE_KEY];
	MDB_val key = {STORE_ID_KEY, bytes};

	store_key(bytes, TOPIC, 0, 0);
	return row_put(txn, store->topics, &key, &row, sizeof row);
}

static void begin(void)
{
	struct test_job job = {0};
	char *error = NULL;
	int r;

	unit_directory(directory);
	CHECK_EQ(store_open(directory, NULL, 64u << 20, &store, &error), 0);
	CHECK_EQ(committer_start(store, &committer), 0);
	job.job.apply = topic_row_put;
	job.job.done = job_done;
	committer_run(committer, &job.job);
	committer_flush(committer);
	CHECK_EQ(job.done_r, 0);
	topic = store_topic_open(store, TOPIC, 1, &r);
	CHECK(topic);
}

static void end(void)
{
	char command[100];

	store_topic_close(topic);
	committer_stop(committer);
	store_close(store);
	snprintf(command, sizeof command, "rm -rf '%s'", directory);
	CHECK_EQ(system(command), 0);
}

// ---- submits

struct test_submit {
	struct submit submit;
	struct submit_record record;
	struct submit_run run;
	uint8_t bytes[RECORD_HEAD_SIZE + 8];
	unsigned dones;
};

static void submit_done(struct submit *submit)
{
	++CONTAINER_OF(submit, struct test_submit, submit)->dones;
}

static void submit_give(struct test_submit *submit)
{
	*submit = (struct test_submit){.submit = {.topic = topic, .count = 1, .done = submit_done}};
	le32_put(submit->bytes, sizeof submit->bytes);
	submit->record =
		(struct submit_record){.data = submit->bytes, .size = sizeof submit->bytes};
	submit->submit.records = &submit->record;
	submit->submit.runs = &submit->run;
	committer_submit(committer, &submit->submit);
}

static void expect_ok(const struct test_submit *submits, uint64_t first)
{
	for (uint32_t i = 0; i < RECORDS; ++i) {
		CHECK_EQ(submits[i].dones, 1);
		CHECK_EQ(submits[i].run.outcome, OUTCOME_OK);
		CHECK_EQ(submits[i].run.offset, first + i);
	}
	CHECK_EQ(committer_health(committer), STORE_OK);
}

static void expect_job(const struct test_job *job, int r)
{
	CHECK_EQ(job->dones, 1);
	CHECK_EQ(job->done_r, r);
	CHECK_EQ(row_is_there(job->name), r == 0);
}

// One round of RECORDS submits and the jobs.
static void round_run(struct test_job *jobs, size_t count, struct test_submit *submits)
{
	struct test_job holder = {0};
	sem_t inside, hold;

	sem_init(&inside, 0, 0);
	sem_init(&hold, 0, 0);
	holder.inside = &inside;
	holder.hold = &hold;
	job_give(&holder);
	sem_wait(&inside);
	for (uint32_t i = 0; i < RECORDS; ++i)
		submit_give(&submits[i]);
	for (size_t i = 0; i < count; ++i)
		job_give(&jobs[i]);
	sem_post(&hold);
	committer_flush(committer);
	sem_destroy(&inside);
	sem_destroy(&hold);
}

static void a_job_that_fails_after_writing_fails_alone(void)
{
	struct test_job jobs[] = {
		{.name = "before"}, {.name = "bad", .r = -ENOENT}, {.name = "after"}};
	struct test_submit submits[RECORDS];

	begin();
	round_run(jobs, ARRAY_SIZE(jobs), submits);
	expect_ok(submits, 0);
	expect_job(&jobs[0], 0);
	expect_job(&jobs[1], -ENOENT);
	expect_job(&jobs[2], 0);
	end();
}

static void a_job_that_is_refused_disturbs_nothing(void)
{
	struct test_job jobs[] = {{.name = "refused", .check_r = -ENOSPC}, {.name = "good"}};
	struct test_submit submits[RECORDS];

	begin();
	round_run(jobs, ARRAY_SIZE(jobs), submits);
	expect_ok(submits, 0);
	expect_job(&jobs[0], -ENOSPC);
	expect_job(&jobs[1], 0);
	end();
}

static void any_number_of_bad_jobs_fail_each_alone(void)
{
	static char names[40][8];
	static struct test_job jobs[ARRAY_SIZE(names)];
	struct test_submit submits[RECORDS];

	begin();
	for (size_t i = 0; i < ARRAY_SIZE(names); ++i) {
		snprintf(names[i], sizeof names[i], "job%zu", i);
		jobs[i] = (struct test_job){.name = names[i], .r = i % 3 ? -EUCLEAN : 0};
	}
	round_run(jobs, ARRAY_SIZE(jobs), submits);
	expect_ok(submits, 0);
	for (size_t i = 0; i < ARRAY_SIZE(jobs); ++i)
		expect_job(&jobs[i], jobs[i].r);
	end();
}

static void file_limit(rlim_t bytes)
{
	struct rlimit limit;

	CHECK_EQ(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = MIN(bytes, limit.rlim_max);
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

// Less than the reserve may still be written into the file: that is a full disk, and no failing
// one.
static void a_limit_of_the_file_is_a_full_disk(void)
{
	struct test_submit submits[RECORDS];

	begin();
	file_limit(8u << 20);
	round_run(NULL, 0, submits);
	for (uint32_t i = 0; i < RECORDS; ++i) {
		CHECK_EQ(submits[i].run.outcome, OUTCOME_REJECTED);
		CHECK_EQ(submits[i].run.code, CODE_BACKEND_FULL);
	}
	CHECK_EQ(committer_health(committer), STORE_FULL);
	file_limit(RLIM_INFINITY);
	round_run(NULL, 0, submits);
	expect_ok(submits, 0);
	end();
}

UNIT_MAIN(UNIT_CASE(a_job_that_fails_after_writing_fails_alone),
	  UNIT_CASE(a_job_that_is_refused_disturbs_nothing),
	  UNIT_CASE(any_number_of_bad_jobs_fail_each_alone),
	  UNIT_CASE(a_limit_of_the_file_is_a_full_disk))
