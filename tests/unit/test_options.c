// What each kind of cluster says about options that it does not take, without reaching anything.

#include "tests/unit/unit.h"

#include "adapters/adapter.h"
#include "adapters/kinds.h"
#include "core/base/util.h"

#include <errno.h>

static char *said(const char *kind, const char *options, const char *secrets)
{
	const struct cluster cluster = {.object = {.refs = 1, .kind = MODEL_CLUSTER, .id = 1},
					.name = "c",
					.kind = kind,
					.options_json = options,
					.secrets_json = secrets};
	char *error = NULL;
	int r = adapter_kind_find(kind)->check(&cluster, &error);

	CHECK_EQ(r, error ? -EINVAL : 0);
	return error ? error : strdup("");
}

static void expect(const char *kind, const char *options, const char *secrets, const char *begins)
{
	_cleanup_(freep) char *error = said(kind, options, secrets);

	if (strncmp(error, begins, strlen(begins)) != 0 || (!*begins && *error))
		CHECK_STR(error, begins);
}

static void other_kinds(void)
{
	expect("embedded", "{}", NULL, "");
	expect("embedded", NULL, "{}", "");
	expect("embedded", "{\"map_bytes\": 33554432}", NULL, "");
	expect("embedded", "{\"map_bytes\": 1}", NULL, "options.map_bytes: ");
	expect("embedded", "{\"mapbytes\": 33554432}", NULL, "options.mapbytes: ");
	expect("embedded", "{}", "{\"password\": \"x\"}", "secrets: ");
	expect("discard", "{}", NULL, "");
	expect("discard", "{\"a\": 1}", NULL, "options: ");
	expect("discard", "{}", "{\"a\": \"b\"}", "secrets: ");
}

#define SASL                                                                                       \
	"{\"bootstrap\": \"k:9092\", \"security\": \"sasl_plaintext\", \"mechanism\": "            \
	"\"PLAIN\", \"user\": \"u\"}"

static void kafka_alone(void)
{
	static const char *const good[] = {"k", "k:9092", "10.0.0.1:9092,10.0.0.2:9093",
					   "[::1]:9092,[fe80::1]"};
	static const char *const bad[] = {"",       "k:",   "k:x",   "k:0",  "k:65536",
					  "a,,b",   "a, b", ":9092", "[::1", "http://k:9092",
					  "k:9092,"};
	char options[128];

	for (size_t i = 0; i < ARRAY_SIZE(good); ++i) {
		snprintf(options, sizeof options, "{\"bootstrap\": \"%s\"}", good[i]);
		expect("kafka", options, NULL, "");
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); ++i) {
		snprintf(options, sizeof options, "{\"bootstrap\": \"%s\"}", bad[i]);
		expect("kafka", options, NULL, "options.bootstrap: ");
	}
	expect("kafka", "{}", NULL, "options.bootstrap: ");
	expect("kafka", "{\"bootstrap\": \"k\", \"acks\": 1}", NULL, "options.acks: ");
	expect("kafka", "{\"bootstrap\": \"k\", \"timeout_ms\": 5}", NULL, "options.timeout_ms: ");
	expect("kafka", "{\"bootstrap\": \"k\", \"replication\": \"3\"}", NULL,
	       "options.replication: ");
	expect("kafka", "{\"bootstrap\": \"k\", \"security\": \"tls\"}", NULL,
	       "options.security: ");
	expect("kafka", "{\"bootstrap\": \"k\", \"password\": \"p\"}", NULL, "options.password: ");
}

static void kafka_together(void)
{
	expect("kafka", SASL, "{\"password\": \"p\"}", "");
	expect("kafka", SASL, NULL, "secrets.password: ");
	expect("kafka", "{\"bootstrap\": \"k\", \"security\": \"sasl_ssl\"}", NULL,
	       "options.mechanism: ");
	expect("kafka",
	       "{\"bootstrap\": \"k\", \"security\": \"sasl_ssl\", \"mechanism\": "
	       "\"SCRAM-SHA-512\"}",
	       "{\"password\": \"p\"}", "options.user: ");
	expect("kafka", "{\"bootstrap\": \"k\", \"mechanism\": \"PLAIN\"}", NULL,
	       "options.mechanism: goes with");
	expect("kafka", "{\"bootstrap\": \"k\", \"ca_pem\": \"x\"}", NULL,
	       "options.ca_pem: goes with");
	expect("kafka", "{\"bootstrap\": \"k\", \"security\": \"ssl\", \"certificate_pem\": \"x\"}",
	       NULL, "secrets.key_pem: missing");
	expect("kafka", "{\"bootstrap\": \"k\", \"security\": \"ssl\"}", "{\"key_pem\": \"x\"}",
	       "options.certificate_pem: missing");
	expect("kafka", "{\"bootstrap\": \"k\", \"security\": \"ssl\"}",
	       "{\"key_password\": \"x\"}", "secrets.key_password: goes with");
}

// What is no certificate and no key is refused by its reader, under our names; nothing of a
// secret is in the sentence.
static void kafka_certificates(void)
{
	_cleanup_(freep) char *error =
		said("kafka",
		     "{\"bootstrap\": \"k\", \"security\": \"ssl\", \"certificate_pem\": \"x\"}",
		     "{\"key_pem\": \"tops3cret\"}");

	CHECK(strncmp(error, "options.certificate_pem: ", 25) == 0 ||
	      strncmp(error, "secrets.key_pem: ", 17) == 0);
	CHECK(strstr(error, "tops3cret") == NULL);
	expect("kafka", "{\"bootstrap\": \"k\", \"security\": \"ssl\", \"ca_pem\": \"x\"}", NULL,
	       "options.ca_pem: ");
	expect("kafka", "{\"bootstrap\": \"k\", \"security\": \"ssl\"}", NULL, "");
}

UNIT_MAIN(UNIT_CASE(other_kinds), UNIT_CASE(kafka_alone), UNIT_CASE(kafka_together),
	  UNIT_CASE(kafka_certificates))
