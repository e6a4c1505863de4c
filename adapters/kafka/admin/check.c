// Checks a cluster's options without reaching it: each by itself (options.c), those that need or
// exclude each other, and what librdkafka and OpenSSL make of certificates and keys.
//
// Certificates and keys are tried by making a handle that knows no broker. What it does not do:
// connect (probe.c).

#include "adapters/kafka/admin/check.h"

#include "adapters/kafka/client/options.h"
#include "core/base/util.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

static int option_refuse(char **ret_error, const char *option, const char *what)
{
	return asprintf(ret_error, "%s: %s", option, what) < 0 ? -ENOMEM : -EINVAL;
}

// One "host:port", or "[::1]:port"; the port may be left out.
static bool is_address(const char *text, size_t size)
{
	const char *host_end = memchr(text, text[0] == '[' ? ']' : ':', size);
	const char *colon = text[0] == '[' ? host_end ? host_end + 1 : NULL : host_end;
	size_t host = colon ? (size_t)(colon - text) : size;
	unsigned long port = 0;

	if (size == 0 || host == 0 || (text[0] == '[' && !host_end))
		return false;
	for (size_t i = 0; i < size; ++i)
		if (isspace((unsigned char)text[i]) || text[i] == '/')
			return false;
	if (!colon || host == size)
		return true;
	if (*colon != ':' || host + 1 == size || size - host > 6)
		return false;
	for (size_t i = host + 1; i < size; ++i) {
		if (!isdigit((unsigned char)text[i]))
			return false;
		port = port * 10 + (unsigned long)(text[i] - '0');
	}
	return port >= 1 && port <= 65535;
}

static bool are_addresses(const char *text)
{
	for (;;) {
		size_t size = strcspn(text, ",");

		if (!is_address(text, size))
			return false;
		if (text[size] == '\0')
			return true;
		text += size + 1;
	}
}

static int check_together(const struct kafka_options *options, char **ret_error)
{
	const char *security = options->security ? options->security : "plaintext";
	bool sasl = strncmp(security, "sasl", 4) == 0, tls = strstr(security, "ssl") != NULL;
	const struct {
		const char *name;
		const char *value;
		bool may, must;
		const char *otherwise, *missing;
	} rows[] = {
		{"options.mechanism", options->mechanism, sasl, sasl,
		 "goes with security sasl_plaintext or sasl_ssl", "missing: security asks for one"},
		{"options.user", options->user, sasl, sasl,
		 "goes with security sasl_plaintext or sasl_ssl", "missing: the user that logs in"},
		{"secrets.password", options->password, sasl, sasl,
		 "goes with security sasl_plaintext or sasl_ssl", "missing: the user's password"},
		{"options.ca_pem", options->ca_pem, tls, false,
		 "goes with security ssl or sasl_ssl", NULL},
		{"options.certificate_pem", options->certificate_pem, tls, options->key_pem != NULL,
		 "goes with security ssl or sasl_ssl", "missing: there is a key_pem"},
		{"secrets.key_pem", options->key_pem, tls, options->certificate_pem != NULL,
		 "goes with security ssl or sasl_ssl", "missing: the certificate's key"},
		{"secrets.key_password", options->key_password, options->key_pem != NULL, false,
		 "goes with a key_pem", NULL},
	};

	if (!are_addresses(options->bootstrap))
		return option_refuse(ret_error, "options.bootstrap",
				     "not host:port of some brokers, separated by commas");
	for (size_t i = 0; i < ARRAY_SIZE(rows); ++i) {
		if (rows[i].value && !rows[i].may)
			return option_refuse(ret_error, rows[i].name, rows[i].otherwise);
		if (!rows[i].value && rows[i].must)
			return option_refuse(ret_error, rows[i].name, rows[i].missing);
	}
	return 0;
}

// librdkafka names its own settings.
static int refuse_as_told(const char *told, char **ret_error)
{
	static const struct {
		const char *theirs, *ours;
	} names[] = {
		{"ssl.ca", "options.ca_pem"},
		{"ssl.certificate", "options.certificate_pem"},
		{"ssl.key.password", "secrets.key_password"},
		{"ssl.key", "secrets.key_pem"},
		{"rivate key", "secrets.key_pem"},
		{"sasl.mechanism", "options.mechanism"},
		{"security.protocol", "options.security"},
		{"bootstrap", "options.bootstrap"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); ++i)
		if (strstr(told, names[i].theirs))
			return option_refuse(ret_error, names[i].ours, told);
	return option_refuse(ret_error, "options", told);
}

// A handle that knows no broker loads certificates and keys and connects to none.
static int check_by_trying(const struct kafka_options *options, char **ret_error)
{
	struct kafka_options nowhere = *options;
	_cleanup_(freep) char *error = NULL;
	rd_kafka_conf_t *conf;
	rd_kafka_t *handle;
	char text[256];

	nowhere.bootstrap = NULL;
	conf = kafka_options_conf(&nowhere, &error);
	if (!conf)
		return error ? refuse_as_told(error, ret_error) : -ENOMEM;
	rd_kafka_conf_set(conf, "log_level", "0", NULL, 0);
	handle = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
	if (handle) {
		rd_kafka_destroy(handle);
		return 0;
	}
	rd_kafka_conf_destroy(conf);
	return refuse_as_told(text, ret_error);
}

int kafka_check(const struct cluster *cluster, char **ret_error)
{
	struct kafka_options options;
	int r = kafka_options_read(cluster, &options, ret_error);

	if (r < 0)
		return r;
	r = check_together(&options, ret_error);
	if (r == 0)
		r = check_by_trying(&options, ret_error);
	kafka_options_deinit(&options);
	return r;
}
