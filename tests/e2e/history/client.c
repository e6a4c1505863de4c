// One client process of the history tests: sends or consumes until its standard input ends, and
// writes down everything it does before it does it and everything it sees when it has seen it.
//
// It knows nothing of the faults that happen around it: it retries nothing that the library does
// not retry, and judges nothing.

#include "tests/e2e/history/record.h"
#include "tests/e2e/history/workload.h"

#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct option options[] = {
	{"history", required_argument, NULL, 'H'}, {"topic", required_argument, NULL, 't'},
	{"group", required_argument, NULL, 'g'},   {"producer", required_argument, NULL, 'p'},
	{"sync", required_argument, NULL, 's'},    {"rate", required_argument, NULL, 'r'},
	{"keys", required_argument, NULL, 'k'},    {"body", required_argument, NULL, 'b'},
	{"batch", required_argument, NULL, 'n'},   {"timeout", required_argument, NULL, 'w'},
	{"push", no_argument, NULL, 'P'},          {"threads", required_argument, NULL, 'j'},
	{"mixed", no_argument, NULL, 'm'},         {NULL, 0, NULL, 0},
};

void workload_check(enum mqp_code code, const char *what)
{
	if (code == MQP_OK)
		return;
	fprintf(stderr, "history client: %s: %s (%s)\n", what, mqp_strerror(code),
		mqp_code_name(code));
	_exit(1);
}

bool workload_ending(int timeout_ms)
{
	struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};

	return poll(&input, 1, timeout_ms) > 0;
}

static uint32_t number(const char *text)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (end == text || *end || value > UINT32_MAX) {
		fprintf(stderr, "history client: not a number: %s\n", text);
		exit(2);
	}
	return (uint32_t)value;
}

static void option_take(struct workload *workload, int option)
{
	switch (option) {
	case 'H': workload->history = optarg; break;
	case 't': workload->topic = optarg; break;
	case 'g': workload->group = optarg; break;
	case 'p': workload->producer = number(optarg); break;
	case 's': workload->sync_senders = number(optarg); break;
	case 'r': workload->rate = number(optarg); break;
	case 'k': workload->keys = number(optarg); break;
	case 'b': workload->body_bytes = number(optarg); break;
	case 'n': workload->batch_messages = number(optarg); break;
	case 'w': workload->send_timeout_ms = number(optarg); break;
	case 'P': workload->push = true; break;
	case 'j': workload->threads = number(optarg); break;
	case 'm': workload->mixed = true; break;
	default: exit(2);
	}
}

int main(int argc, char **argv)
{
	struct workload workload = {
		.producer = 1, .rate = 1000, .keys = 20, .send_timeout_ms = 60000, .threads = 1};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		option_take(&workload, option);
	if (optind < argc || !workload.history || !workload.topic == !workload.group) {
		fprintf(stderr, "usage: %s --history FILE --topic NAME | --group NAME …\n",
			argv[0]);
		return 2;
	}
	if (workload.topic)
		produce_run(&workload);
	else
		consume_run(&workload);
	record_close();
	return 0;
}
