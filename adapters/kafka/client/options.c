// Options of a Kafka cluster (adapters/options.h), and librdkafka's configuration from them.
//
// What it does not do: check options against each other or against the cluster (admin/check.c).

#include "adapters/kafka/client/options.h"

#include "adapters/options.h"
#include "core/base/util.h"

#include <stdlib.h>
#include <string.h>

static const struct option rows[] = {
#define AT(member) offsetof(struct kafka_options, member)
	{"bootstrap", AT(bootstrap), .type = OPTION_TEXT},
	{"security", AT(security), .values = "plaintext|ssl|sasl_plaintext|sasl_ssl",
	 .type = OPTION_TEXT},
	{"mechanism", AT(mechanism), .values = "PLAIN|SCRAM-SHA-256|SCRAM-SHA-512",
	 .type = OPTION_TEXT},
	{"user", AT(user), .type = OPTION_TEXT},
	{"password", AT(password), .type = OPTION_TEXT, .secret = true},
	{"ca_pem", AT(ca_pem), .type = OPTION_TEXT},
	{"certificate_pem", AT(certificate_pem), .type = OPTION_TEXT},
	{"key_pem", AT(key_pem), .type = OPTION_TEXT, .secret = true},
	{"key_password", AT(key_password), .type = OPTION_TEXT, .secret = true},
	{"replication", AT(replication), 1, 32767, 0, .type = OPTION_NUMBER},
	{"min_insync", AT(min_insync), 1, 32767, 0, .type = OPTION_NUMBER},
	{"timeout_ms", AT(timeout_ms), 1000, 300000, 30000, .type = OPTION_NUMBER},
	{"in_flight", AT(in_flight), 1, 5, 1, .type = OPTION_NUMBER},
	{"memory_bytes", AT(memory_bytes), 1 << 20, 1ull << 31, 256 << 20, .type = OPTION_BYTES},
	{"retry_positions", AT(retry_positions), 1000, 100000000, 1000000, .type = OPTION_NUMBER},
#undef AT
};
static const struct options_table table = {
	"kafka",
	rows,
	ARRAY_SIZE(rows),
	sizeof(struct kafka_options),
};

int kafka_options_read(const struct cluster *cluster, struct kafka_options *ret, char **ret_error)
{
	int r = options_read(&table, cluster, ret, ret_error);

	if (r == 0 && (!ret->bootstrap || !*ret->bootstrap))
		r = options_refuse(ret_error, false, "bootstrap",
				   "missing: host:port of some brokers, separated by commas");
	if (r < 0)
		kafka_options_deinit(ret);
	return r;
}

void kafka_options_deinit(struct kafka_options *options)
{
	options_deinit(&table, options);
}

uint32_t kafka_options_replication(const struct kafka_options *options, const struct topic *topic)
{
	return topic->replication ? topic->replication : options->replication;
}

uint32_t kafka_options_min_insync(const struct kafka_options *options, const struct topic *topic)
{
	return topic->min_insync ? topic->min_insync : options->min_insync;
}

rd_kafka_conf_t *kafka_options_conf(const struct kafka_options *options, char **ret_error)
{
	const struct {
		const char *name, *value;
	} settings[] = {
		{"bootstrap.servers", options->bootstrap},
		{"security.protocol", options->security},
		{"sasl.mechanism", options->mechanism},
		{"sasl.username", options->user},
		{"sasl.password", options->password},
		{"ssl.ca.pem", options->ca_pem},
		{"ssl.certificate.pem", options->certificate_pem},
		{"ssl.key.pem", options->key_pem},
		{"ssl.key.password", options->key_password},
		{"reconnect.backoff.max.ms", "1000"},
		// A topic that was deleted must not come back because a client asks for it.
		{"allow.auto.create.topics", "false"},
		// librdkafka waits up to 10 s: a broker that is back would be waited for as long.
		{"reconnect.backoff.max.ms", "500"},
	};
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char text[256];

	for (size_t i = 0; i < ARRAY_SIZE(settings); ++i) {
		if (!settings[i].value ||
		    rd_kafka_conf_set(conf, settings[i].name, settings[i].value, text,
				      sizeof text) == RD_KAFKA_CONF_OK)
			continue;
		*ret_error = strdup(text);
		rd_kafka_conf_destroy(conf);
		return NULL;
	}
	return conf;
}
