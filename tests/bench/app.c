// The SDK as a load program uses it: whatever fails ends the program with a sentence.

#include "tests/bench/app.h"

#include "core/base/util.h"

#include <string.h>
#include <time.h>

void app_check(enum mqp_code code, const char *what)
{
	if (code != MQP_OK)
		die("%s: %s", what, mqp_code_name(code));
}

struct mqp_client *app_connect(const struct args *args)
{
	struct mqp_client_config config;
	struct mqp_client *client;

	mqp_client_config_init(&config, sizeof config);
	config.addresses = args_text(args, "address", NULL);
	config.access_key = args_text(args, "key", "bare");
	config.secret = args_text(args, "secret", "bare");
	config.tls_ca_file = args_text(args, "ca", NULL);
	config.io =
		strcmp(args_text(args, "io", "thread"), "app") == 0 ? MQP_IO_APP : MQP_IO_THREAD;
	app_check(mqp_client_new(&config, &client), "client");
	app_check(mqp_client_connect(client, APP_WAIT_MS), "connect");
	return client;
}

struct mqp_producer *app_producer(const struct args *args, struct mqp_client *client)
{
	struct mqp_producer_config config;
	struct mqp_producer *producer;

	mqp_producer_config_init(&config, sizeof config);
	config.topic = args_text(args, "topic", "bare");
	config.batch_bytes = (uint32_t)args_number(args, "batch", 0);
	config.memory_bytes = args_number(args, "memory", 0);
	app_check(mqp_producer_new(client, &config, &producer), "producer");
	app_check(mqp_producer_ready(producer, APP_WAIT_MS), "topic");
	return producer;
}

uint64_t app_cpu_ns(void)
{
	struct timespec used;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	return (uint64_t)used.tv_sec * S_NS + (uint64_t)used.tv_nsec;
}

void app_sleep_until(uint64_t at_ns)
{
	struct timespec at = {(time_t)(at_ns / S_NS), (long)(at_ns % S_NS)};

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}
