// Takes messages of a group by a callback on threads of the library, until there were enough.

#include "sdk/c/examples/example.h"

#include <pthread.h>
#include <time.h>

struct progress {
	pthread_mutex_t lock;
	pthread_cond_t enough;
	unsigned long count;
	unsigned long wanted;
};

// The returned verdict settles the message; the library frees it.
static enum mqp_verdict message_came(struct mqp_message *message, void *arg)
{
	struct progress *progress = arg;
	enum mqp_verdict verdict = MQP_VERDICT_ACK;

	pthread_mutex_lock(&progress->lock);
	if (progress->count == progress->wanted)
		verdict = MQP_VERDICT_RELEASE; // not ours any more: for others, uncounted
	else if (++progress->count == progress->wanted)
		pthread_cond_signal(&progress->enough);
	pthread_mutex_unlock(&progress->lock);
	(void)mqp_message_body(message, NULL); // the work would be here
	return verdict;
}

// The wait is by the monotonic clock: setting the time of day neither ends nor prolongs it.
static void progress_init(struct progress *progress, unsigned long wanted)
{
	pthread_condattr_t attributes;

	progress->count = 0;
	progress->wanted = wanted;
	pthread_mutex_init(&progress->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&progress->enough, &attributes);
	pthread_condattr_destroy(&attributes);
}

static void wait_for_enough(struct progress *progress, long timeout_ms)
{
	struct timespec until;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000 + 1;
	pthread_mutex_lock(&progress->lock);
	while (progress->count < progress->wanted && r == 0)
		r = pthread_cond_timedwait(&progress->enough, &progress->lock, &until);
	pthread_mutex_unlock(&progress->lock);
}

int main(int argc, char **argv)
{
	struct progress progress;
	struct mqp_consumer_config config;
	struct mqp_consumer *consumer;
	struct mqp_client *client;
	struct example example;
	int status;

	example_options(&example, EXAMPLE_CONSUMES, argc, argv);
	progress_init(&progress, example.count);
	client = example_connect(&example, MQP_IO_THREAD);

	mqp_consumer_config_init(&config, sizeof config);
	config.group = example.group;
	config.callback = message_came;
	config.arg = &progress;
	config.threads = example.threads;
	example_check(&example, mqp_consumer_new(client, &config, &consumer),
		      "cannot make a consumer");
	example_check(&example, mqp_consumer_ready(consumer, 10000), "cannot subscribe");
	wait_for_enough(&progress, example_left_ms(&example));

	// Waits for running callbacks and until every ack is confirmed.
	example_check(&example, mqp_consumer_close(consumer, 10000), "cannot close");
	status = example_summary(&example, client,
				 mqp_client_stat(client, MQP_STAT_ACKED) >= example.count);
	mqp_consumer_free(consumer);
	mqp_client_free(client);
	return status;
}
