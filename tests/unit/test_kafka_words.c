// What the Kafka adapter makes of options, errors and settings, without a cluster.

#include "adapters/kafka/client/cluster_info.h"
#include "adapters/kafka/client/error.h"
#include "adapters/kafka/client/last_error.h"
#include "adapters/kafka/client/options.h"
#include "core/base/clock.h"
#include "tests/unit/unit.h"

#include <errno.h>

// ---- options

static void options_are_read(void)
{
	const struct cluster cluster = {
		.options_json = "{\"bootstrap\": \"a:1,b:2\", \"security\": \"sasl_ssl\", "
				"\"mechanism\": \"PLAIN\", \"user\": \"u\", \"replication\": 3, "
				"\"memory_bytes\": 8388608}",
		.secrets_json = "{\"password\": \"p\"}"};
	struct kafka_options options;
	rd_kafka_conf_t *conf;
	char *error = NULL, value[64];
	size_t size = sizeof value;

	CHECK_EQ(kafka_options_read(&cluster, &options, &error), 0);
	CHECK_STR(options.bootstrap, "a:1,b:2");
	CHECK_STR(options.password, "p");
	CHECK_EQ(options.replication, 3);
	CHECK_EQ(options.min_insync, 0); // the broker's
	CHECK_EQ(options.timeout_ms, 30000);
	CHECK_EQ(options.in_flight, 1);
	CHECK_EQ(options.memory_bytes, 8u << 20);
	conf = kafka_options_conf(&options, &error);
	CHECK(conf);
	CHECK_EQ(rd_kafka_conf_get(conf, "sasl.mechanism", value, &size), RD_KAFKA_CONF_OK);
	CHECK_STR(value, "PLAIN");
	size = sizeof value;
	CHECK_EQ(rd_kafka_conf_get(conf, "allow.auto.create.topics", value, &size),
		 RD_KAFKA_CONF_OK);
	CHECK_STR(value, "false");
	rd_kafka_conf_destroy(conf);
	kafka_options_deinit(&options);
}

static void options_are_refused(void)
{
	static const char *const wrong[][2] = {
		{"[]", "options: not a JSON object"},
		{"{}", "options.bootstrap: missing"},
		{"{\"bootstrap\": 1}", "options.bootstrap: not a text"},
		{"{\"bootstrap\": \"a\", \"in_flight\": 6}", "options.in_flight: not a whole"},
		{"{\"bootstrap\": \"a\", \"timeout_ms\": 999}", "options.timeout_ms: not a whole"},
		{"{\"bootstrap\": \"a\", \"timeout_ms\": 1.5}", "options.timeout_ms: not a whole"},
		{"{\"bootstrap\": \"a\", \"bootstrap\": \"b\"}", "options: not a JSON object"},
		{"{\"bootstrap\": \"a\", \"mechanism\": \"GSSAPI\"}", "options.mechanism: not one"},
		{"{\"bootstrap\": \"a\", \"mechanism\": \"SCRAM-SHA\"}",
		 "options.mechanism: not one"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); ++i) {
		const struct cluster cluster = {.options_json = wrong[i][0]};
		struct kafka_options options;
		char *error = NULL;

		CHECK_EQ(kafka_options_read(&cluster, &options, &error), -EINVAL);
		CHECK(error && strncmp(error, wrong[i][1], strlen(wrong[i][1])) == 0);
		free(error);
	}
}

// ---- errors

static void errors_have_codes(void)
{
	CHECK_EQ(kafka_error_code(RD_KAFKA_RESP_ERR_NO_ERROR), CODE_OK);
	CHECK_EQ(kafka_error_code(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART), CODE_NOT_FOUND);
	CHECK_EQ(kafka_error_code(RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION), CODE_NOT_FOUND);
	CHECK_EQ(kafka_error_send_code(RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION), CODE_NOT_READY);
	CHECK_EQ(kafka_error_send_code(RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE), CODE_TOO_LARGE);
	CHECK_EQ(kafka_error_send_code(RD_KAFKA_RESP_ERR__QUEUE_FULL), CODE_OVERLOADED);
	CHECK_EQ(kafka_error_code(RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED),
		 CODE_BACKEND_ERROR);
	CHECK(!kafka_error_is_transient(RD_KAFKA_RESP_ERR_NO_ERROR));
	CHECK(!kafka_error_is_transient(RD_KAFKA_RESP_ERR_POLICY_VIOLATION));
	CHECK(kafka_error_is_transient(RD_KAFKA_RESP_ERR__TRANSPORT));
	CHECK(kafka_error_is_transient(RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS));
	CHECK(kafka_error_is_transient((rd_kafka_resp_err_t)9999)); // one that is not known yet
}

// Nothing that was refused for good is called retriable.
static void refusals_are_final(void)
{
	static const rd_kafka_resp_err_t final[] = {
		RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP,
		RD_KAFKA_RESP_ERR_INVALID_RECORD, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
		RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC};

	for (size_t i = 0; i < ARRAY_SIZE(final); ++i)
		CHECK(!code_retriable(kafka_error_send_code(final[i])));
}

// ---- what is wrong, in words

static void expect_words(rd_kafka_resp_err_t error, const char *text, const char *begins,
			 bool plain)
{
	struct last_error last_error;
	bool is_plain = !plain;
	char room[400] = "";

	last_error_init(&last_error);
	CHECK(!last_error_since(&last_error, 0, NULL, room, sizeof room));
	CHECK(last_error_note(&last_error, error, text, 5));
	CHECK(!last_error_since(&last_error, 6, NULL, room, sizeof room));
	CHECK(last_error_since(&last_error, 5, &is_plain, room, sizeof room));
	CHECK(strncmp(room, begins, strlen(begins)) == 0);
	CHECK_EQ(is_plain, plain);
	last_error_clear(&last_error);
	CHECK(!last_error_since(&last_error, 0, NULL, room, sizeof room));
	last_error_deinit(&last_error);
}

static void causes_are_told_apart(void)
{
	expect_words(RD_KAFKA_RESP_ERR__RESOLVE, "x", "wrong address: the name", true);
	expect_words(RD_KAFKA_RESP_ERR__TRANSPORT,
		     "h:1/bootstrap: Connect to ipv4#h:1 failed: Connection refused (after 0ms in "
		     "state CONNECT)",
		     "wrong address, or the broker is down", true);
	expect_words(RD_KAFKA_RESP_ERR__AUTHENTICATION, "x", "wrong user or password", true);
	expect_words(RD_KAFKA_RESP_ERR__SSL, "SSL handshake failed: certificate verify failed: x",
		     "wrong certificate: the broker's", true);
	expect_words(RD_KAFKA_RESP_ERR__SSL, "tlsv13 alert certificate required",
		     "wrong certificate: the broker does not accept ours", true);
	expect_words(RD_KAFKA_RESP_ERR__SSL, "unexpected eof", "TLS does not come about", true);
	expect_words(RD_KAFKA_RESP_ERR__TRANSPORT, "Disconnected", "the connection was lost",
		     false);
	expect_words(RD_KAFKA_RESP_ERR_NOT_CONTROLLER, "as it is", "as it is", false);
}

static void the_same_is_told_once_a_minute(void)
{
	struct last_error last_error;
	uint64_t now_ns = S_NS;

	last_error_init(&last_error);
	CHECK(last_error_note(&last_error, RD_KAFKA_RESP_ERR__RESOLVE, "a (after 1ms)", now_ns));
	CHECK(!last_error_note(&last_error, RD_KAFKA_RESP_ERR__RESOLVE, "a (after 9ms)",
			       now_ns + S_NS));
	CHECK(!last_error_note(&last_error, RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, "all",
			       now_ns + S_NS));
	CHECK(last_error_note(&last_error, RD_KAFKA_RESP_ERR__RESOLVE, "b", now_ns + S_NS));
	CHECK(last_error_note(&last_error, RD_KAFKA_RESP_ERR__RESOLVE, "b", now_ns + 62 * S_NS));
	last_error_deinit(&last_error);
}

// ---- durability and version

static void expect_class(struct cluster_info info, uint32_t replication, uint32_t min_insync,
			 enum durability durability)
{
	const struct kafka_options options = {.replication = replication, .min_insync = min_insync};
	char reason[CLUSTER_INFO_REASON] = "";

	CHECK_EQ(cluster_info_durability(&info, &options, reason), durability);
	CHECK(*reason);
}

static void classes_follow_from_copies(void)
{
	const struct cluster_info unknown = {0}, one = {.known = true, .nodes = 1},
				  three = {.known = true,
					   .configured = true,
					   .nodes = 3,
					   .replication = 3,
					   .min_insync = 1};

	expect_class(unknown, 0, 0, DURABILITY_D1);
	expect_class(unknown, 3, 2, DURABILITY_D3); // declared
	expect_class(unknown, 3, 1, DURABILITY_D1);
	expect_class(unknown, 1, 2, DURABILITY_D1);
	expect_class(one, 3, 2, DURABILITY_D1);
	expect_class(three, 0, 0, DURABILITY_D1);
	expect_class(three, 0, 2, DURABILITY_D3);
	expect_class(three, 1, 2, DURABILITY_D1);
}

static void versions_are_guessed(void)
{
	char old[48] = "", new[48] = "";

	cluster_info_note_version(old, "group.coordinator.append.linger.ms", "10");
	cluster_info_note_version(old, "inter.broker.protocol.version", "3.9-IV0");
	cluster_info_note_version(old, "log.retention.ms", "1");
	CHECK_STR(old, "3.9");
	cluster_info_note_version(new, "group.streams.session.timeout.ms", "45000");
	cluster_info_note_version(new, "share.coordinator.threads", "1");
	cluster_info_note_version(new, "log.retention.ms", "1");
	CHECK_STR(new, "4.1 or later");
}

UNIT_MAIN(UNIT_CASE(options_are_read), UNIT_CASE(options_are_refused), UNIT_CASE(errors_have_codes),
	  UNIT_CASE(refusals_are_final), UNIT_CASE(causes_are_told_apart),
	  UNIT_CASE(the_same_is_told_once_a_minute), UNIT_CASE(classes_follow_from_copies),
	  UNIT_CASE(versions_are_guessed))
