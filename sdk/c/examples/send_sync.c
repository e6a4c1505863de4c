// Sends each line of a file and waits for its acknowledgement before the next.

#include "sdk/c/examples/example.h"

int main(int argc, char **argv)
{
	struct example example;
	struct mqp_client *client;
	struct mqp_producer *producer;
	struct mqp_message *message;
	FILE *file;
	int status;

	example_options(&example, EXAMPLE_SENDS, argc, argv);
	file = example_open(&example);
	client = example_connect(&example, MQP_IO_THREAD);
	producer = example_producer(&example, client);
	example_check(&example, mqp_message_new(&message), "message");

	while (example_next(&example, file, message)) {
		long left_ms = example_left_ms(&example);

		example_check(&example,
			      left_ms > 0 ? mqp_send(producer, message, (int)left_ms, NULL)
					  : MQP_TIMEOUT,
			      "cannot send");
	}

	status = example_summary(&example, client,
				 mqp_client_stat(client, MQP_STAT_ACKNOWLEDGED) ==
					 mqp_client_stat(client, MQP_STAT_SENT));
	mqp_message_free(message);
	mqp_producer_free(producer);
	mqp_client_free(client);
	fclose(file);
	return status;
}
