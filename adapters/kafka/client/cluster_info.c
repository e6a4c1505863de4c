// What is known of a cluster as a whole: nodes, defaults, version, and the class of durability that
// follows.
//
// Kafka acknowledges a message when the in-sync replicas have it in memory, not on disk. So one
// copy survives no more than the death of the broker's process (D1); with two or more that must
// have it (min.insync.replicas), one machine may lose its power (D2) or be lost altogether (D3).
//
// What it does not do: ask by itself; the watcher and administrative requests do.

#include "adapters/kafka/client/cluster_info.h"

#include "adapters/kafka/client/admin_client.h"
#include "adapters/kafka/client/admin_handle.h"
#include "core/base/clock.h"

#include <errno.h>
#include <stdio.h>

enum durability cluster_info_copies_durability(uint32_t replication, uint32_t min_insync)
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

void cluster_info_note_version(char version[48], const char *name, const char *value)
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
	struct cluster_info *info = ctx;

	if (strcmp(name, "default.replication.factor") == 0)
		info->replication = (uint32_t)strtoul(value, NULL, 10);
	else if (strcmp(name, "min.insync.replicas") == 0)
		info->min_insync = (uint32_t)strtoul(value, NULL, 10);
	else
		cluster_info_note_version(info->version, name, value);
}

static void capabilities_set(struct adapter *adapter, const struct cluster_info *info)
{
	char reason[CLUSTER_INFO_REASON];
	enum durability durability = cluster_info_durability(info, &adapter->options, reason);
	uint32_t capabilities = CAP_HISTORY | CAP_QUERY_TIME | CAP_OFFSETS | CAP_EXACT_BACKLOG |
				CAP_DELAY | CAP_KEEPS_WITHOUT_GROUP | CAP_ATTEMPTS_SURVIVE |
				CAP_CONSUME | CAP_D1 | CAP_COPIES | CAP_POSITIONS |
				CAP_SETTLES_SURVIVE;

	if (durability >= DURABILITY_D2)
		capabilities |= CAP_D2;
	if (durability >= DURABILITY_D3)
		capabilities |= CAP_D3;
	__atomic_store_n(&adapter->capabilities, capabilities, __ATOMIC_RELEASE);
}

static void info_set(struct adapter *adapter, const struct cluster_info *info)
{
	pthread_mutex_lock(&adapter->info_lock);
	*adapter->info = *info;
	pthread_mutex_unlock(&adapter->info_lock);
	capabilities_set(adapter, info);
}

int cluster_info_start(struct adapter *adapter)
{
	adapter->info = calloc(1, sizeof *adapter->info);
	if (!adapter->info)
		return -ENOMEM;
	pthread_mutex_init(&adapter->info_lock, NULL);
	capabilities_set(adapter, adapter->info);
	return 0;
}

void cluster_info_stop(struct adapter *adapter)
{
	if (!adapter->info)
		return;
	pthread_mutex_destroy(&adapter->info_lock);
	free(adapter->info);
}

rd_kafka_resp_err_t cluster_info_refresh(struct adapter *adapter, int timeout_ms)
{
	_cleanup_(admin_handle_leave) struct admin_handle_entered entered =
		admin_handle_enter(adapter);
	const struct rd_kafka_metadata *metadata;
	struct cluster_info info = cluster_info_get(adapter), asked;
	uint64_t began_ns = clock_now_ns();
	rd_kafka_resp_err_t error =
		rd_kafka_metadata(entered.handle, 0, NULL, &metadata, timeout_ms);
	char number[16];
	const char *name = number;

	if (error)
		return error;
	last_error_clear(&adapter->last_error);
	info.known = true;
	info.latency_us = (clock_now_ns() - began_ns) / 1000;
	info.nodes = (uint32_t)metadata->broker_cnt;
	snprintf(number, sizeof number, "%d", metadata->orig_broker_id);
	rd_kafka_metadata_destroy(metadata);
	asked = info;
	*asked.version = '\0';
	if (!admin_client_describe_configs(adapter, -1, RD_KAFKA_RESOURCE_BROKER, &name, 1,
					   default_note, &asked)) {
		info = asked;
		info.configured = true;
	}
	info_set(adapter, &info);
	return RD_KAFKA_RESP_ERR_NO_ERROR;
}

struct cluster_info cluster_info_get(struct adapter *adapter)
{
	struct cluster_info info;

	pthread_mutex_lock(&adapter->info_lock);
	info = *adapter->info;
	pthread_mutex_unlock(&adapter->info_lock);
	return info;
}

// ---- what follows

enum durability cluster_info_durability(const struct cluster_info *info,
					const struct kafka_options *options, char *ret_reason)
{
	uint32_t replication = options->replication ? options->replication : info->replication,
		 min_insync = options->min_insync ? options->min_insync : info->min_insync;
	enum durability durability =
		info->known && info->nodes < 2
			? DURABILITY_D1
			: cluster_info_copies_durability(replication, min_insync);
	char copies[16] = "?", needed[16] = "?";

	if (replication)
		snprintf(copies, sizeof copies, "%u", replication);
	if (min_insync)
		snprintf(needed, sizeof needed, "%u", min_insync);
	if (durability == DURABILITY_D3)
		snprintf(ret_reason, CLUSTER_INFO_REASON,
			 "topics are kept on %s brokers, and %s of them have a message before it "
			 "is acknowledged; topics of class D1 and D2 are promised less",
			 copies, needed);
	else if (info->known && info->nodes < 2)
		snprintf(ret_reason, CLUSTER_INFO_REASON,
			 "there is one broker, and it acknowledges before its disk has a message");
	else
		snprintf(ret_reason, CLUSTER_INFO_REASON,
			 "one broker may acknowledge alone, before its disk has a message: topics "
			 "are kept on %s brokers, and %s must have it; options.replication and "
			 "options.min_insync of 2 or more give class D3%s",
			 copies, needed,
			 info->known && !info->configured
				 ? " (the user may not read the brokers' settings)"
				 : "");
	return durability;
}

uint32_t cluster_info_capabilities(struct adapter *adapter)
{
	return __atomic_load_n(&adapter->capabilities, __ATOMIC_ACQUIRE);
}
