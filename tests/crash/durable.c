// Each job's `done` is replaced when it is handed to its committer, and put back before it is
// called. Jobs are numbered as they begin, so that an answer can be told from one that was given
// before its own job: some job with a greater number must have ended by then.

#include "tests/crash/durable.h"

#include "adapters/store/committer.h"
#include "tests/contract/harness.h"
#include "tests/crash/recorder.h"

#include <pthread.h>

struct begun {
	struct begun *next;
	struct committer_job *job;
	void (*done)(struct committer_job *job, int r);
	size_t number;
	bool promises; // durability: the D2 store
};

static struct {
	pthread_mutex_t lock;
	struct begun *begun;
	size_t begun_count, ended; // the greatest number of a job that has ended well
	size_t early, answered;
	size_t asked; // jobs that had begun before the question
	bool asking;
} durable = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct begun *begun_take(const struct committer_job *job)
{
	struct begun **at = &durable.begun, *found;

	while ((*at)->job != job)
		at = &(*at)->next;
	found = *at;
	*at = found->next;
	return found;
}

// On the committer's thread: nothing else is being written.
static void job_done(struct committer_job *job, int r)
{
	struct begun *begun;

	pthread_mutex_lock(&durable.lock);
	begun = begun_take(job);
	if (r >= 0) {
		durable.ended = MAX(durable.ended, begun->number);
		durable.early += begun->promises && !recorder_is_durable(RECORDER_D2);
	}
	pthread_mutex_unlock(&durable.lock);
	job->done = begun->done;
	free(begun);
	job->done(job, r);
}

void __real_committer_run(struct committer *committer, struct committer_job *job);
void __wrap_committer_run(struct committer *committer, struct committer_job *job);

void __wrap_committer_run(struct committer *committer, struct committer_job *job)
{
	const char *path = committer_store(committer)->path;
	size_t length = strlen(path);
	struct begun *begun = calloc(1, sizeof *begun);

	CHECK(begun && length > 3);
	*begun = (struct begun){
		.job = job, .done = job->done, .promises = strcmp(path + length - 3, "/d2") == 0};
	job->done = job_done;
	pthread_mutex_lock(&durable.lock);
	begun->number = ++durable.begun_count;
	begun->next = durable.begun;
	durable.begun = begun;
	pthread_mutex_unlock(&durable.lock);
	__real_committer_run(committer, job);
}

static void on_ok(void)
{
	pthread_mutex_lock(&durable.lock);
	if (durable.asking) {
		durable.early += durable.ended <= durable.asked;
		++durable.answered;
		durable.asking = false;
	}
	pthread_mutex_unlock(&durable.lock);
}

void durable_ask(void)
{
	bench_on_ok = on_ok;
	pthread_mutex_lock(&durable.lock);
	durable.asked = durable.begun_count;
	durable.asking = true;
	pthread_mutex_unlock(&durable.lock);
}

static size_t read_count(const size_t *count)
{
	size_t value;

	pthread_mutex_lock(&durable.lock);
	value = *count;
	pthread_mutex_unlock(&durable.lock);
	return value;
}

size_t durable_early(void)
{
	return read_count(&durable.early);
}

size_t durable_answered(void)
{
	return read_count(&durable.answered);
}
