// Options of a RabbitMQ cluster (adapters/options.h).
//
// Besides the table: the list of addresses, with the port that fits TLS where none is said; what
// belongs together (certificate and key, a management address and its scheme); and how to log in.
// With a user: by name and password. With a certificate and no user: by the certificate (EXTERNAL).
// With neither: as RabbitMQ's own guest.
//
// What it does not do: parse PEM texts (tls.c) or ask the cluster.

#include "adapters/rabbitmq/link/options.h"

#include "adapters/options.h"
#include "core/base/util.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PORT          5672
#define PORT_TLS      5671
#define VHOST_MAX     255 // AMQP's short string
#define ADDRESSES_MAX 16

// What is read is a text; the list of addresses is made of it.
struct readable {
	struct rabbitmq_options options;
	char *addresses;
};

static const struct option rows[] = {
#define AT(member) offsetof(struct readable, options.member)
	{"addresses", offsetof(struct readable, addresses), .type = OPTION_TEXT},
	{"vhost", AT(vhost), .type = OPTION_TEXT},
	{"user", AT(user), .type = OPTION_TEXT},
	{"password", AT(password), .type = OPTION_TEXT, .secret = true},
	{"tls", AT(tls), .type = OPTION_FLAG},
	{"ca_pem", AT(ca_pem), .type = OPTION_TEXT},
	{"certificate_pem", AT(certificate_pem), .type = OPTION_TEXT},
	{"key_pem", AT(key_pem), .type = OPTION_TEXT, .secret = true},
	{"management", AT(management), .type = OPTION_TEXT},
	{"management_user", AT(management_user), .type = OPTION_TEXT},
	{"management_password", AT(management_password), .type = OPTION_TEXT, .secret = true},
	{"queue", AT(queue), .values = "quorum|classic", .type = OPTION_CHOICE},
	{"history", AT(history), .type = OPTION_FLAG},
	{"replication", AT(replication), 1, 99, 0, .type = OPTION_NUMBER},
	{"timeout_ms", AT(timeout_ms), 1000, 300000, 30000, .type = OPTION_NUMBER},
	{"heartbeat_s", AT(heartbeat_s), 2, 600, 10, .type = OPTION_NUMBER},
	{"consumer_timeout_ms", AT(consumer_timeout_ms), 60000, UINT32_MAX, 1800000,
	 .type = OPTION_NUMBER},
	{"memory_bytes", AT(memory_bytes), 1 << 20, 1ull << 31, 256 << 20, .type = OPTION_BYTES},
#undef AT
};
static const struct options_table table = {
	"rabbitmq",
	rows,
	ARRAY_SIZE(rows),
	sizeof(struct readable),
};

static const char *const address_shape =
	"not host:port, or some of these, separated by commas (at most 16)";

// "host", "host:port", "[::1]:port". False: it is none of them.
static bool address_parse(char *text, uint16_t port, struct rabbitmq_address *ret)
{
	char *colon = strrchr(text, ':'), *end;
	unsigned long number = port;

	if (*text == '[') {
		char *close = strchr(text++, ']');

		if (!close || (close[1] != '\0' && close[1] != ':'))
			return false;
		colon = close[1] ? close + 1 : NULL;
		*close = '\0';
	} else if (colon && strchr(text, ':') != colon) {
		colon = NULL; // an IPv6 address without a port
	}
	if (colon) {
		*colon = '\0';
		number = colon[1] >= '0' && colon[1] <= '9' ? strtoul(colon + 1, &end, 10) : 0;
		if (number == 0 || number > UINT16_MAX || *end)
			return false;
	}
	if (!*text || strlen(text) > 253 || strpbrk(text, " \t/@"))
		return false;
	ret->host = strdup(text);
	ret->port = (uint16_t)number;
	return ret->host;
}

static int addresses_parse(struct rabbitmq_options *options, char *text, char **ret_error)
{
	char *item, *rest = text;

	if (!text || !*text)
		return options_refuse(ret_error, false, "addresses",
				      "missing: host:port of some brokers, separated by commas");
	options->addresses = calloc(ADDRESSES_MAX, sizeof *options->addresses);
	if (!options->addresses)
		return -ENOMEM;
	while ((item = strsep(&rest, ","))) {
		item += strspn(item, " ");
		item[strcspn(item, " ")] = '\0';
		if (options->address_count == ADDRESSES_MAX ||
		    !address_parse(item, options->tls ? PORT_TLS : PORT,
				   &options->addresses[options->address_count]))
			return options_refuse(ret_error, false, "addresses", address_shape);
		++options->address_count;
	}
	return 0;
}

static bool text_default(char **text, const char *otherwise)
{
	return *text || (*text = strdup(otherwise));
}

static int login_check(struct rabbitmq_options *options, char **ret_error)
{
	if (options->user && !options->password)
		return options_refuse(ret_error, true, "password", "missing: of the user");
	if (options->password && !options->user)
		return options_refuse(ret_error, false, "user", "missing: of the password");
	if (options->user || options->certificate_pem)
		return 0;
	return text_default(&options->user, "guest") && text_default(&options->password, "guest")
		       ? 0
		       : -ENOMEM;
}

static int tls_check(const struct rabbitmq_options *options, char **ret_error)
{
	if (!options->certificate_pem != !options->key_pem)
		return options_refuse(ret_error, !options->key_pem,
				      options->key_pem ? "certificate_pem" : "key_pem",
				      "missing: a certificate and its key belong together");
	if (!options->tls && (options->ca_pem || options->certificate_pem))
		return options_refuse(ret_error, false, "tls",
				      "not true, but certificates are said");
	return 0;
}

static int management_check(const struct rabbitmq_options *options, char **ret_error)
{
	for (const char *at = options->management; at && *at;) {
		if (strncmp(at, "http://", 7) != 0 && strncmp(at, "https://", 8) != 0)
			return options_refuse(ret_error, false, "management",
					      "not http:// or https:// with host and port");
		at += strcspn(at, ",");
		at += strspn(at, ", ");
	}
	if (options->management_user && !options->management_password)
		return options_refuse(ret_error, true, "management_password",
				      "missing: of the management user");
	return 0;
}

int rabbitmq_options_read(const struct cluster *cluster, struct rabbitmq_options *ret,
			  char **ret_error)
{
	struct readable readable;
	int r = options_read(&table, cluster, &readable, ret_error);

	if (r < 0)
		return r;
	r = addresses_parse(&readable.options, readable.addresses, ret_error);
	if (r == 0)
		r = tls_check(&readable.options, ret_error);
	if (r == 0)
		r = login_check(&readable.options, ret_error);
	if (r == 0)
		r = management_check(&readable.options, ret_error);
	if (r == 0 && !text_default(&readable.options.vhost, "/"))
		r = -ENOMEM;
	if (r == 0 && strlen(readable.options.vhost) > VHOST_MAX)
		r = options_refuse(ret_error, false, "vhost", "longer than 255 bytes");
	free(readable.addresses);
	*ret = readable.options;
	if (r < 0)
		rabbitmq_options_deinit(ret);
	return r;
}

bool rabbitmq_options_history(const struct cluster *cluster)
{
	json_t *options = json_loads(cluster->options_json, 0, NULL);
	bool history = json_is_true(json_object_get(options, "history"));

	json_decref(options);
	return history;
}

void rabbitmq_options_deinit(struct rabbitmq_options *options)
{
	struct readable readable = {.options = *options};

	for (size_t i = 0; i < options->address_count; ++i)
		free(options->addresses[i].host);
	free(options->addresses);
	options_deinit(&table, &readable);
	*options = (struct rabbitmq_options){0};
}
