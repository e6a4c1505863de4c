// sdk/c/src: the small parts of the library, and what the public functions answer to wrong
// arguments.

#include "sdk/c/src/address.h"
#include "sdk/c/src/credit_totals.h"
#include "sdk/c/src/ids.h"
#include "sdk/c/src/json.h"
#include "sdk/c/src/message.h"
#include "sdk/c/src/pace.h"
#include "sdk/c/src/settings.h"
#include "sdk/c/src/settle_queue.h"
#include "sdk/c/src/timers.h"
#include "tests/unit/unit.h"

#include <fcntl.h>

// ---- Addresses -------------------------------------------------------------------------------

static int parse(const char *text, struct address *ret)
{
	return address_parse(text, strlen(text), ret);
}

static void addresses_parse(void)
{
	static const char *const wrong[] = {"",           "host",        ":1",    "host:", "host:0",
					    "host:65536", "host:1a",     "a:b:1", "[::1]", "tls://",
					    "tls://:1",   "host:123456", "[]:1"};
	struct address address;
	char text[300];

	CHECK_EQ(parse("tls://proxy.example:7301", &address), 0);
	CHECK(address.tls);
	CHECK_STR(address.host, "proxy.example");
	CHECK_STR(address.port, "7301");
	CHECK_EQ(parse("[::1]:7300", &address), 0);
	CHECK_STR(address.host, "::1");
	address_print(&address, text, sizeof text);
	CHECK_STR(text, "[::1]:7300");
	for (size_t i = 0; i < ARRAY_SIZE(wrong); ++i)
		CHECK(parse(wrong[i], &address) < 0);
}

static void addresses_in_turn(void)
{
	struct addresses addresses;
	struct address avoid;

	CHECK_EQ(addresses_configure(&addresses, "a:1, b:2 ,c:3"), 0);
	CHECK_STR(addresses_next(&addresses, NULL)->host, "a");
	CHECK_STR(addresses_next(&addresses, NULL)->host, "b");
	addresses_forget_told(&addresses);
	addresses_tell(&addresses, "d:4", 3);
	addresses_tell(&addresses, "nonsense", 8);
	CHECK_STR(addresses_next(&addresses, NULL)->host, "d"); // told ones first
	avoid = addresses.configured[0];
	CHECK_STR(addresses_next(&addresses, &avoid)->host, "b");
	CHECK(addresses_configure(&addresses, "a:1,") < 0);
	CHECK(addresses_configure(&addresses, "") < 0);
}

static void addresses_wait(void)
{
	struct addresses addresses;

	addresses_configure(&addresses, "a:1,b:2");
	CHECK_EQ(addresses_failed(&addresses, 0), 0);   // the other one at once
	CHECK_EQ(addresses_failed(&addresses, 0), 100); // all have failed
	for (int i = 0; i < 60; ++i)
		CHECK(addresses_failed(&addresses, (uint32_t)i) <= 5000);
	CHECK_EQ(addresses_failed(&addresses, 0), 5000);
	addresses_succeeded(&addresses);
	CHECK_EQ(addresses_failed(&addresses, 0), 0);
}

static void tls_is_not_given_up(void)
{
	struct addresses addresses;

	addresses_configure(&addresses, "tls://a:1");
	addresses_tell(&addresses, "b:2", 3);
	addresses_tell(&addresses, "tls://c:3", 9);
	CHECK_EQ(addresses.told_count, 1);
	CHECK_STR(addresses.told[0].host, "c");
}

// ---- Timers ----------------------------------------------------------------------------------

static unsigned fired[64], fired_count;

struct test_timer {
	struct timer timer;
	unsigned number;
};

static void timer_note(struct timer *timer, uint64_t now_ns)
{
	fired[fired_count++] = CONTAINER_OF(timer, struct test_timer, timer)->number;
}

static void timers_in_order(void)
{
	struct test_timer all[50] = {0};
	struct timers timers;

	timers_init(&timers);
	fired_count = 0;
	for (unsigned i = 0; i < 50; ++i) {
		all[i].number = i;
		all[i].timer.fire = timer_note;
		CHECK_EQ(timer_set(&timers, &all[i].timer, 1000 - (i * 37 % 50)), 0);
	}
	for (unsigned i = 0; i < 50; i += 2) // moved
		timer_set(&timers, &all[i].timer, 2000 + i);
	for (unsigned i = 1; i < 50; i += 4) // cleared
		timer_set(&timers, &all[i].timer, UINT64_MAX);
	timers_run(&timers, 1999);
	CHECK_EQ(fired_count, 12);
	CHECK_EQ(timers_next_ns(&timers), 2000);
	fired_count = 0;
	timers_run(&timers, 5000);
	CHECK_EQ(fired_count, 25);
	for (unsigned i = 0; i < 25; ++i)
		CHECK_EQ(fired[i], 2 * i);
	CHECK_EQ(timers_next_ns(&timers), UINT64_MAX);
	timers_deinit(&timers);
}

// ---- Credit ----------------------------------------------------------------------------------

static void credit_count(void)
{
	struct credit_totals credit = {0};

	CHECK(credit_totals_top_up(&credit, 100, 1000, 0, 0));
	CHECK_EQ(credit.granted_messages, 100);
	CHECK(!credit_totals_top_up(&credit, 100, 1000, 0, 0));
	CHECK(credit_totals_delivered(&credit, 60, 600));
	// Held messages count against the window; a grant is worth sending by halves.
	CHECK(!credit_totals_top_up(&credit, 100, 1000, 60, 600));
	CHECK(!credit_totals_top_up(&credit, 100, 1000, 20, 200));
	CHECK(credit_totals_top_up(&credit, 100, 1000, 10, 100));
	CHECK_EQ(credit.granted_messages, 150);
	credit_totals_drain(&credit);
	CHECK(!credit_totals_top_up(&credit, 100, 1000, 0, 0));
	CHECK(!credit_totals_drained(&credit, 2));
	CHECK(credit_totals_drained(&credit, 1));
	CHECK_EQ(credit.granted_messages, 60);
	CHECK(!credit_totals_delivered(&credit, 1, 10)); // more than was granted
}

static void credit_pull(void)
{
	struct credit_totals credit = {0};

	credit_totals_ask(&credit, 5, 1000);
	CHECK(credit_totals_delivered(&credit, 2, 100));
	credit_totals_drain(&credit);
	CHECK(credit_totals_drained(&credit, 1));
	credit_totals_ask(&credit, 5, 1000);
	CHECK_EQ(credit.granted_messages, 7);
	CHECK_EQ(credit.granted_bytes, 1100);
}

// ---- Settles ---------------------------------------------------------------------------------

static struct settle_entry settle_of(uint8_t verb, uint64_t offset)
{
	return (struct settle_entry){
		.verb = verb, .offset = offset, .count = 1, .attempt = 1, .epoch = 9};
}

// An answer to whatever a batch has at the proxy.
static size_t settled(const struct settle_queue_batch *batch, uint16_t code, uint8_t *payload)
{
	struct settle_head head = {.settle = batch->number, .count = batch->flying};

	settle_head_write(payload, &head);
	for (uint32_t i = 0; i < batch->flying; ++i) {
		struct settle_outcome entry = {
			.code = code, .settled = code ? 0 : batch->entries[batch->from + i].count};

		settle_outcome_write(payload + SETTLED_HEAD_SIZE + i * SETTLED_ENTRY_SIZE, &entry);
	}
	return SETTLED_HEAD_SIZE + batch->flying * SETTLED_ENTRY_SIZE;
}

static void settles_join_runs(void)
{
	struct settle_queue queue;
	const struct settle_queue_batch *batch, *next;
	struct settle_queue_tally tally;
	uint8_t payload[1024];
	size_t size;

	settle_queue_init(&queue);
	for (uint64_t offset = 0; offset < 10; ++offset) {
		struct settle_entry entry = settle_of(offset == 7 ? WIRE_NACK : WIRE_ACK, offset);

		CHECK_EQ(settle_queue_add(&queue.open, &entry), 0);
	}
	CHECK_EQ(queue.open.count, 3); // 0–6, 7, 8–9
	batch = settle_queue_take(&queue, 2);
	CHECK_EQ(batch->flying, 2); // a frame holds no more
	CHECK_EQ(settle_queue_encoded_size(batch), SETTLE_HEAD_SIZE + 2 * SETTLE_ENTRY_SIZE);
	next = settle_queue_take(&queue, 2); // without the first one's answer
	CHECK_EQ(next->flying, 1);
	CHECK(next->number > batch->number && !settle_queue_take(&queue, 2));
	size = settled(batch, 0, payload);
	CHECK_EQ(settle_queue_answered(&queue, payload, size, &tally), 0);
	CHECK_EQ(tally.settled[WIRE_ACK], 7);
	CHECK_EQ(tally.settled[WIRE_NACK], 1);
	CHECK(!settle_queue_idle(&queue));
	size = settled(next, MQP_STALE, payload);
	CHECK_EQ(settle_queue_answered(&queue, payload, size, &tally), 0);
	CHECK_EQ(tally.stale, 2);
	CHECK(settle_queue_idle(&queue));
	CHECK_EQ(settle_queue_answered(&queue, payload, size, &tally), 0); // late, no caller waits
	le64_put(payload, 77);
	CHECK(settle_queue_answered(&queue, payload, size, &tally) < 0); // never sent
	settle_queue_deinit(&queue);
}

static void settles_calls(void)
{
	enum mqp_code codes[2] = {MQP_TIMEOUT, MQP_TIMEOUT};
	struct settle_queue_call call = {.codes = codes};
	const struct settle_queue_batch *batch;
	struct settle_queue_tally tally;
	struct settle_queue queue;
	struct settle_entry entry = settle_of(WIRE_ACK, 4);
	uint8_t payload[256];

	settle_queue_init(&queue);
	settle_queue_add(&queue.open, &entry);
	settle_queue_add(&call.batch, &entry);
	entry.offset = 9;
	settle_queue_add(&call.batch, &entry);
	list_push_back(&queue.calls, &call.node);
	batch = settle_queue_take(&queue, 100);
	CHECK(batch == &call.batch);
	CHECK_EQ(settle_queue_take(&queue, 100)->flying, 1); // both fly
	CHECK_EQ(settle_queue_answered(&queue, payload, settled(batch, MQP_STALE, payload), &tally),
		 0);
	CHECK(call.done && !call.lost && codes[0] == MQP_STALE && codes[1] == MQP_STALE);
	CHECK_EQ(settle_queue_lost(&queue), 1);
	CHECK(settle_queue_idle(&queue));
	free(call.batch.entries);
	settle_queue_deinit(&queue);
}

// ---- Messages --------------------------------------------------------------------------------

static void message_parts_written(void)
{
	uint8_t id[16] = {7}, other[16] = {9}, *record;
	struct mqp_message *message;
	struct record_parts parts;
	struct record_view view;
	struct record_header header;
	size_t cursor = 0;
	uint32_t size;

	CHECK_EQ(mqp_message_new(&message), MQP_OK);
	CHECK(!mqp_message_key(message, NULL) && !mqp_message_body(message, NULL));
	CHECK_EQ(mqp_message_set_key(message, "", 0), MQP_OK);
	CHECK_EQ(mqp_message_set_body(message, "\0b", 2), MQP_OK);
	CHECK_EQ(mqp_message_add_header(message, "h", "\0", 1), MQP_OK);
	CHECK_EQ(mqp_message_add_header(message, "h", NULL, 0), MQP_OK);
	CHECK_EQ(mqp_message_set_tag(message, "tag"), MQP_OK);
	CHECK_EQ(mqp_message_set_due_ms(message, 12), MQP_OK);
	CHECK_EQ(mqp_message_set_ttl_ms(message, 13), MQP_OK);
	CHECK_EQ(mqp_message_set_priority(message, 9), MQP_OK);
	CHECK_EQ(mqp_message_set_partition(message, 3), MQP_OK);
	CHECK_EQ(mqp_message_set_created_ms(message, -5), MQP_OK);
	message_parts(message, id, 99, &parts);
	record = malloc(record_parts_size(&parts));
	record_write(&parts, record);
	CHECK_EQ(record_check(record, record_parts_size(&parts), &size), RECORD_OK);
	record_read(record, &view);
	CHECK(view.key.data && view.key.size == 0 && view.body.size == 2);
	CHECK_EQ(view.created_ms, -5);
	CHECK_EQ(view.due_ms, 12);
	CHECK_EQ(view.ttl_ms, 13);
	CHECK_EQ(view.priority, 9);
	CHECK_EQ(view.partition, 3);
	CHECK(memcmp(view.id, id, 16) == 0);
	CHECK_EQ(view.header_count, 2);
	CHECK(record_header_next(&view, &cursor, &header) && header.value.size == 1);
	CHECK(record_header_next(&view, &cursor, &header) && !header.value.data);
	free(record);

	CHECK_EQ(mqp_message_set_id(message, other), MQP_OK);
	message_parts(message, id, 99, &parts);
	CHECK_EQ(parts.id[0], 9);
	CHECK_EQ(mqp_message_reset(message), MQP_OK);
	message_parts(message, id, 99, &parts);
	CHECK(parts.id == id && parts.created_ms == 99 && parts.header_count == 0);
	CHECK_EQ(record_parts_size(&parts), RECORD_HEAD_SIZE);
	mqp_message_free(message);
}

static void message_arguments(void)
{
	static const uint8_t zero[16];
	struct mqp_message *message;
	char long_tag[257];

	memset(long_tag, 'x', 256);
	long_tag[256] = 0;
	mqp_message_new(&message);
	CHECK_EQ(mqp_message_new(NULL), MQP_INVALID_ARGUMENT);
	CHECK_EQ(mqp_message_set_key(NULL, "", 0), MQP_INVALID_ARGUMENT);
	CHECK_EQ(mqp_message_set_key(message, NULL, 1), MQP_INVALID_ARGUMENT);
	CHECK_EQ(mqp_message_set_body(message, NULL, 1), MQP_INVALID_ARGUMENT);
	CHECK_EQ(mqp_message_set_body(message, "", (size_t)2 << 30), MQP_INVALID_ARGUMENT);
	CHECK_EQ(mqp_message_add_header(message, "", "", 0), MQP_INVALID_ARGUMENT);
	CHECK_EQ(mqp_message_add_header(message, NULL, "", 0), MQP_INVALID_ARGUMENT);
	CHECK_EQ(mqp_message_add_header(message, "\xff", "", 0), MQP_INVALID_ARGUMENT);
	CHECK_EQ(mqp_message_set_tag(message, ""), MQP_INVALID_ARGUMENT);
	CHECK_EQ(mqp_message_set_tag(message, long_tag), MQP_INVALID_ARGUMENT);
	CHECK_EQ(mqp_message_set_id(message, zero), MQP_INVALID_ARGUMENT);
	CHECK_EQ(mqp_message_set_ttl_ms(message, 0), MQP_INVALID_ARGUMENT);
	CHECK_EQ(mqp_message_set_priority(message, 10), MQP_INVALID_ARGUMENT);
	CHECK_EQ(mqp_ack(message), MQP_INVALID_ARGUMENT); // not received
	CHECK_EQ(mqp_extend(message, 1), MQP_INVALID_ARGUMENT);
	CHECK_EQ(mqp_settle(&message, 1, MQP_ACK, 0), MQP_INVALID_ARGUMENT);
	CHECK_EQ(mqp_settle_sync(&message, 1, MQP_ACK, 0, 10, NULL), MQP_INVALID_ARGUMENT);
	CHECK_EQ(mqp_message_attempt(message), 0);
	CHECK(mqp_message_offset(message) == MQP_OFFSET_NONE);
	CHECK(mqp_message_partition(message) == MQP_PARTITION_ANY);
	mqp_message_free(message);
	mqp_message_free(NULL);
}

static void ids_are_new(void)
{
	uint8_t a[16], b[16];
	struct ids ids;

	CHECK_EQ(ids_init(&ids), 0);
	ids.low = UINT64_MAX - 1;
	ids_next(&ids, 0x010203040506, a);
	CHECK(a[0] == 1 && a[5] == 6);
	ids_next(&ids, 0x010203040506, b);
	CHECK(memcmp(a, b, 16) != 0);
	ids_next(&ids, 0x010203040507, a);
	CHECK(memcmp(b, a, 16) < 0); // by time
}

// ---- Settings --------------------------------------------------------------------------------

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static void settings_sources(void)
{
	char directory[] = "/tmp/mqpaas-sdk-XXXXXX", path[64];
	struct mqp_client_config config;
	struct settings settings;
	struct credentials fresh;

	CHECK(mkdtemp(directory));
	snprintf(path, sizeof path, "%s/credentials", directory);
	mqp_client_config_init(&config, sizeof config);
	unsetenv("MQPAAS_ADDRESS");
	unsetenv("MQPAAS_ACCESS_KEY");
	unsetenv("MQPAAS_SECRET");
	CHECK_EQ(settings_init(&settings, &config), MQP_BAD_CREDENTIALS);
	setenv("MQPAAS_ACCESS_KEY", "from-environment", 1);
	setenv("MQPAAS_SECRET", "s", 1);
	CHECK_EQ(settings_init(&settings, &config), MQP_OK);
	CHECK_STR(settings.use.access_key, "from-environment");
	CHECK_STR(settings.use.addresses, "127.0.0.1:7300");
	settings_deinit(&settings);

	write_file(path, "# comment\nMQPAAS_ACCESS_KEY=from-file\r\nMQPAAS_SECRET=\"q\"\nOTHER=1\n"
			 "MQPAAS_ADDRESS=h:1");
	config.credentials_file = path;
	config.access_key = "from-argument";
	CHECK_EQ(settings_init(&settings, &config), MQP_OK);
	CHECK_STR(settings.use.access_key, "from-argument");
	CHECK_STR(settings.use.secret, "q");
	CHECK_STR(settings.use.addresses, "h:1");
	CHECK(!settings_file_changed(&settings));
	write_file(path, "MQPAAS_SECRET=other-secret\nMQPAAS_ADDRESS=nonsense\n");
	CHECK(settings_file_changed(&settings));
	CHECK(settings_reload(&settings, &fresh) != MQP_OK);
	CHECK_STR(settings.use.secret, "q");      // nothing was changed
	CHECK(!settings_file_changed(&settings)); // and it is not tried again and again
	write_file(path, "MQPAAS_SECRET=other-secret\nMQPAAS_ADDRESS=h:22\n");
	CHECK(settings_file_changed(&settings));
	CHECK_EQ(settings_reload(&settings, &fresh), MQP_OK);
	CHECK_STR(fresh.secret, "other-secret");
	CHECK_STR(fresh.access_key, "from-argument");
	CHECK_STR(fresh.addresses, "h:22");
	CHECK_STR(settings.use.secret, "q"); // in use until the service has accepted the other
	CHECK(!settings_credentials_same(&fresh, &settings.use));
	settings_deinit(&settings);
	unlink(path);
	CHECK_EQ(settings_init(&settings, &config), MQP_BAD_CREDENTIALS);
	rmdir(directory);
	unsetenv("MQPAAS_ACCESS_KEY");
	unsetenv("MQPAAS_SECRET");
}

// ---- Pace ------------------------------------------------------------------------------------

static void pace_keeps_turns(void)
{
	struct pace pace;

	pace_reset(&pace);
	CHECK(pace_most(&pace, false, 0) == UINT64_MAX &&
	      pace_next_ns(&pace, false, 0) == UINT64_MAX);
	pace_sent(&pace, 1000, 0);
	CHECK(pace_most(&pace, false, 0) == UINT64_MAX);
	pace_told(&pace, 10, 100 * MS_NS, S_NS);
	CHECK_EQ(pace_most(&pace, false, S_NS + 99 * MS_NS), 0);
	CHECK_EQ(pace_next_ns(&pace, false, S_NS), S_NS + 100 * MS_NS);
	CHECK_EQ(pace_most(&pace, false, S_NS + 100 * MS_NS), 10);
	pace_sent(&pace, 4, S_NS + 100 * MS_NS);
	CHECK_EQ(pace_most(&pace, false, S_NS + 100 * MS_NS), 6);
	pace_sent(&pace, 6, S_NS + 200 * MS_NS);
	CHECK_EQ(pace_most(&pace, false, S_NS + 200 * MS_NS), 0);
	// Nothing is told any more: after a while it goes on.
	CHECK_EQ(pace_next_ns(&pace, false, S_NS + 200 * MS_NS), 2 * S_NS + 200 * MS_NS);
	CHECK(pace_most(&pace, false, 2 * S_NS + 200 * MS_NS) == UINT64_MAX);
	// Not before the answer to what was sent has come, however long that takes.
	pace_told(&pace, 1, 0, S_NS);
	pace_sent(&pace, 1, S_NS);
	CHECK_EQ(pace_most(&pace, true, 60 * S_NS), 0);
	CHECK_EQ(pace_next_ns(&pace, true, 60 * S_NS), 61 * S_NS);
	pace_answered(&pace, 60 * S_NS);
	CHECK_EQ(pace_most(&pace, false, 61 * S_NS - 1), 0);
	CHECK(pace_most(&pace, false, 61 * S_NS) == UINT64_MAX);
	pace_told(&pace, UINT64_MAX, 0, S_NS);
	CHECK(!pace.told && pace_most(&pace, false, S_NS) == UINT64_MAX);
}

// ---- The public functions --------------------------------------------------------------------

static void wrong_configurations(void)
{
	struct mqp_client_config config;
	struct mqp_client *client;

	mqp_client_config_init(&config, sizeof config);
	config.access_key = "a";
	config.secret = "s";
	CHECK_EQ(mqp_client_new(&config, NULL), MQP_INVALID_ARGUMENT);
	config.addresses = "no port";
	CHECK_EQ(mqp_client_new(&config, &client), MQP_INVALID_ARGUMENT);
	config.addresses = "";
	CHECK_EQ(mqp_client_new(&config, &client), MQP_INVALID_ARGUMENT);
	config.addresses = "127.0.0.1:1";
	config.connect_timeout_ms = 600001;
	CHECK_EQ(mqp_client_new(&config, &client), MQP_INVALID_ARGUMENT);
	config.connect_timeout_ms = 0;
	config.size = sizeof config + 8;
	CHECK_EQ(mqp_client_new(&config, &client), MQP_INVALID_ARGUMENT);
	config.size = sizeof config;
	config.tls_ca_file = "/no/such/file";
	config.log_level = MQP_LOG_ERROR;
	CHECK_EQ(mqp_client_new(&config, &client), MQP_TLS);
	config.tls_ca_file = NULL;
	config.secret = "";
	CHECK_EQ(mqp_client_new(&config, &client), MQP_BAD_CREDENTIALS);
}

static void null_handles(void)
{
	struct mqp_producer_config producer;
	struct mqp_consumer_config consumer;

	mqp_producer_config_init(&producer, sizeof producer);
	mqp_consumer_config_init(&consumer, sizeof consumer);
	CHECK_EQ(mqp_client_connect(NULL, 0), MQP_INVALID_ARGUMENT);
	CHECK_EQ(mqp_client_close(NULL, 0), MQP_INVALID_ARGUMENT);
	CHECK_EQ(mqp_client_process(NULL), MQP_INVALID_ARGUMENT);
	CHECK_EQ(mqp_client_fd(NULL), -1);
	CHECK_EQ(mqp_client_timeout_ms(NULL), -1);
	CHECK_EQ(mqp_client_stat(NULL, MQP_STAT_SENT), 0);
	CHECK_EQ(mqp_client_stats_json(NULL, NULL), MQP_INVALID_ARGUMENT);
	CHECK_EQ(mqp_producer_new(NULL, &producer, NULL), MQP_INVALID_ARGUMENT);
	CHECK_EQ(mqp_producer_ready(NULL, 0), MQP_INVALID_ARGUMENT);
	CHECK_EQ(mqp_producer_close(NULL, 0), MQP_INVALID_ARGUMENT);
	CHECK_EQ(mqp_send(NULL, NULL, 1, NULL), MQP_INVALID_ARGUMENT);
	CHECK_EQ(mqp_send_async(NULL, NULL, NULL, NULL), MQP_INVALID_ARGUMENT);
	CHECK_EQ(mqp_send_oneway(NULL, NULL), MQP_INVALID_ARGUMENT);
	CHECK_EQ(mqp_flush(NULL, 0), MQP_INVALID_ARGUMENT);
	CHECK_EQ(mqp_consumer_new(NULL, &consumer, NULL), MQP_INVALID_ARGUMENT);
	CHECK_EQ(mqp_consumer_ready(NULL, 0), MQP_INVALID_ARGUMENT);
	CHECK_EQ(mqp_consumer_pause(NULL), MQP_INVALID_ARGUMENT);
	CHECK_EQ(mqp_consumer_resume(NULL), MQP_INVALID_ARGUMENT);
	CHECK_EQ(mqp_consumer_close(NULL, 0), MQP_INVALID_ARGUMENT);
	CHECK_EQ(mqp_pull(NULL, 1, 0, NULL, NULL), MQP_INVALID_ARGUMENT);
	CHECK_EQ(mqp_ack(NULL), MQP_INVALID_ARGUMENT);
	CHECK_EQ(mqp_settle(NULL, 1, MQP_ACK, 0), MQP_INVALID_ARGUMENT);
	mqp_client_free(NULL);
	mqp_producer_free(NULL);
	mqp_consumer_free(NULL);
	mqp_result_free(NULL);
	mqp_free(NULL);
	CHECK_EQ(mqp_result_outcome(NULL), MQP_OUTCOME_REJECTED);
	CHECK_STR(mqp_result_topic(NULL), "");
}

static void words(void)
{
	int outside = 555;
	enum mqp_code unknown;

	memcpy(&unknown, &outside, sizeof unknown); // as a newer service may answer
	CHECK_STR(mqp_version(), "0.1.0");
	CHECK_STR(mqp_code_name(MQP_THROTTLED), "THROTTLED");
	CHECK_STR(mqp_code_name(MQP_QUEUE_FULL), "QUEUE_FULL");
	CHECK_STR(mqp_code_name(unknown), "INVALID");
	CHECK(mqp_code_retriable(MQP_THROTTLED) && mqp_code_retriable(MQP_QUEUE_FULL));
	CHECK(!mqp_code_retriable(MQP_FORBIDDEN) && !mqp_code_retriable(MQP_CLOSED));
	CHECK(strlen(mqp_strerror(MQP_CLOSED)) > 0 && strlen(mqp_strerror(unknown)) > 0);
}

static void json_text_form(void)
{
	struct json json = {0};
	char *text;

	json_open(&json, NULL);
	json_text(&json, "a\"b", "c\\\n");
	json_open_list(&json, "list");
	json_open(&json, NULL);
	json_close(&json);
	json_number(&json, NULL, UINT64_MAX);
	json_close_list(&json);
	json_bool(&json, "yes", true);
	json_close(&json);
	text = json_take(&json);
	CHECK_STR(text,
		  "{\"a\\\"b\":\"c\\\\\\u000a\",\"list\":[{},18446744073709551615],\"yes\":true}");
	free(text);
}

UNIT_MAIN(UNIT_CASE(pace_keeps_turns), UNIT_CASE(addresses_parse), UNIT_CASE(addresses_in_turn),
	  UNIT_CASE(addresses_wait), UNIT_CASE(tls_is_not_given_up), UNIT_CASE(timers_in_order),
	  UNIT_CASE(credit_count), UNIT_CASE(credit_pull), UNIT_CASE(settles_join_runs),
	  UNIT_CASE(settles_calls), UNIT_CASE(message_parts_written), UNIT_CASE(message_arguments),
	  UNIT_CASE(ids_are_new), UNIT_CASE(settings_sources), UNIT_CASE(wrong_configurations),
	  UNIT_CASE(null_handles), UNIT_CASE(words), UNIT_CASE(json_text_form))
