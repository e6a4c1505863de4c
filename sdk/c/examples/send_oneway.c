// Sends every line of a file once, without acknowledgements: fast, and a message may be lost.

#include "sdk/c/examples/example.h"

int main(int argc, char **argv)
{
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

	for (; example_next(&example, file, message); ++sent)
		example_check(&example, mqp_send_oneway(producer, message), "cannot send");
	// Closing the client in order gives the network what it has; no answer says what arrives.
	example_check(&example, mqp_client_close(client, (int)example_left_ms(&example)),
		      "cannot close");

	status = example_summary(&example, client,
				 mqp_client_stat(client, MQP_STAT_ONEWAY_WRITTEN) == sent);
	mqp_message_free(message);
	mqp_producer_free(producer);
	mqp_client_free(client);
	fclose(file);
	return status;
}
