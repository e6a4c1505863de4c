// Options of a cluster, from its JSON to librdkafka's configuration.
//
// One table says each option's type, limits and default; what is secret is read from the cluster's
// secrets. An unknown option is refused by name.
//
// What it does not do: check options against each other or against the cluster (admin/check.c).

#include "adapters/kafka/client/options.h"

#include "core/base/util.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum option_type { OPTION_TEXT, OPTION_NUMBER, OPTION_BYTES };

// The options by name; what is secret comes from the cluster's secrets.
static const struct option {
	const char *name;
	size_t offset;
	uint64_t least, most, otherwise;
	const char *values; // a text: one of these, separated by '|'; NULL: any
	uint8_t type;       // enum option_type
	bool secret;
} rows[] = {
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

static int option_refuse(char **ret_error, const char *member, const char *name, const char *what)
{
	return asprintf(ret_error, "%s.%s: %s", member, name, what) < 0 ? -ENOMEM : -EINVAL;
}

static bool is_one_of(const char *text, const char *values)
{
	size_t size = strlen(text);

	for (const char *at = values; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
		if (strncmp(at, text, size) == 0 && (at[size] == '|' || at[size] == '\0'))
			return true;
	return false;
}

static int text_set(struct kafka_options *options, const struct option *row, const char *text,
		    char **ret_error)
{
	char **room = (char **)(void *)((char *)options + row->offset);
	char what[160];

	if (row->values && !is_one_of(text, row->values)) {
		snprintf(what, sizeof what, "not one of %s", row->values);
		return option_refuse(ret_error, "options", row->name, what);
	}
	*room = strdup(text);
	return *room ? 0 : -ENOMEM;
}

static int number_set(struct kafka_options *options, const struct option *row, json_int_t number,
		      char **ret_error)
{
	char what[96], *room = (char *)options + row->offset;

	if (number < 0 || (uint64_t)number < row->least || (uint64_t)number > row->most) {
		snprintf(what, sizeof what, "not a whole number from %llu to %llu",
			 (unsigned long long)row->least, (unsigned long long)row->most);
		return option_refuse(ret_error, "options", row->name, what);
	}
	if (row->type == OPTION_BYTES)
		*(uint64_t *)(void *)room = (uint64_t)number;
	else
		*(uint32_t *)(void *)room = (uint32_t)number;
	return 0;
}

static const struct option *row_find(const char *name, bool secret)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); ++i)
		if (rows[i].secret == secret && strcmp(rows[i].name, name) == 0)
			return &rows[i];
	return NULL;
}

static int object_read(struct kafka_options *options, const char *text, bool secret,
		       char **ret_error)
{
	const char *member = secret ? "secrets" : "options", *name;
	json_t *object = json_loads(text && *text ? text : "{}", JSON_REJECT_DUPLICATES, NULL),
	       *value;
	int r = 0;

	if (!json_is_object(object)) {
		json_decref(object);
		return asprintf(ret_error, "%s: not a JSON object", member) < 0 ? -ENOMEM : -EINVAL;
	}
	json_object_foreach(object, name, value)
	{
		const struct option *row = row_find(name, secret);

		if (!row)
			r = option_refuse(
				ret_error, member, name,
				row_find(name, !secret)
					? secret ? "belongs into options"
						 : "belongs into secrets, which are encrypted"
					: "the kind kafka does not know it");
		else if (row->type == OPTION_TEXT)
			r = json_is_string(value)
				    ? text_set(options, row, json_string_value(value), ret_error)
				    : option_refuse(ret_error, member, name, "not a text");
		else
			r = json_is_integer(value)
				    ? number_set(options, row, json_integer_value(value), ret_error)
				    : option_refuse(ret_error, member, name, "not a whole number");
		if (r < 0)
			break;
	}
	json_decref(object);
	return r;
}

int kafka_options_read(const struct cluster *cluster, struct kafka_options *ret, char **ret_error)
{
	int r;

	*ret = (struct kafka_options){0};
	for (size_t i = 0; i < ARRAY_SIZE(rows); ++i)
		if (rows[i].type != OPTION_TEXT && rows[i].otherwise)
			number_set(ret, &rows[i], (json_int_t)rows[i].otherwise, ret_error);
	r = object_read(ret, cluster->options_json, false, ret_error);
	if (r == 0)
		r = object_read(ret, cluster->secrets_json, true, ret_error);
	if (r == 0 && (!ret->bootstrap || !*ret->bootstrap))
		r = option_refuse(ret_error, "options", "bootstrap",
				  "missing: host:port of some brokers, separated by commas");
	if (r < 0)
		kafka_options_deinit(ret);
	return r;
}

void kafka_options_deinit(struct kafka_options *options)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); ++i)
		if (rows[i].type == OPTION_TEXT)
			free(*(char **)(void *)((char *)options + rows[i].offset));
	*options = (struct kafka_options){0};
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
