// Answers of RabbitMQ's management API: any bytes are read as each of them, or refused.

#include "adapters/rabbitmq/manage/danger.h"
#include "adapters/rabbitmq/manage/facts.h"
#include "core/base/util.h"
#include "tests/fuzz/fuzz.h"

static void lists_read(const json_t *root, unsigned major)
{
	struct rabbitmq_queues queues = {0};
	struct rabbitmq_exchanges exchanges = {0};
	struct rabbitmq_bindings bindings = {0};
	uint32_t pages = 0;

	for (int i = 0; i < 2; ++i) { // a page beside another
		if (rabbitmq_facts_queues(root, major, &queues, &pages) == 0)
			assert(pages <= RABBITMQ_FACTS_ROWS / RABBITMQ_FACTS_PAGE);
		rabbitmq_facts_exchanges(root, &exchanges, &pages);
		rabbitmq_facts_bindings(root, &bindings);
	}
	rabbitmq_facts_sort(&queues);
	for (size_t i = 0; i < queues.count; ++i)
		assert(rabbitmq_facts_find(&queues, queues.rows[i].name));
	rabbitmq_facts_queues_free(&queues);
	rabbitmq_facts_exchanges_free(&exchanges);
	rabbitmq_facts_bindings_free(&bindings);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *root = rabbitmq_facts_parse((const char *)data, size);
	struct rabbitmq_nodes nodes;
	uint32_t dangers = 0;
	char version[32], name[64];

	if (!root)
		return 0;
	rabbitmq_facts_version(root, version, sizeof version);
	if (rabbitmq_facts_nodes(root, &nodes))
		assert(nodes.running <= nodes.count);
	if (rabbitmq_danger_in_policies(root, true, rabbitmq_facts_major(version), name, &dangers))
		assert(rabbitmq_danger_key(dangers) && rabbitmq_danger_does(dangers));
	lists_read(root, rabbitmq_facts_major(version));
	json_decref(root);
	return 0;
}
