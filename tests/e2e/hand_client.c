// A process that consumes and dies when told to, for tests/e2e/test_hand.py: what it begins stands
// in a log before anything else happens.
//
// A message is "KEY NUMBER KIND". KIND kill: the process kills itself when its callback begins;
// late: when it ends. Options are name=value; each `group` makes one consumer, with the options
// before it.
//
// A line of the log is "PID GROUP KEY NUMBER ATTEMPT".

#include <mqpaas/mqpaas.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CONSUMERS 4
#define PULL      10

struct options {
	const char *group;
	bool pull;
	unsigned threads, prefetch;
	long callback_us, slow_us; // every tenth message of a key takes slow_us, when it is set
};

struct consumer {
	struct options options;
	struct mqp_consumer *consumer;
	pthread_t thread;
};

static int log_fd = -1;
static volatile sig_atomic_t stopping;

static void stop(int number)
{
	stopping = 1;
}

static long now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

// A sleep of some microseconds takes many more.
static void work(long us)
{
	long until = now_us() + us;

	if (us >= 1000)
		usleep((useconds_t)us);
	while (now_us() < until)
		;
}

static void handle(const struct options *options, struct mqp_message *message)
{
	char key[32] = "", kind[16] = "", text[96], line[128];
	unsigned number = 0;
	size_t size;
	const char *body = mqp_message_body(message, &size);
	int length;

	snprintf(text, sizeof text, "%.*s", (int)size, body);
	sscanf(text, "%31s %u %15s", key, &number, kind);
	length = snprintf(line, sizeof line, "%d %s %s %u %u\n", (int)getpid(), options->group, key,
			  number, mqp_message_attempt(message));
	if (write(log_fd, line, (size_t)length) != length)
		abort();
	if (strcmp(kind, "kill") == 0)
		kill(getpid(), SIGKILL);
	work(options->slow_us && number % 10 == 9 ? options->slow_us : options->callback_us);
	if (strcmp(kind, "late") == 0)
		kill(getpid(), SIGKILL);
}

static enum mqp_verdict on_message(struct mqp_message *message, void *arg)
{
	handle(arg, message);
	return MQP_VERDICT_ACK;
}

static void *pull_main(void *arg)
{
	struct consumer *consumer = arg;
	struct mqp_message *messages[PULL];
	unsigned count;

	while (!stopping) {
		if (mqp_pull(consumer->consumer, PULL, 100, messages, &count) != MQP_OK)
			continue;
		for (unsigned i = 0; i < count; ++i) {
			handle(&consumer->options, messages[i]);
			mqp_ack(messages[i]);
			mqp_message_free(messages[i]);
		}
	}
	return NULL;
}

static void start(struct consumer *consumer, struct mqp_client *client)
{
	struct mqp_consumer_config config;

	mqp_consumer_config_init(&config, sizeof config);
	config.group = consumer->options.group;
	config.prefetch_messages = consumer->options.prefetch;
	if (!consumer->options.pull) {
		config.callback = on_message;
		config.arg = &consumer->options;
		config.threads = consumer->options.threads;
	}
	if (mqp_consumer_new(client, &config, &consumer->consumer) != MQP_OK)
		abort();
	if (consumer->options.pull)
		pthread_create(&consumer->thread, NULL, pull_main, consumer);
}

static bool option(const char *argument, const char *name, const char **ret)
{
	size_t size = strlen(name);

	if (strncmp(argument, name, size) != 0 || argument[size] != '=')
		return false;
	*ret = argument + size + 1;
	return true;
}

int main(int argc, char **argv)
{
	struct consumer consumers[CONSUMERS] = {0};
	struct options options = {.threads = 1};
	struct mqp_client_config config;
	struct mqp_client *client;
	unsigned count = 0;

	signal(SIGTERM, stop);
	mqp_client_config_init(&config, sizeof config);
	for (int i = 1; i < argc; ++i) {
		const char *value;

		if (option(argv[i], "log", &value))
			log_fd = open(value, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
		else if (option(argv[i], "mode", &value))
			options.pull = strcmp(value, "pull") == 0;
		else if (option(argv[i], "threads", &value))
			options.threads = (unsigned)atoi(value);
		else if (option(argv[i], "prefetch", &value))
			options.prefetch = (unsigned)atoi(value);
		else if (option(argv[i], "callback_us", &value))
			options.callback_us = atol(value);
		else if (option(argv[i], "slow_us", &value))
			options.slow_us = atol(value);
		else if (option(argv[i], "group", &value) && count < CONSUMERS)
			consumers[count].options = options,
			consumers[count++].options.group = value;
		else
			return 2;
	}
	if (mqp_client_new(&config, &client) != MQP_OK)
		return 1;
	for (unsigned i = 0; i < count; ++i)
		start(&consumers[i], client);
	while (!stopping)
		usleep(20000);
	for (unsigned i = 0; i < count; ++i)
		if (consumers[i].options.pull)
			pthread_join(consumers[i].thread, NULL);
	for (unsigned i = 0; i < count; ++i)
		mqp_consumer_free(consumers[i].consumer);
	mqp_client_free(client);
	return 0;
}
