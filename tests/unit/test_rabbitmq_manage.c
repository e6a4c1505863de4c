// What the RabbitMQ adapter reads out of the management API's answers, hostile ones included, and
// the class of durability that follows.

#include "adapters/rabbitmq/admin/class.h"
#include "adapters/rabbitmq/manage/danger.h"
#include "adapters/rabbitmq/manage/facts.h"
#include "tests/unit/unit.h"

#include <errno.h>

static json_t *read_json(const char *text)
{
	json_t *root = rabbitmq_facts_parse(text, strlen(text));

	CHECK(root);
	return root;
}

// ---- policies

static void policies_that_drop(void)
{
	static const struct {
		const char *definition;
		unsigned major;
		uint32_t dangers;
	} rows[] = {
		{"{}", 3, 0},
		{"{\"message-ttl\": 60000}", 3, 1u << RABBITMQ_DANGER_AT_TTL},
		{"{\"message-ttl\": \"60000\"}", 3, 0}, // the broker takes no text
		{"{\"expires\": 1}", 4, 1u << RABBITMQ_DANGER_AT_EXPIRES},
		{"{\"max-length\": 0}", 4, 1u << RABBITMQ_DANGER_AT_LENGTH},
		{"{\"max-length\": 9, \"overflow\": \"drop-head\"}", 4,
		 1u << RABBITMQ_DANGER_AT_LENGTH},
		{"{\"max-length\": 9, \"overflow\": \"reject-publish\"}", 4, 0},
		{"{\"max-length-bytes\": 9, \"overflow\": \"reject-publish-dlx\"}", 4, 0},
		{"{\"max-length-bytes\": 9}", 4, 1u << RABBITMQ_DANGER_AT_BYTES},
		{"{\"delivery-limit\": 20}", 4, 1u << RABBITMQ_DANGER_AT_DELIVERIES},
		{"{\"delivery-limit\": -1}", 4, 0},
		{"{\"delivery-limit\": -1}", 3, 1u << RABBITMQ_DANGER_AT_DELIVERIES},
		{"{\"queue-leader-locator\": \"balanced\"}", 4, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); ++i) {
		json_t *definition = read_json(rows[i].definition);

		CHECK_EQ(rabbitmq_danger_of(definition, rows[i].major), rows[i].dangers);
		json_decref(definition);
	}
	CHECK_EQ(rabbitmq_danger_of(NULL, 3), 0);
	CHECK_STR(rabbitmq_danger_key(1u << RABBITMQ_DANGER_AT_BYTES | 1u << 4),
		  "max-length-bytes");
}

static void arguments_that_drop(void)
{
	json_t *arguments = read_json("{\"x-message-ttl\": 5, \"x-overflow\": \"reject-publish\", "
				      "\"x-max-length\": 5, \"message-ttl\": 5}");

	CHECK_EQ(rabbitmq_danger_of_arguments(arguments, 3), 1u << RABBITMQ_DANGER_AT_TTL);
	json_decref(arguments);
}

static void policies_that_may_apply(void)
{
#define TTL ", \"priority\": 1, \"definition\": {\"message-ttl\": 5}}"
	static const struct {
		const char *policies, *name; // NULL: none drops
	} rows[] = {
		{"[]", NULL},
		{"[{\"name\": \"a\", \"pattern\": \".*\"" TTL "]", "a"},
		{"[{\"name\": \"a\", \"pattern\": \"\"" TTL "]", "a"},
		{"[{\"name\": \"a\", \"pattern\": \"^orders\"" TTL "]", NULL},
		{"[{\"name\": \"a\", \"pattern\": \"orders\"" TTL "]",
		 "a"}, // a topic's name has it
		{"[{\"name\": \"a\", \"pattern\": \"^mqp\\\\.shop\"" TTL "]", "a"},
		{"[{\"name\": \"a\", \"pattern\": \"^mqpx\"" TTL "]", NULL},
		{"[{\"name\": \"a\", \"pattern\": \"^mqpx?\"" TTL "]", "a"},
		{"[{\"name\": \"a\", \"pattern\": \"^mqpx*\\\\.\"" TTL "]", "a"},
		{"[{\"name\": \"a\", \"pattern\": \"^x|mqp\"" TTL "]", "a"},
		{"[{\"name\": \"a\", \"pattern\": \"^[a-z]\"" TTL "]", "a"},
		{"[{\"name\": \"a\", \"pattern\": \"^\\\\w\"" TTL "]", "a"},
		{"[{\"name\": \"a\", \"pattern\": \"^((((a+)+)+)+)+$\"" TTL "]", "a"},
		{"[{\"name\": \"a\", \"pattern\": 7" TTL "]", "a"},
		{"[{\"name\": \"a\", \"apply-to\": \"exchanges\", \"pattern\": \".*\"" TTL "]",
		 NULL},
		{"[{\"name\": \"a\", \"apply-to\": \"classic_queues\", \"pattern\": \".*\"" TTL "]",
		 NULL},
		{"[{\"name\": \"a\", \"apply-to\": \"quorum_queues\", \"pattern\": \".*\"" TTL "]",
		 "a"},
		// Another policy of a higher priority takes its place.
		{"[{\"name\": \"a\", \"pattern\": \".*\"" TTL
		 ", {\"name\": \"b\", \"pattern\": \".*\", \"priority\": 2, \"definition\": {}}]",
		 NULL},
		{"[{\"name\": \"a\", \"pattern\": \".*\"" TTL
		 ", {\"name\": \"b\", \"pattern\": \"^mqp\\\\.shop\", \"priority\": 2, "
		 "\"definition\": {}}]",
		 "a"}, // of some names only
		{"[7, null, \"x\", {}]", NULL},
		{"{\"error\": \"x\"}", NULL},
	};
#undef TTL

	for (size_t i = 0; i < ARRAY_SIZE(rows); ++i) {
		json_t *policies = read_json(rows[i].policies);
		uint32_t dangers = 0;
		char name[64] = "";
		bool drops = rabbitmq_danger_in_policies(policies, true, 3, name, &dangers);

		if (drops != (rows[i].name != NULL))
			fprintf(stderr, "%s\n", rows[i].policies);
		CHECK_EQ(drops, rows[i].name != NULL);
		if (drops) {
			CHECK_STR(name, rows[i].name);
			CHECK_EQ(dangers, 1u << RABBITMQ_DANGER_AT_TTL);
		}
		json_decref(policies);
	}
}

// ---- answers

static void nodes_and_version(void)
{
	json_t *root = read_json("[{\"name\": \"a@x\", \"running\": true, \"mem_alarm\": true},"
				 " {\"name\": \"b@x\", \"running\": false},"
				 " {\"name\": 7, \"running\": true, \"disk_free_alarm\": true}]");
	struct rabbitmq_nodes nodes;
	char version[8];

	CHECK(rabbitmq_facts_nodes(root, &nodes));
	CHECK_EQ(nodes.count, 3);
	CHECK_EQ(nodes.running, 2);
	CHECK_STR(nodes.alarm,
		  "node a@x is short of memory and takes no messages; node b@x does not "
		  "run; node ? is short of disk space and takes no messages");
	json_decref(root);
	root = read_json("{\"rabbitmq_version\": \"3.10.8-and-much-more\"}");
	CHECK(!rabbitmq_facts_nodes(root, &nodes)); // no list
	rabbitmq_facts_version(root, version, sizeof version);
	CHECK_STR(version, "3.10.8-");
	CHECK_EQ(rabbitmq_facts_major(version), 3);
	json_decref(root);
	root = read_json("[]");
	CHECK(!rabbitmq_facts_nodes(root, &nodes));
	rabbitmq_facts_version(root, version, sizeof version);
	CHECK_STR(version, "");
	CHECK_EQ(rabbitmq_facts_major(version), 0);
	json_decref(root);
}

static void imported_queues_that_drop(void)
{
	static const struct {
		const char *queue, *text; // NULL: nothing drops
	} rows[] = {
		{"\"type\": \"classic\", \"arguments\": {\"x-message-ttl\": 5, \"x-expires\": 7}",
		 "imported queue q was declared with x-message-ttl, which drops messages that "
		 "wait longer"},
		{"\"type\": \"classic\", \"arguments\": {\"x-max-length\": 5}",
		 "imported queue q was declared with x-max-length, which drops the oldest "
		 "message of a queue that is full"},
		{"\"type\": \"classic\", \"arguments\": {\"x-max-length\": 5, \"x-overflow\": "
		 "\"reject-publish\"}",
		 NULL},
		{"\"type\": \"quorum\", \"arguments\": {\"x-delivery-limit\": 3}",
		 "imported queue q was declared with x-delivery-limit, which drops a message that "
		 "was handed out more often"},
		{"\"type\": \"quorum\", \"arguments\": {\"x-delivery-limit\": -1}", NULL},
		{"\"type\": \"classic\", \"policy\": \"p\", \"effective_policy_definition\": "
		 "{\"expires\": 9}",
		 "imported queue q has the policy \"p\", and its expires deletes a queue that has "
		 "no consumer for so long"},
		{"\"type\": \"quorum\"",
		 "imported queue q has the limit of deliveries that the broker gives to quorum "
		 "queues without one; a policy with delivery-limit -1 ends it"},
		{"\"type\": \"classic\", \"arguments\": {\"x-queue-mode\": \"lazy\"}", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); ++i) {
		struct rabbitmq_queues list = {0};
		char page_text[512], text[256] = "";
		uint32_t pages;
		json_t *page;

		snprintf(page_text, sizeof page_text,
			 "{\"page_count\": 1, \"items\": [{\"name\": \"q\", %s}]}", rows[i].queue);
		page = read_json(page_text);
		CHECK_EQ(rabbitmq_facts_queues(page, 4, &list, &pages), 0);
		CHECK_EQ(rabbitmq_danger_of_imported(&list.rows[0], text, sizeof text),
			 rows[i].text != NULL);
		CHECK_STR(text, rows[i].text ? rows[i].text : "");
		rabbitmq_facts_queues_free(&list);
		json_decref(page);
	}
}

static void queues_are_read_and_found(void)
{
	json_t *page = read_json(
		"{\"page_count\": 3, \"items\": ["
		"{\"name\": \"b\", \"type\": \"quorum\", \"messages\": 7, \"message_bytes\": 70, "
		"\"consumers\": 2, \"policy\": \"p\", \"arguments\": {\"x-delivery-limit\": -1}, "
		"\"effective_policy_definition\": {\"message-ttl\": 5}},"
		"{\"name\": \"a\", \"type\": \"quorum\", \"messages\": -7, \"operator_policy\": "
		"\"o\"},"
		"{\"name\": \"c\", \"type\": \"classic\", \"arguments\": {\"x-expires\": 5}},"
		"{\"name\": 7}, {\"name\": \"\"}, 7, null, []]}");
	struct rabbitmq_queues list = {0};
	const struct rabbitmq_queue_row *row;
	uint32_t pages;

	CHECK_EQ(rabbitmq_facts_queues(page, 4, &list, &pages), 0);
	CHECK_EQ(pages, 3);
	CHECK_EQ(list.count, 3);
	rabbitmq_facts_sort(&list);
	CHECK(!rabbitmq_facts_find(&list, "d"));
	row = rabbitmq_facts_find(&list, "b");
	CHECK_EQ(row->messages, 7);
	CHECK_EQ(row->bytes, 70);
	CHECK_EQ(row->consumers, 2);
	CHECK_STR(row->policy, "p");
	CHECK_EQ(row->dangers, 1u << RABBITMQ_DANGER_AT_TTL);
	CHECK(row->quorum && !row->limited);
	row = rabbitmq_facts_find(&list, "a");
	CHECK(row->messages == UINT64_MAX && row->bytes == UINT64_MAX);
	CHECK_STR(row->policy, "o");
	CHECK(row->limited); // 4.0 limits a quorum queue that names no limit
	row = rabbitmq_facts_find(&list, "c");
	CHECK_EQ(row->arguments, 1u << RABBITMQ_DANGER_AT_EXPIRES);
	CHECK(!row->limited);
	rabbitmq_facts_queues_free(&list);
	CHECK_EQ(rabbitmq_facts_queues(page, 3, &list, &pages), 0);
	rabbitmq_facts_sort(&list);
	CHECK(!rabbitmq_facts_find(&list, "a")->limited); // 3.10 does not
	rabbitmq_facts_queues_free(&list);
	json_decref(page);
}

static void exchanges_and_bindings(void)
{
	json_t *page = read_json("{\"items\": [{\"name\": \"\", \"type\": \"direct\"},"
				 "{\"name\": \"amq.topic\", \"type\": \"topic\"},"
				 "{\"name\": \"e\", \"type\": \"fanout\"},"
				 "{\"name\": \"e~1\", \"type\": \"fanout\", \"internal\": true}]}");
	json_t *bound =
		read_json("[{\"source\": \"\", \"destination\": \"q\", \"destination_type\": "
			  "\"queue\"},"
			  "{\"source\": \"e\", \"destination\": \"q\", \"destination_type\": "
			  "\"queue\"},"
			  "{\"source\": \"e\", \"destination\": \"f\", \"destination_type\": "
			  "\"exchange\"}]");
	struct rabbitmq_exchanges exchanges = {0};
	struct rabbitmq_bindings bindings = {0};
	uint32_t pages;

	CHECK_EQ(rabbitmq_facts_exchanges(page, &exchanges, &pages), 0);
	CHECK_EQ(pages, 1);
	CHECK_EQ(exchanges.count, 1);
	CHECK_STR(exchanges.rows[0].name, "e");
	CHECK_STR(exchanges.rows[0].kind, "fanout");
	CHECK_EQ(rabbitmq_facts_bindings(bound, &bindings), 0);
	CHECK_EQ(bindings.count, 1);
	CHECK_STR(bindings.rows[0].exchange, "e");
	CHECK_STR(bindings.rows[0].queue, "q");
	CHECK_EQ(rabbitmq_facts_exchanges(bound, &exchanges, &pages), -EINVAL);
	CHECK_EQ(rabbitmq_facts_bindings(page, &bindings), -EINVAL);
	rabbitmq_facts_exchanges_free(&exchanges);
	rabbitmq_facts_bindings_free(&bindings);
	json_decref(page);
	json_decref(bound);
}

// What costs much memory for a short text is not parsed, and a list has an end.
static void clients_are_read_and_named(void)
{
	json_t *consumers = read_json(
		"[{\"queue\": {\"name\": \"q\"}, \"consumer_tag\": \"t1\", \"channel_details\": "
		"{\"connection_name\": \"b\", \"user\": \"u\"}},"
		"{\"queue\": {\"name\": \"p\"}, \"consumer_tag\": \"t2\", \"channel_details\": "
		"{\"connection_name\": \"b\", \"user\": \"u\"}},"
		"{\"queue\": {\"name\": \"q\"}, \"consumer_tag\": \"t3\", \"channel_details\": "
		"{\"connection_name\": \"a\", \"user\": \"v\"}},"
		"{\"queue\": {\"name\": \"q\"}, \"consumer_tag\": \"t4\", \"channel_details\": []},"
		"{\"queue\": 7}, null, 7]");
	json_t *connections =
		read_json("[{\"name\": \"b\", \"user_provided_name\": \"billing\"}, {\"name\": "
			  "\"b\", \"user_provided_name\": \"twice\"}, {\"name\": \"a\"}, 7]");
	struct rabbitmq_clients list = {0};

	CHECK_EQ(rabbitmq_facts_clients(connections, &list), 0);
	CHECK_EQ(list.count, 0); // none of these says what it has to
	CHECK_EQ(rabbitmq_facts_clients(consumers, &list), 0);
	CHECK_EQ(list.count, 3);
	rabbitmq_facts_clients_named(connections, &list);
	CHECK_STR(list.rows[0].queue, "p");
	CHECK_STR(list.rows[0].tag, "t2");
	CHECK_STR(list.rows[0].name, "billing");
	CHECK_STR(list.rows[1].queue, "q");
	CHECK_STR(list.rows[1].connection, "a");
	CHECK_STR(list.rows[1].user, "v");
	CHECK(!list.rows[1].name);
	CHECK_STR(list.rows[2].connection, "b");
	CHECK_STR(list.rows[2].name, "billing");
	rabbitmq_facts_clients_named(NULL, &list);
	CHECK_EQ(list.count, 3);
	rabbitmq_facts_clients_free(&list);
	CHECK_EQ(rabbitmq_facts_clients(json_object_get(consumers, "x"), &list), -EINVAL);
	json_decref(consumers);
	json_decref(connections);
}

static void hostile_answers_are_bounded(void)
{
	size_t size = 4u << 20;
	char *text = malloc(size), name[300];
	struct rabbitmq_queues list = {0};
	json_t *page;
	uint32_t pages;
	int r = 0;

	memset(text, '[', size);
	CHECK(!rabbitmq_facts_parse(text, size));
	for (size_t i = 0; i < size; i += 2)
		memcpy(text + i, "1,", 2);
	text[0] = '[';
	text[size - 1] = ']';
	CHECK(!rabbitmq_facts_parse(text, size));
	CHECK(!rabbitmq_facts_parse("", 0));
	CHECK(!rabbitmq_facts_parse("{\"a\"", 4));
	memset(name, 'x', sizeof name);
	name[sizeof name - 1] = '\0';
	page = json_pack("{s:I,s:[{s:s}]}", "page_count", (json_int_t)1 << 40, "items", "name",
			 name);
	CHECK_EQ(rabbitmq_facts_queues(page, 3, &list, &pages), 0);
	CHECK_EQ(list.count, 0); // no name that AMQP could carry
	CHECK_EQ(pages, RABBITMQ_FACTS_ROWS / RABBITMQ_FACTS_PAGE);
	json_decref(page);
	page = json_pack("{s:[{s:s}]}", "items", "name", "q");
	for (size_t i = 0; i <= RABBITMQ_FACTS_ROWS && r == 0; ++i)
		r = rabbitmq_facts_queues(page, 3, &list, &pages);
	CHECK_EQ(r, -E2BIG);
	CHECK_EQ(list.count, RABBITMQ_FACTS_ROWS);
	rabbitmq_facts_queues_free(&list);
	json_decref(page);
	free(text);
}

// ---- the class

static void the_class_follows(void)
{
	struct rabbitmq_options options = {.queue = RABBITMQ_QUORUM};
	struct rabbitmq_summary summary = {.known = true, .nodes = 1, .version = "3.10.8"};
	char reason[RABBITMQ_CLASS_REASON];

	CHECK_EQ(rabbitmq_class_of(&options, &summary, reason), DURABILITY_D2);
	summary.nodes = 3;
	CHECK_EQ(rabbitmq_class_of(&options, &summary, reason), DURABILITY_D3);
	CHECK_STR(reason,
		  "quorum queues are kept on 3 of 3 nodes, and most of these have a message "
		  "on disk before it is acknowledged");
	options.replication = 1;
	CHECK_EQ(rabbitmq_class_of(&options, &summary, reason), DURABILITY_D2);
	options.replication = 5;
	CHECK_EQ(rabbitmq_class_of(&options, &summary, reason), DURABILITY_D3);
	strcpy(summary.danger, "the policy drops");
	CHECK_EQ(rabbitmq_class_of(&options, &summary, reason), DURABILITY_D1);
	CHECK_STR(reason, "the policy drops");
	*summary.danger = '\0';
	options.queue = RABBITMQ_CLASSIC;
	CHECK_EQ(rabbitmq_class_of(&options, &summary, reason), DURABILITY_D1);
	options.queue = RABBITMQ_QUORUM;
	summary.known = false;
	strcpy(summary.error, "h:1: connection refused");
	CHECK_EQ(rabbitmq_class_of(&options, &summary, reason), DURABILITY_D1);
	CHECK(strstr(reason, "h:1: connection refused"));
}

UNIT_MAIN(UNIT_CASE(policies_that_drop), UNIT_CASE(arguments_that_drop),
	  UNIT_CASE(policies_that_may_apply), UNIT_CASE(nodes_and_version),
	  UNIT_CASE(imported_queues_that_drop), UNIT_CASE(queues_are_read_and_found),
	  UNIT_CASE(exchanges_and_bindings), UNIT_CASE(clients_are_read_and_named),
	  UNIT_CASE(hostile_answers_are_bounded), UNIT_CASE(the_class_follows))
