// Takes messages of a group in batches when it wants them, and waits for each batch's confirmation.

#include "sdk/c/examples/example.h"

#define BATCH 256u

// Settles and frees one batch. With mqp_settle_sync an ack that returned is durable.
static void batch_done(const struct example *example, struct mqp_message **messages, unsigned count)
{
	example_check(example, mqp_settle_sync(messages, count, MQP_ACK, 0, 10000, NULL),
		      "cannot acknowledge");
	for (unsigned i = 0; i < count; ++i)
		mqp_message_free(messages[i]);
}

int main(int argc, char **argv)
{
	struct mqp_message *messages[BATCH];
	struct mqp_consumer_config config;
	struct mqp_consumer *consumer;
	struct mqp_client *client;
	struct example example;
	unsigned long taken = 0;
	int status;

	example_options(&example, EXAMPLE_CONSUMES, argc, argv);
	client = example_connect(&example, MQP_IO_THREAD);

	mqp_consumer_config_init(&config, sizeof config);
	config.group = example.group;
	example_check(&example, mqp_consumer_new(client, &config, &consumer),
		      "cannot make a consumer");
	example_check(&example, mqp_consumer_ready(consumer, 10000), "cannot subscribe");
	while (taken < example.count) {
		unsigned long left = example.count - taken;
		unsigned count, max = left < BATCH ? (unsigned)left : BATCH;
		enum mqp_code code =
			mqp_pull(consumer, max, (int)example_left_ms(&example), messages, &count);

		if (code == MQP_TIMEOUT)
			break;
		example_check(&example, code, "cannot pull");
		batch_done(&example, messages, count);
		taken += count;
	}

	status = example_summary(&example, client, taken == example.count);
	mqp_consumer_free(consumer);
	mqp_client_free(client);
	return status;
}
