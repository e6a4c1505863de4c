// Gathers the incidents of queues (ask/presence.c) and exchanges (watch.c). They are kept in
// memory: after a restart a queue that is missing is found again, without the time when it was
// there last.

#include "adapters/rabbitmq/admin/incidents.h"

#include "adapters/rabbitmq/admin/watch.h"
#include "adapters/rabbitmq/ask/presence.h"

#include <stdio.h>

static void incidents_gather(struct adapter *adapter, struct rabbitmq_incidents *ret)
{
	*ret = (struct rabbitmq_incidents){0};
	rabbitmq_presence_list(adapter, ret);
	rabbitmq_watch_list(adapter, ret);
}

static struct damaged_part part_of(const struct adapter *adapter,
				   const struct rabbitmq_incident *incident)
{
	return (struct damaged_part){
		.store = adapter->options.queue == RABBITMQ_QUORUM ? DURABILITY_D2 : DURABILITY_D1,
		.kind = incident->group ? "group" : "topic",
		.topic = incident->topic,
		.group = incident->group,
		.since_ms = incident->since_ms,
		.found_ms = incident->until_ms,
		.problem = incident->text};
}

void rabbitmq_incidents_tell(struct adapter *adapter, adapter_answer_fn done, void *ctx)
{
	struct adapter_answer answer = {.kind = ANSWER_DAMAGE};
	struct rabbitmq_incidents incidents;
	struct damaged_part *parts;

	incidents_gather(adapter, &incidents);
	parts = calloc(incidents.count + 1, sizeof *parts);
	for (size_t i = 0; parts && i < incidents.count; ++i)
		parts[i] = part_of(adapter, &incidents.rows[i]);
	answer.damage = (struct answer_damage){parts, incidents.count};
	done(ctx, parts ? CODE_OK : CODE_OVERLOADED, parts ? &answer : NULL, NULL);
	free(parts);
	rabbitmq_incidents_free(&incidents);
}

void rabbitmq_incidents_describe(struct adapter *adapter, char *room, size_t size)
{
	struct rabbitmq_incidents incidents;

	incidents_gather(adapter, &incidents);
	if (incidents.count > 1)
		snprintf(room, size,
			 "%zu incidents of queues and exchanges of ours: the damage list names "
			 "them",
			 incidents.count);
	else
		snprintf(room, size, "%s", incidents.count ? incidents.rows[0].text : "");
	rabbitmq_incidents_free(&incidents);
}
