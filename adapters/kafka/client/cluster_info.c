// Nodes, defaults and version of a cluster.
//
// Kafka acknowledges a message when the replicas in step have it in memory, not on disk. So one
// copy survives the death of nothing but the broker's process (D1); with two or more that must have
// it (min.insync.replicas), one machine may lose its power (D2) or be lost altogether (D3).

#include "adapters/kafka/client/cluster_info.h"

#include "adapters/kafka/client/admin_client.h"
#include "adapters/kafka/client/admin_handle.h"
#include "core/base/clock.h"

#include <errno.h>
#include <stdio.h>

enum durability kafka_durability(uint32_t replication, uint32_t min_insync)
{
	return replication >= 2 && min_insync >= 2 ? DURABILITY_D3 : DURABILITY_D1;
}

// ---- the version

// Settings by which later versions can be told apart, the newest last: what a later row says
// holds.
static const struct {
	const char *name, *version;
} traits[] = {
	{"share.coordinator.threads", "4.0 or later"},
	{"group.streams.session.timeout.ms", "4.1 or later"},
};

static int trait_rank(const char *version)
{
	for (int i = (int)ARRAY_SIZE(traits) - 1; i >= 0; --i)
		if (strcmp(traits[i].version, version) == 0)
			return i;
	return -1;
}

void kafka_version_note(char version[48], const char *name, const char *value)
{
	// "3.9-IV0": until 3.9 it says it itself, as far as the operator has raised it.
	if (strcmp(name, "inter.broker.protocol.version") == 0) {
		snprintf(version, 48, "%.*s", (int)strcspn(value, "-"), value);
		return;
	}
	for (int i = 0; i < (int)ARRAY_SIZE(traits); ++i)
		if (strcmp(traits[i].name, name) == 0 &&
		    (!*version || (trait_rank(version) >= 0 && trait_rank(version) < i)))
			snprintf(version, 48, "%s", traits[i].version);
}

// ---- asking

static void default_note(void *ctx, const char *resource, const char *name, const char *value)
{
	struct kafka_facts *facts = ctx;

	if (strcmp(name, "default.replication.factor") == 0)
		facts->replication = (uint32_t)strtoul(value, NULL, 10);
	else if (strcmp(name, "min.insync.replicas") == 0)
		facts->min_insync = (uint32_t)strtoul(value, NULL, 10);
	else
		kafka_version_note(facts->version, name, value);
}

static void capabilities_set(struct adapter *adapter, const struct kafka_facts *facts)
{
	char reason[KAFKA_REASON];
	enum durability durability = kafka_facts_durability(facts, &adapter->options, reason);
	uint32_t capabilities = CAP_HISTORY | CAP_QUERY_TIME | CAP_OFFSETS | CAP_EXACT_BACKLOG |
				CAP_DELAY | CAP_KEEPS_WITHOUT_GROUP | CAP_ATTEMPTS_SURVIVE |
				CAP_CONSUME | CAP_D1 | CAP_COPIES;

	if (durability >= DURABILITY_D2)
		capabilities |= CAP_D2;
	if (durability >= DURABILITY_D3)
		capabilities |= CAP_D3;
	__atomic_store_n(&adapter->capabilities, capabilities, __ATOMIC_RELEASE);
}

static void facts_set(struct adapter *adapter, const struct kafka_facts *facts)
{
	pthread_mutex_lock(&adapter->facts_lock);
	*adapter->facts = *facts;
	pthread_mutex_unlock(&adapter->facts_lock);
	capabilities_set(adapter, facts);
}

int kafka_facts_start(struct adapter *adapter)
{
	adapter->facts = calloc(1, sizeof *adapter->facts);
	if (!adapter->facts)
		return -ENOMEM;
	pthread_mutex_init(&adapter->facts_lock, NULL);
	capabilities_set(adapter, adapter->facts);
	return 0;
}

void kafka_facts_stop(struct adapter *adapter)
{
	if (!adapter->facts)
		return;
	pthread_mutex_destroy(&adapter->facts_lock);
	free(adapter->facts);
}

rd_kafka_resp_err_t kafka_facts_ask(struct adapter *adapter, int timeout_ms)
{
	_cleanup_(kafka_handle_leave) struct kafka_handle entered = kafka_handle_enter(adapter);
	const struct rd_kafka_metadata *metadata;
	struct kafka_facts facts = kafka_facts_get(adapter), asked;
	uint64_t began_ns = clock_now_ns();
	rd_kafka_resp_err_t error =
		rd_kafka_metadata(entered.handle, 0, NULL, &metadata, timeout_ms);
	char number[16];
	const char *name = number;

	if (error)
		return error;
	kafka_trouble_over(&adapter->trouble);
	facts.known = true;
	facts.latency_us = (clock_now_ns() - began_ns) / 1000;
	facts.nodes = (uint32_t)metadata->broker_cnt;
	snprintf(number, sizeof number, "%d", metadata->orig_broker_id);
	rd_kafka_metadata_destroy(metadata);
	asked = facts;
	*asked.version = '\0';
	if (!kafka_configs_ask(adapter, -1, RD_KAFKA_RESOURCE_BROKER, &name, 1, default_note,
			       &asked)) {
		facts = asked;
		facts.configured = true;
	}
	facts_set(adapter, &facts);
	return RD_KAFKA_RESP_ERR_NO_ERROR;
}

struct kafka_facts kafka_facts_get(struct adapter *adapter)
{
	struct kafka_facts facts;

	pthread_mutex_lock(&adapter->facts_lock);
	facts = *adapter->facts;
	pthread_mutex_unlock(&adapter->facts_lock);
	return facts;
}

// ---- what follows

enum durability kafka_facts_durability(const struct kafka_facts *facts,
				       const struct kafka_options *options, char *ret_reason)
{
	uint32_t replication = options->replication ? options->replication : facts->replication,
		 min_insync = options->min_insync ? options->min_insync : facts->min_insync;
	enum durability durability = facts->known && facts->nodes < 2
					     ? DURABILITY_D1
					     : kafka_durability(replication, min_insync);
	char copies[16] = "?", needed[16] = "?";

	if (replication)
		snprintf(copies, sizeof copies, "%u", replication);
	if (min_insync)
		snprintf(needed, sizeof needed, "%u", min_insync);
	if (durability == DURABILITY_D3)
		snprintf(ret_reason, KAFKA_REASON,
			 "topics are kept on %s brokers, and %s of them have a message before it "
			 "is acknowledged; topics of class D1 and D2 are promised less",
			 copies, needed);
	else if (facts->known && facts->nodes < 2)
		snprintf(ret_reason, KAFKA_REASON,
			 "there is one broker, and it acknowledges before its disk has a message");
	else
		snprintf(ret_reason, KAFKA_REASON,
			 "one broker may acknowledge alone, before its disk has a message: topics "
			 "are kept on %s brokers, and %s must have it; options.replication and "
			 "options.min_insync of 2 or more give class D3%s",
			 copies, needed,
			 facts->known && !facts->configured
				 ? " (the user may not read the brokers' settings)"
				 : "");
	return durability;
}

uint32_t kafka_capabilities(struct adapter *adapter)
{
	return __atomic_load_n(&adapter->capabilities, __ATOMIC_ACQUIRE);
}
