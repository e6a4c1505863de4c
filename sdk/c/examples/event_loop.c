// Sends every line of a file from the application's own loop: the library starts no thread.

#include "sdk/c/examples/example.h"

#include <poll.h>
#include <string.h>

struct ends {
	unsigned long ok;
	unsigned long failed;
};

// Runs inside mqp_client_process, on the loop's own thread.
static void message_ended(const struct mqp_result *result, void *arg)
{
	struct ends *ends = arg;

	if (mqp_result_outcome(result) == MQP_OUTCOME_OK)
		++ends->ok;
	else
		++ends->failed;
}

// One turn of the loop. An application polls its other descriptors in the same call.
static void run_turn(const struct example *example, struct mqp_client *client)
{
	struct pollfd fd = {mqp_client_fd(client), POLLIN, 0};
	int timeout_ms = mqp_client_timeout_ms(client);
	long left_ms = example_left_ms(example);

	if (timeout_ms < 0 || timeout_ms > left_ms)
		timeout_ms = (int)left_ms;
	poll(&fd, 1, timeout_ms);
	example_check(example, mqp_client_process(client), "the loop ended");
}

int main(int argc, char **argv)
{
	struct ends ends = {0, 0};
	struct mqp_producer_config config;
	struct mqp_producer *producer;
	struct mqp_message *message;
	struct mqp_client *client;
	struct example example;
	unsigned long sent = 0;
	FILE *file;
	int status, more;

	example_options(&example, EXAMPLE_SENDS, argc, argv);
	file = example_open(&example);
	client = example_connect(&example, MQP_IO_APP);
	mqp_producer_config_init(&config, sizeof config);
	config.topic = example.topic;
	config.when_full = MQP_FULL_FAIL; // a loop must not be blocked
	example_check(&example, mqp_producer_new(client, &config, &producer),
		      "cannot make a producer");
	// Calls that wait run the loop themselves; here, before it begins, that is welcome.
	example_check(&example, mqp_producer_ready(producer, 10000), "cannot open the topic");
	example_check(&example, mqp_message_new(&message), "message");

	more = example_next(&example, file, message);
	while ((more || ends.ok + ends.failed < sent) && example_left_ms(&example) > 0) {
		while (more) {
			enum mqp_code code =
				mqp_send_async(producer, message, message_ended, &ends);

			if (code == MQP_QUEUE_FULL)
				break; // the same line again, after the next turn
			example_check(&example, code, "cannot send");
			++sent;
			more = example_next(&example, file, message);
		}
		run_turn(&example, client);
	}

	status = example_summary(&example, client, !more && ends.ok == sent);
	mqp_message_free(message);
	mqp_producer_free(producer);
	mqp_client_free(client);
	fclose(file);
	return status;
}
