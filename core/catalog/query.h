// Live queries: the portal asks the proxies, which alone touch clusters and connections.
//
// In process when standalone; later over the native protocol. Parameters and answers are JSON
// so that both carry the same. The rows are the whole vocabulary; docs/architecture.md shows how to
// add one.
#pragma once

#include "core/base/code.h"

#include <jansson.h>
#include <stdint.h>

//     name, parameters, answer
#define QUERY_TABLE(ROW)                                                                           \
	ROW(TOTALS, "",                                                                            \
	    "{proxy, uptime_ms, connections, tenants:[{id, "                                       \
	    "connections, produce:{messages,bytes,ok,rejected,unknown,dropped,throttled}, "        \
	    "consume:{messages,bytes,acked,nacked,rejected,released,timeouts,lost,dead}, "         \
	    "storage:{stored_bytes, counted, estimated, reserve_bytes, reserve_used_bytes}, "      \
	    "topics:[{id, ...}], "                                                                 \
	    "groups:[{id, storage_waits?:dead_letter|retry, ...}]}], "                             \
	    "latency:{send|deliver|settle:{counts:[…], sum_us}}}: counters "                       \
	    "since the start of the proxy; buckets as in core/base/latency_bounds.h")              \
	ROW(CLIENTS, "{tenant?}",                                                                  \
	    "{clients:[{session, tenant, access_key, address, tls, sdk, sdk_version, client_id, "  \
	    "connected_ms, topics:[…], groups:[…], in_flight}]}")                                  \
	ROW(KICK, "{session} or {access_key} or {tenant}", "{kicked}")                             \
	ROW(BACKLOG, "{group}",                                                                    \
	    "{partitions:[{partition, first, end, committed, ready, in_flight, retrying, "         \
	    "delayed, acked, dead, expired, skipped, replayed, window_full}], dead, "              \
	    "dead_letter_refused: code or null, at_most, "                                         \
	    "at_most_reason: imported|native|holes|backend or null}")                              \
	ROW(PROBE, "{cluster}",                                                                    \
	    "{reachable, version, nodes, durability, durability_reason, capabilities:{…}, "        \
	    "latency_us}")                                                                         \
	ROW(CLUSTER_STATE, "{cluster}",                                                            \
	    "{state: connecting|ready|degraded|down, circuit: closed|half_open|open, latency_us, " \
	    "error}: as its adapter sees it now")                                                  \
	ROW(CLUSTER_STATES, "",                                                                    \
	    "{clusters:[{id, state, circuit, latency_us, error, store?:{used_bytes, left_bytes}, " \
	    "probe?:{state, last_ms, last_ok_ms, send_us, receive_us, settle_us, error}, "         \
	    "probe_counts?:{results:{setup|send|receive|settle|ok}, "                              \
	    "delays:{send|receive|settle:{counts:[…], sum_us}}}}]}; store: of those on a disk "    \
	    "of ours; probe: of those that are probed")                                            \
	ROW(CLUSTER_EXISTING, "{cluster}",                                                         \
	    "{topics:[{name, partitions, replication, min_insync?, settings?}], groups:[{name, "   \
	    "state, members, "                                                                     \
	    "topics:[…]}]}: without the backend's internal ones; settings as TOPIC_SETTINGS; "     \
	    "topics of a group: those with a committed offset")                                    \
	ROW(TOPIC_CREATE, "{topic}", "{}")                                                         \
	ROW(TOPIC_CHANGE,                                                                          \
	    "{topic, partitions?, revision?}: raises them, if it has fewer, and retention and "    \
	    "largest message as they were at least then",                                          \
	    "{}")                                                                                  \
	ROW(TOPIC_DELETE, "{topic}", "{}")                                                         \
	ROW(TOPIC_DESCRIBE, "{topic}",                                                             \
	    "{partitions:[{partition, first, end, messages, bytes, oldest_ms}]}")                  \
	ROW(TOPIC_SETTINGS, "{topic}",                                                             \
	    "{message_bytes, retention_ms, retention_bytes, compacted, oldest_ms, min_insync} of " \
	    "an imported topic, as its cluster has them; null: no limit")                          \
	ROW(GROUP_CREATE, "{group}", "{}")                                                         \
	ROW(GROUP_DELETE, "{group}", "{}")                                                         \
	ROW(GROUP_RESET,                                                                           \
	    "{group, to:{earliest|latest|time_ms|positions:[{partition,offset}]}, preview}",       \
	    "{partitions:[{partition, from, to, skipped, replayed}]}")                             \
	ROW(GROUP_PURGE, "{group, preview}", "{messages}")                                         \
	ROW(TOPIC_PURGE, "{topic, preview}", "{messages, bytes}")                                  \
	ROW(DAMAGE, "{cluster}",                                                                   \
	    "{damage:[{class, kind, topic, group, partition, first, end, found_ms, problem}]}")    \
	ROW(TOPIC_SKIP, "{topic, preview}",                                                        \
	    "{partitions:[{partition, first, end}]}: offsets that are passed over from then on")   \
	ROW(MESSAGES, "{topic, partition, offset|time_ms, limit, bodies}", "{messages:[…], next}")

#define QUERY_ENUM(name, parameters, answer) QUERY_##name,
enum query_kind { QUERY_TABLE(QUERY_ENUM) QUERY_COUNT };
#undef QUERY_ENUM

// `answer` belongs to the callee; NULL unless code is OK or the code comes with details. `text` is
// for an operator, may be NULL, and lives until return. Called once, on any thread.
typedef void (*query_done_fn)(void *ctx, enum code code, json_t *answer, const char *text);

struct query_channel {
	// Takes over `parameters`. @thread any; does not block; always ends in one call of done, at
	// the deadline with TIMEOUT at the latest.
	void (*query)(struct query_channel *channel, enum query_kind kind, json_t *parameters,
		      uint64_t deadline_ns, query_done_fn done, void *done_ctx);
};
