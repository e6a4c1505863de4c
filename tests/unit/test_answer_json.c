// proxy/query/answer_json: the JSON of every answer, byte for byte. The REST interface and
// mqpaasctl show these keys in this order.

#include "proxy/query/answer_json.h"

#include "adapters/capability.h"
#include "core/wire/record.h"
#include "tests/unit/unit.h"

static void expect_with(const struct adapter_answer *answer, bool bodies, const char *wanted)
{
	json_t *json = answer_json(answer, bodies);
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

	CHECK(text);
	CHECK_STR(text, wanted);
	free(text);
	json_decref(json);
}

static void expect(const struct adapter_answer *answer, const char *wanted)
{
	expect_with(answer, false, wanted);
}

static void probes_written(void)
{
	struct adapter_answer answer = {.kind = ANSWER_PROBE,
					.probe = {.reachable = true,
						  .version = "3.4",
						  .nodes = 3,
						  .durability = DURABILITY_D2,
						  .durability_reason = "so",
						  .capabilities = CAP_D2,
						  .latency_us = 17}};
#define CAPABILITIES                                                                               \
	"{\"history\":false,\"query_time\":false,\"offsets\":false,\"exact_backlog\":false,"       \
	"\"delay\":false,\"keeps_without_group\":false,\"attempts_survive\":false,"                \
	"\"consume\":false,\"d1\":false,\"d2\":true,\"d3\":false,\"copies\":false,"                \
	"\"positions\":false,\"settles_survive\":false}"

	expect(&answer, "{\"reachable\":true,\"version\":\"3.4\",\"nodes\":3,\"durability\":\"D2\","
			"\"durability_reason\":\"so\",\"capabilities\":" CAPABILITIES
			",\"latency_us\":17,\"error\":null}");
	answer.probe.reachable = false;
	answer.probe.nodes = answer.probe.latency_us = ANSWER_NONE;
	answer.probe.error = "no broker answers";
	expect(&answer,
	       "{\"reachable\":false,\"version\":\"3.4\",\"nodes\":null,\"durability\":\"D2\","
	       "\"durability_reason\":\"so\",\"capabilities\":" CAPABILITIES
	       ",\"latency_us\":null,\"error\":\"no broker answers\"}");
	answer.probe.error = "\xff";
	CHECK(answer_json(&answer, false) == NULL); // not UTF-8
}

static void existing_written(void)
{
	static const struct answer_settings settings = {.message_bytes = 1000,
							.retention_ms = ANSWER_NONE,
							.retention_bytes = INT64_MAX,
							.compacted = true,
							.oldest_ms = 5,
							.min_insync = 2};
	static const char *const names[] = {"a", "b"};
	static const struct existing_topic topics[] = {
		{.name = "a", .partitions = 4, .replication = 3, .settings = &settings},
		{.name = "b", .partitions = 1, .replication = 1},
		{.name = "\xff", .partitions = 1, .replication = 1}};
	static const struct existing_client clients[] = {
		{.connection = "c1", .user = "u", .consumer = "t", .name = "n"},
		{.connection = "\xff", .user = "u", .consumer = "t"},
		{.connection = "c2", .user = "u", .consumer = "t"}};
	static const struct existing_group groups[] = {
		{.name = "g", .state = "Stable", .members = 2, .topics = names, .topic_count = 2},
		{.name = "h", .state = "Unknown", .members = ANSWER_NONE},
		{.name = "q", .state = "consumed", .clients = clients, .client_count = 3},
		{.name = "r", .state = "idle", .clients = clients}};
#define SETTINGS                                                                                   \
	"{\"message_bytes\":1000,\"retention_ms\":null,\"retention_bytes\":null,"                  \
	"\"compacted\":true,\"oldest_ms\":5,\"min_insync\":2}"

	expect(&(struct adapter_answer){.kind = ANSWER_SETTINGS, .settings = settings}, SETTINGS);
	expect(&(struct adapter_answer){.kind = ANSWER_EXISTING,
					.existing = {topics, 3, groups, 4}},
	       "{\"topics\":[{\"name\":\"a\",\"partitions\":4,\"replication\":3,\"min_insync\":2,"
	       "\"settings\":" SETTINGS "},{\"name\":\"b\",\"partitions\":1,\"replication\":1}],"
	       "\"groups\":[{\"name\":\"g\",\"state\":\"Stable\",\"members\":2,"
	       "\"topics\":[\"a\",\"b\"]},{\"name\":\"h\",\"state\":\"Unknown\","
	       "\"members\":null,\"topics\":[]},{\"name\":\"q\",\"state\":\"consumed\","
	       "\"members\":0,\"topics\":[],\"clients\":[{\"connection\":\"c1\",\"name\":\"n\","
	       "\"user\":\"u\",\"consumer\":\"t\"},{\"connection\":\"c2\",\"name\":null,"
	       "\"user\":\"u\",\"consumer\":\"t\"}]},{\"name\":\"r\",\"state\":\"idle\","
	       "\"members\":0,\"topics\":[],\"clients\":[]}]}");
}

static void topics_written(void)
{
	static const struct described_partition partitions[] = {{.partition = 0,
								 .first = 3,
								 .end = 9,
								 .messages = ANSWER_NONE,
								 .bytes = 600,
								 .oldest_ms = 1700000000000},
								{.partition = 1,
								 .first = ANSWER_NONE,
								 .end = ANSWER_NONE,
								 .messages = 7,
								 .bytes = ANSWER_NONE,
								 .oldest_ms = ANSWER_NONE}};
	static const struct skipped_range ranges[] = {{.partition = 1, .first = 4, .end = 8}};

	expect(&(struct adapter_answer){.kind = ANSWER_DESCRIBE, .describe = {partitions, 2}},
	       "{\"partitions\":[{\"partition\":0,\"first\":3,\"end\":9,\"messages\":null,"
	       "\"bytes\":600,\"oldest_ms\":1700000000000},{\"partition\":1,\"first\":null,"
	       "\"end\":null,\"messages\":7,\"bytes\":null,\"oldest_ms\":null}]}");
	expect(&(struct adapter_answer){.kind = ANSWER_PURGE,
					.purge = {.messages = 5, .bytes = 50}},
	       "{\"messages\":5,\"bytes\":50}");
	expect(&(struct adapter_answer){.kind = ANSWER_PURGE,
					.purge = {.messages = 5, .bytes = ANSWER_NONE}},
	       "{\"messages\":5,\"bytes\":null}");
	expect(&(struct adapter_answer){.kind = ANSWER_SKIP, .skip = {ranges, 1, false}},
	       "{\"partitions\":[{\"partition\":1,\"first\":4,\"end\":8}]}");
	expect(&(struct adapter_answer){.kind = ANSWER_SKIP, .skip = {NULL, 0, true}},
	       "{\"partitions\":[],\"row\":true}");
}

static void damage_written(void)
{
	static const struct damaged_part parts[] = {{.store = DURABILITY_D1,
						     .kind = "messages",
						     .topic = 7,
						     .partition = 2,
						     .first = 4,
						     .end = 8,
						     .found_ms = 12,
						     .problem = "unreadable"},
						    {.store = DURABILITY_D2,
						     .kind = "cursor",
						     .topic = 7,
						     .group = 9,
						     .found_ms = 13,
						     .problem = "lost"},
						    {.store = DURABILITY_D2,
						     .kind = "group",
						     .topic = 7,
						     .group = 9,
						     .since_ms = 11,
						     .found_ms = 14,
						     .problem = "deleted"}};

	expect(&(struct adapter_answer){.kind = ANSWER_DAMAGE, .damage = {parts, 3}},
	       "{\"damage\":[{\"class\":\"D1\",\"kind\":\"messages\",\"topic\":7,\"group\":null,"
	       "\"partition\":2,\"first\":4,\"end\":8,\"found_ms\":12,\"problem\":\"unreadable\"},"
	       "{\"class\":\"D2\",\"kind\":\"cursor\",\"topic\":7,\"group\":9,\"partition\":0,"
	       "\"first\":0,\"end\":0,\"found_ms\":13,\"problem\":\"lost\"},"
	       "{\"class\":\"D2\",\"kind\":\"group\",\"topic\":7,\"group\":9,\"partition\":0,"
	       "\"first\":0,\"end\":0,\"found_ms\":14,\"problem\":\"deleted\",\"since_ms\":11}]}");
}

static void groups_written(void)
{
	static const struct moved_partition moved[] = {
		{.partition = 1, .from = 5, .to = 9, .skipped = 3, .replayed = 0}};
	static const struct source_partition rows[] = {
		{.partition = 1,
		 .ready = 5,
		 .in_flight = 6,
		 .retrying = 7,
		 .delayed = 8,
		 .acked = 9,
		 .counts = {.dead = 10, .expired = 11, .skipped = 12, .replayed = 13},
		 .has_log = true,
		 .log = {.first = 2,
			 .end = 30,
			 .committed = 4,
			 .window_full = true,
			 .holes = true}}};
	static const struct source_partition queue[] = {{.ready = 5, .in_flight = 6, .acked = 9}};

	expect(&(struct adapter_answer){.kind = ANSWER_RESET, .reset = {moved, 1}},
	       "{\"partitions\":[{\"partition\":1,\"from\":5,\"to\":9,\"skipped\":3,"
	       "\"replayed\":0}]}");
	expect(&(struct adapter_answer){.kind = ANSWER_BACKLOG, .backlog = {rows, 1}},
	       "{\"partitions\":[{\"partition\":1,\"first\":2,\"end\":30,\"committed\":4,"
	       "\"ready\":5,\"in_flight\":6,\"retrying\":7,\"delayed\":8,\"acked\":9,\"dead\":10,"
	       "\"expired\":11,\"skipped\":12,\"replayed\":13,\"window_full\":true}]}");
	expect(&(struct adapter_answer){.kind = ANSWER_BACKLOG, .backlog = {queue, 1}},
	       "{\"partitions\":[{\"partition\":0,\"first\":null,\"end\":null,"
	       "\"committed\":null,\"ready\":5,\"in_flight\":6,\"retrying\":0,\"delayed\":0,"
	       "\"acked\":9,\"dead\":0,\"expired\":0,\"skipped\":0,\"replayed\":0,"
	       "\"window_full\":null}]}");
}

static void messages_written(void)
{
	static const uint8_t id[RECORD_ID_SIZE] = {0xab, 1};
	struct record_parts parts = {.id = id,
				     .created_ms = 11,
				     .key = {(const uint8_t *)"k", 1},
				     .body = {(const uint8_t *)"body", 4}};
	uint8_t *record = malloc(record_parts_size(&parts));
	struct stored_message row = {.offset = 40, .stored_ms = 12, .record = record};
	struct adapter_answer answer = {
		.kind = ANSWER_MESSAGES,
		.messages = {.partition = 3, .rows = &row, .count = 1, .next = 41}};
#define MESSAGE                                                                                    \
	"{\"messages\":[{\"partition\":3,\"offset\":40,"                                           \
	"\"id\":\"ab010000000000000000000000000000\",\"stored_ms\":12,\"created_ms\":11,"          \
	"\"key\":\"aw==\",\"tag\":null,\"headers\":[],\"size\":4,\"body\":"

	record_write(&parts, record);
	expect(&answer, MESSAGE "null}],\"next\":41}");
	answer.messages.next = ANSWER_NONE;
	expect_with(&answer, true, MESSAGE "\"Ym9keQ==\"}],\"next\":null}");
	free(record);
}

UNIT_MAIN(UNIT_CASE(probes_written), UNIT_CASE(existing_written), UNIT_CASE(topics_written),
	  UNIT_CASE(damage_written), UNIT_CASE(groups_written), UNIT_CASE(messages_written))
