// The statistics of a client, one number or all as a JSON text.
//
// Counters are atomic and any thread may read them, so numbers of one text may be a moment apart.
// The list of members is read under the client's lock. Not here: counting.

#include "core/base/util.h"
#include "sdk/c/src/client.h"
#include "sdk/c/src/json.h"

static const char *const stat_names[CLIENT_STATS] = {
	[MQP_STAT_SENT] = "sent",
	[MQP_STAT_ACKNOWLEDGED] = "acknowledged",
	[MQP_STAT_REJECTED] = "rejected",
	[MQP_STAT_UNKNOWN] = "unknown",
	[MQP_STAT_ONEWAY_WRITTEN] = "oneway_written",
	[MQP_STAT_ONEWAY_DROPPED] = "oneway_dropped",
	[MQP_STAT_RETRIES] = "retries",
	[MQP_STAT_BATCHES] = "batches",
	[MQP_STAT_QUEUED_BYTES] = "queued_bytes",
	[MQP_STAT_DELIVERED] = "delivered",
	[MQP_STAT_REDELIVERED] = "redelivered",
	[MQP_STAT_ACKED] = "acked",
	[MQP_STAT_NACKED] = "nacked",
	[MQP_STAT_REJECTS] = "rejects",
	[MQP_STAT_EXTENDED] = "extended",
	[MQP_STAT_RELEASED] = "released",
	[MQP_STAT_STALE] = "stale",
	[MQP_STAT_IN_HAND] = "in_hand",
	[MQP_STAT_CONNECTS] = "connects",
	[MQP_STAT_CONNECT_FAILURES] = "connect_failures",
	[MQP_STAT_GOAWAYS] = "goaways",
	[MQP_STAT_THROTTLES] = "throttles",
	[MQP_STAT_BYTES_OUT] = "bytes_out",
	[MQP_STAT_BYTES_IN] = "bytes_in",
	[MQP_STAT_CONNECTED] = "connected",
};

uint64_t mqp_client_stat(const struct mqp_client *client, enum mqp_stat stat)
{
	if (!client || (unsigned)stat >= CLIENT_STATS)
		return 0;
	return atomic_load_explicit(&client->stats[stat], memory_order_relaxed);
}

// Under client->lock, so that no member goes meanwhile.
static void members_print(struct mqp_client *client, const char *kind, struct json *json)
{
	json_open_list(json, kind);
	LIST_FOREACH(node, next, &client->members)
	{
		struct member *member = LIST_ENTRY(node, struct member, node);

		if (strcmp(member->ops->kind, kind) == 0)
			member->ops->print(member, json);
	}
	json_close_list(json);
}

enum mqp_code mqp_client_stats_json(struct mqp_client *client, char **ret_json)
{
	struct json json = {0};
	char *text;

	if (!client || !ret_json)
		return MQP_INVALID_ARGUMENT;
	json_open(&json, NULL);
	json_text(&json, "version", mqp_version());
	pthread_mutex_lock(&client->lock);
	json_text(&json, "status", mqp_code_name(client->status));
	json_text(&json, "address", client->peer);
	for (unsigned i = 0; i < CLIENT_STATS; ++i)
		json_number(&json, stat_names[i], mqp_client_stat(client, (enum mqp_stat)i));
	members_print(client, "producers", &json);
	members_print(client, "consumers", &json);
	pthread_mutex_unlock(&client->lock);
	json_close(&json);
	text = json_take(&json);
	if (!text)
		return MQP_NO_MEMORY;
	*ret_json = text;
	return MQP_OK;
}
