// Nothing here is needed to use the library; it keeps the examples to what they show.

#include "sdk/c/examples/example.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>

static const char usage[] =
	"usage: %s [options]\n"
	"  --address HOST:PORT   of the service; else MQPAAS_ADDRESS, else 127.0.0.1:7300\n"
	"  --access-key ID       else MQPAAS_ACCESS_KEY\n"
	"  --secret SECRET       else MQPAAS_SECRET\n"
	"  --credentials FILE    with these three as NAME=value, read again when it changes\n"
	"  --tls-ca FILE         authorities to trust, for tls://HOST:PORT\n"
	"%s"
	"  --timeout SECONDS     for the whole run (60)\n";

static const char usage_send[] =
	"  --topic NAME          where to\n"
	"  --file PATH           one message a line; - is standard input\n"
	"  --key MEMBER          member of the JSON line that is the key\n";

static const char usage_consume[] = "  --group NAME          whose messages\n"
				    "  --count N             how many (1)\n"
				    "  --threads N           that run callbacks (1)\n";

static const struct option options[] = {
	{"address", required_argument, NULL, 'a'}, {"access-key", required_argument, NULL, 'k'},
	{"secret", required_argument, NULL, 's'},  {"credentials", required_argument, NULL, 'C'},
	{"tls-ca", required_argument, NULL, 'T'},  {"topic", required_argument, NULL, 't'},
	{"group", required_argument, NULL, 'g'},   {"file", required_argument, NULL, 'f'},
	{"key", required_argument, NULL, 'K'},     {"count", required_argument, NULL, 'n'},
	{"threads", required_argument, NULL, 'j'}, {"timeout", required_argument, NULL, 'w'},
	{"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0},
};

static void refuse_usage(const struct example *example, const char *what)
{
	fprintf(stderr, "%s: %s; --help tells more\n", example->program, what);
	exit(2);
}

static unsigned long parse_number(const struct example *example, const char *text,
				  unsigned long least, unsigned long greatest)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || value < least || value > greatest)
		refuse_usage(example, "a number is out of range");
	return value;
}

static void option_take(struct example *example, int option, enum example_kind kind)
{
	switch (option) {
	case 'a': example->address = optarg; break;
	case 'k': example->access_key = optarg; break;
	case 's': example->secret = optarg; break;
	case 'C': example->credentials_file = optarg; break;
	case 'T': example->tls_ca_file = optarg; break;
	case 't': example->topic = optarg; break;
	case 'g': example->group = optarg; break;
	case 'f': example->file = optarg; break;
	case 'K': example->key = optarg; break;
	case 'n': example->count = parse_number(example, optarg, 1, 1000000000ul); break;
	case 'j': example->threads = (unsigned)parse_number(example, optarg, 1, 1024); break;
	case 'w': example->timeout_ms = (int)parse_number(example, optarg, 1, 86400) * 1000; break;
	case 'h':
		printf(usage, example->program, kind == EXAMPLE_SENDS ? usage_send : usage_consume);
		exit(0);
	default: refuse_usage(example, "unknown option");
	}
}

void example_options(struct example *example, enum example_kind kind, int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/');
	int option;

	*example = (struct example){.count = 1, .threads = 1, .timeout_ms = 60000};
	example->program = slash ? slash + 1 : argv[0];
	example->began = example_now();
	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1)
		option_take(example, option, kind);
	if (optind < argc)
		refuse_usage(example, "an argument too many");
	if (kind == EXAMPLE_SENDS && (!example->topic || !example->file))
		refuse_usage(example, "--topic and --file are needed");
	if (kind == EXAMPLE_CONSUMES && !example->group)
		refuse_usage(example, "--group is needed");
}

void example_check(const struct example *example, enum mqp_code code, const char *what)
{
	if (code == MQP_OK)
		return;
	fprintf(stderr, "%s: %s: %s (%s)\n", example->program, what, mqp_strerror(code),
		mqp_code_name(code));
	exit(1);
}

struct mqp_client *example_connect(struct example *example, enum mqp_io io)
{
	struct mqp_client_config config;
	struct mqp_client *client;

	mqp_client_config_init(&config, sizeof config);
	config.addresses = example->address;
	config.access_key = example->access_key;
	config.secret = example->secret;
	config.credentials_file = example->credentials_file;
	config.tls_ca_file = example->tls_ca_file;
	config.client_id = example->program;
	config.io = io;
	example_check(example, mqp_client_new(&config, &client), "cannot make a client");
	example_check(example, mqp_client_connect(client, 10000), "cannot connect");
	return client;
}

struct mqp_producer *example_producer(struct example *example, struct mqp_client *client)
{
	struct mqp_producer_config config;
	struct mqp_producer *producer;

	mqp_producer_config_init(&config, sizeof config);
	config.topic = example->topic;
	example_check(example, mqp_producer_new(client, &config, &producer),
		      "cannot make a producer");
	example_check(example, mqp_producer_ready(producer, 10000), "cannot open the topic");
	return producer;
}

FILE *example_open(const struct example *example)
{
	FILE *file = strcmp(example->file, "-") == 0 ? stdin : fopen(example->file, "re");

	if (file)
		return file;
	fprintf(stderr, "%s: %s: ", example->program, example->file);
	perror(NULL);
	exit(1);
}

// The value of a member of a one-line JSON object, without its quotes; NULL: it has none. Enough
// for names and numbers: text with escapes is taken as it stands.
static const char *member_value(const char *line, const char *name, size_t *ret_size)
{
	char quoted[80];
	const char *at;

	snprintf(quoted, sizeof quoted, "\"%.70s\":", name);
	at = strstr(line, quoted);
	if (!at)
		return NULL;
	at += strlen(quoted);
	at += strspn(at, " ");
	*ret_size = *at == '"' ? strcspn(++at, "\"") : strcspn(at, ",} ");
	return at;
}

int example_next(const struct example *example, FILE *file, struct mqp_message *message)
{
	static char *line;
	static size_t room;
	ssize_t size = getline(&line, &room, file);
	const char *key = NULL;
	size_t key_size = 0;

	if (size < 0) {
		free(line);
		line = NULL;
		room = 0;
		return 0;
	}
	if (size > 0 && line[size - 1] == '\n')
		line[--size] = 0;
	mqp_message_reset(message);
	if (example->key)
		key = member_value(line, example->key, &key_size);
	example_check(example, mqp_message_set_key(message, key, key_size), "key");
	example_check(example, mqp_message_set_body(message, line, (size_t)size), "body");
	return 1;
}

double example_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

long example_left_ms(const struct example *example)
{
	double left = example->timeout_ms - (example_now() - example->began) * 1000;

	return left > 0 ? (long)left + 1 : 0;
}

int example_summary(const struct example *example, const struct mqp_client *client, int good)
{
	static const struct {
		const char *name;
		enum mqp_stat stat;
	} members[] = {
		{"sent", MQP_STAT_SENT},
		{"acknowledged", MQP_STAT_ACKNOWLEDGED},
		{"rejected", MQP_STAT_REJECTED},
		{"unknown", MQP_STAT_UNKNOWN},
		{"oneway_written", MQP_STAT_ONEWAY_WRITTEN},
		{"retries", MQP_STAT_RETRIES},
		{"delivered", MQP_STAT_DELIVERED},
		{"redelivered", MQP_STAT_REDELIVERED},
		{"acked", MQP_STAT_ACKED},
		{"nacked", MQP_STAT_NACKED},
		{"stale", MQP_STAT_STALE},
	};

	printf("{\"program\":\"%s\"", example->program);
	for (size_t i = 0; i < sizeof members / sizeof members[0]; ++i)
		printf(",\"%s\":%" PRIu64, members[i].name,
		       mqp_client_stat(client, members[i].stat));
	printf(",\"seconds\":%.3f,\"ok\":%s}\n", example_now() - example->began,
	       good ? "true" : "false");
	return good ? 0 : 1;
}
