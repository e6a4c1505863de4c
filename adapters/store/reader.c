// The threads that read, so that no loop waits for a disk. One is always there; another is started
// when a job finds all of them busy, up to the number that was asked for.
//
// Invariants: jobs begin in the order in which they came; each runs once, also those that wait when
// the threads are stopped. Not here: what a job reads (range.c, source_requests.c, topic_query.c).

#include "adapters/store/reader.h"

#include "core/base/util.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define THREADS_MAX 8u

struct reader {
	pthread_t threads[THREADS_MAX];
	unsigned thread_count, threads_most;
	unsigned resting, waiting; // threads; jobs
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct log_job *jobs, **jobs_end;
	bool stopping;
};

static void *reader_thread(void *ctx)
{
	struct reader *reader = ctx;

	pthread_mutex_lock(&reader->lock);
	for (;;) {
		struct log_job *job;

		++reader->resting;
		while (!reader->jobs && !reader->stopping)
			pthread_cond_wait(&reader->wake, &reader->lock);
		--reader->resting;
		job = reader->jobs;
		if (!job)
			break;
		--reader->waiting;
		reader->jobs = job->next;
		if (!reader->jobs)
			reader->jobs_end = &reader->jobs;
		pthread_mutex_unlock(&reader->lock);
		job->run(job);
		pthread_mutex_lock(&reader->lock);
	}
	pthread_mutex_unlock(&reader->lock);
	return NULL;
}

static int thread_start(struct reader *reader)
{
	pthread_t *thread = &reader->threads[reader->thread_count];
	int r = pthread_create(thread, NULL, reader_thread, reader);

	if (r)
		return -r;
	pthread_setname_np(*thread, "store-read");
	++reader->thread_count;
	return 0;
}

// One thread is there always; the others are started when all are busy.
int reader_start(unsigned threads, struct reader **ret)
{
	struct reader *reader = calloc(1, sizeof *reader);
	int r;

	if (!reader)
		return -ENOMEM;
	reader->jobs_end = &reader->jobs;
	pthread_mutex_init(&reader->lock, NULL);
	pthread_cond_init(&reader->wake, NULL);
	reader->threads_most = MIN(threads, THREADS_MAX);
	r = thread_start(reader);
	if (r < 0) {
		reader_stop(reader);
		return r;
	}
	*ret = reader;
	return 0;
}

void reader_stop(struct reader *reader)
{
	if (!reader)
		return;
	pthread_mutex_lock(&reader->lock);
	reader->stopping = true;
	pthread_cond_broadcast(&reader->wake);
	pthread_mutex_unlock(&reader->lock);
	for (unsigned i = 0; i < reader->thread_count; ++i)
		pthread_join(reader->threads[i], NULL);
	assert(!reader->jobs && !reader->waiting);
	pthread_mutex_destroy(&reader->lock);
	pthread_cond_destroy(&reader->wake);
	free(reader);
}

void reader_run(struct reader *reader, struct log_job *job)
{
	assert(job->run);
	job->next = NULL;
	pthread_mutex_lock(&reader->lock);
	*reader->jobs_end = job;
	reader->jobs_end = &job->next;
	if (++reader->waiting > reader->resting && reader->thread_count < reader->threads_most)
		thread_start(reader); // if it cannot be, the job has its turn later
	pthread_cond_signal(&reader->wake);
	pthread_mutex_unlock(&reader->lock);
}
