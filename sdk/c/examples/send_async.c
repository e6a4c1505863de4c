// Sends every line of a file without waiting, learns of each end by a callback, and flushes.

#include "sdk/c/examples/example.h"

#include <string.h>

// Callbacks run on one thread, the library's, so that no lock is needed here.
struct ends {
	unsigned long ok;
	unsigned long failed;
	enum mqp_code first_failure;
};

static void message_ended(const struct mqp_result *result, void *arg)
{
	struct ends *ends = arg;

	if (mqp_result_outcome(result) == MQP_OUTCOME_OK) {
		++ends->ok;
		return;
	}
	if (ends->failed++ == 0)
		ends->first_failure = mqp_result_code(result);
}

int main(int argc, char **argv)
{
	struct ends ends = {0, 0, MQP_OK};
	struct example example;
	struct mqp_client *client;
	struct mqp_producer *producer;
	struct mqp_message *message;
	unsigned long sent = 0;
	FILE *file;
	int status;

	example_options(&example, EXAMPLE_SENDS, argc, argv);
	file = example_open(&example);
	client = example_connect(&example, MQP_IO_THREAD);
	producer = example_producer(&example, client);
	example_check(&example, mqp_message_new(&message), "message");

	// The bytes of the message are copied: the line may change as soon as the call returns.
	for (; example_next(&example, file, message); ++sent)
		example_check(&example, mqp_send_async(producer, message, message_ended, &ends),
			      "cannot send");
	// After the flush every callback has run.
	example_check(&example, mqp_flush(producer, (int)example_left_ms(&example)),
		      "cannot flush");
	if (ends.failed > 0)
		fprintf(stderr, "%s: %lu messages failed, the first: %s\n", example.program,
			ends.failed, mqp_strerror(ends.first_failure));

	status = example_summary(&example, client, ends.ok == sent);
	mqp_message_free(message);
	mqp_producer_free(producer);
	mqp_client_free(client);
	fclose(file);
	return status;
}
