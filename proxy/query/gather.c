// Answers TOTALS, CLIENTS and KICK, of which every worker knows a part: the query goes from worker
// to worker and gathers the parts.
//
// Counters are plain numbers of one worker and are read on its own thread. While the answer is
// gathered its rows are found by id in query->index.

#include "proxy/query/gather.h"
#include "proxy/client/clients.h"
#include "proxy/client/conn.h"
#include "proxy/group/group.h"
#include "proxy/group/member.h"

#include "proxy/resource/shared.h"

#include "core/base/clock.h"

#include <inttypes.h>
#include <stdio.h>

struct counter {
	const char *name;
	size_t offset;
};

#define PRODUCE_COUNTER(member) {#member, offsetof(struct produce_counters, member)}
#define CONSUME_COUNTER(member) {#member, offsetof(struct consume_counters, member)}

static const struct counter produce_rows[] = {
	PRODUCE_COUNTER(messages), PRODUCE_COUNTER(bytes),        PRODUCE_COUNTER(ok),
	PRODUCE_COUNTER(rejected), PRODUCE_COUNTER(throttled),    PRODUCE_COUNTER(unknown),
	PRODUCE_COUNTER(dropped),  PRODUCE_COUNTER(stored_bytes),
};
static const struct counter consume_rows[] = {
	CONSUME_COUNTER(messages), CONSUME_COUNTER(bytes),    CONSUME_COUNTER(redelivered),
	CONSUME_COUNTER(acked),    CONSUME_COUNTER(nacked),   CONSUME_COUNTER(rejected),
	CONSUME_COUNTER(released), CONSUME_COUNTER(timeouts), CONSUME_COUNTER(lost),
	CONSUME_COUNTER(dead),
};

// ---- gathering

static json_t *get_child(json_t *parent, const char *name)
{
	json_t *row = json_object_get(parent, name);

	if (row)
		return row;
	row = json_object();
	json_object_set_new(parent, name, row);
	return json_object_get(parent, name);
}

static json_t *row_of(json_t *parent, uint64_t id)
{
	char name[24];

	snprintf(name, sizeof name, "%" PRIu64, id);
	return get_child(parent, name);
}

static void add_number(json_t *row, const char *name, uint64_t value)
{
	json_int_t sum = json_integer_value(json_object_get(row, name)) + (json_int_t)value;

	json_object_set_new(row, name, json_integer(sum));
}

static void add_counters(json_t *row, const struct counter *counters, size_t count,
			 const void *values)
{
	for (size_t i = 0; i < count; ++i)
		add_number(row, counters[i].name,
			   *(const uint64_t *)(const void *)((const char *)values +
							     counters[i].offset));
}

// ---- TOTALS

static void add_tenants(json_t *index, const struct worker *worker)
{
	size_t cursor = 0;
	struct map_node *next = NULL, *node;

	while ((node = map_next(&worker->tenants, &cursor, &next))) {
		struct tenant_view *tenant = CONTAINER_OF(node, struct tenant_view, node);
		json_t *row = row_of(index, node->key);

		add_number(row, "connections", tenant->conn_count);
		add_counters(get_child(row, "produce"), produce_rows, ARRAY_SIZE(produce_rows),
			     &tenant->produced);
		add_counters(get_child(row, "consume"), consume_rows, ARRAY_SIZE(consume_rows),
			     &tenant->consumed);
		get_child(row, "topics");
		get_child(row, "groups");
	}
}

static void add_stored(json_t *index, const struct storage_tenant *tenant)
{
	struct storage_use use;
	json_t *row;

	storage_use_read(tenant, &use);
	if (!use.stored && use.limit == MODEL_UNLIMITED)
		return;
	row = row_of(index, tenant->id);
	get_child(row, "topics");
	get_child(row, "groups");
	json_object_set_new(row, "storage",
			    json_pack("{s:I, s:b, s:b, s:I, s:I}", "stored_bytes",
				      (json_int_t)use.stored, "counted", use.counted, "estimated",
				      use.estimated, "reserve_bytes", (json_int_t)use.reserve,
				      "reserve_used_bytes", (json_int_t)use.reserve_used));
}

// What each tenant has stored, also those that no worker has served yet.
static void add_storage(json_t *index, const struct shared *shared)
{
	for (size_t i = 0; i < STORAGE_BUCKETS; ++i)
		for (const struct storage_tenant *tenant = storage_first(&shared->storage, i);
		     tenant; tenant = tenant->next)
			add_stored(index, tenant);
}

static void add_topics(json_t *index, const struct worker *worker)
{
	size_t cursor = 0;
	struct map_node *next = NULL, *node;

	while ((node = map_next(&worker->topic_stats, &cursor, &next))) {
		struct topic_stats *stats = CONTAINER_OF(node, struct topic_stats, node);
		json_t *topics = get_child(row_of(index, stats->tenant), "topics");

		add_counters(row_of(topics, node->key), produce_rows, ARRAY_SIZE(produce_rows),
			     &stats->produced);
	}
}

static void add_groups(json_t *index, const struct worker *worker)
{
	size_t cursor = 0;
	struct map_node *next = NULL, *node;

	while ((node = map_next(&worker->groups, &cursor, &next))) {
		struct group_home *home = CONTAINER_OF(node, struct group_home, node);
		struct consume_counters consumed = group_consumed(home);
		json_t *tenant = row_of(index, home->model->tenant);

		add_counters(row_of(get_child(tenant, "groups"), node->key), consume_rows,
			     ARRAY_SIZE(consume_rows), &consumed);
		if (group_storage_waits(home))
			json_object_set_new(row_of(get_child(tenant, "groups"), node->key),
					    "storage_waits",
					    json_string(group_storage_waits(home)));
		add_counters(get_child(tenant, "consume"), consume_rows, ARRAY_SIZE(consume_rows),
			     &consumed);
	}
}

static void totals_step(struct query *query, const struct worker *worker)
{
	add_tenants(query->index, worker);
	add_topics(query->index, worker);
	add_groups(query->index, worker);
	latency_collect(query->answer, worker->latencies);
	add_number(query->answer, "connections", worker->clients->sessions.count);
}

// {"7": {…}} to [{"id": 7, …}]
static json_t *rows_of(json_t *object)
{
	json_t *rows = json_array(), *row;
	const char *name;

	json_object_foreach(object, name, row)
	{
		json_object_set_new(row, "id", json_integer(strtoll(name, NULL, 10)));
		json_array_append(rows, row);
	}
	return rows;
}

static void totals_end(struct query *query)
{
	const struct queries *queries = query->queries;
	const char *name;
	json_t *tenant;

	add_storage(query->index, queries->shared);
	json_object_foreach(query->index, name, tenant)
	{
		json_object_set_new(tenant, "topics", rows_of(json_object_get(tenant, "topics")));
		json_object_set_new(tenant, "groups", rows_of(json_object_get(tenant, "groups")));
	}
	json_object_set_new(query->answer, "tenants", rows_of(query->index));
	json_object_set_new(query->answer, "proxy", json_string(queries->proxy_id));
	json_object_set_new(
		query->answer, "uptime_ms",
		json_integer((json_int_t)((clock_now_ns() - queries->started_ns) / MS_NS)));
}

// ---- CLIENTS

struct use_lists {
	json_t *topics, *groups;
};

static void add_use(void *ctx, bool consumes, const char *name)
{
	const struct use_lists *lists = ctx;

	json_array_append_new(consumes ? lists->groups : lists->topics, json_string(name));
}

static json_t *client_json(const struct conn *conn)
{
	const char *name = conn->session.client, *version = name + strlen(name) + 1;
	const char *id = version + strlen(version) + 1;
	struct use_lists lists = {json_array(), json_array()};

	conn->ops->each_use(conn, add_use, &lists);
	return json_pack("{s:I, s:I, s:s, s:s, s:b, s:s, s:s, s:s, s:I, s:o, s:o, s:i}", "session",
			 (json_int_t)conn->node.key, "tenant",
			 (json_int_t)conn->session.tenant->node.key, "access_key",
			 conn->session.key->key_id, "address", conn->peer, "tls", conn->tls, "sdk",
			 name, "sdk_version", version, "client_id", id, "connected_ms",
			 (json_int_t)conn->connected_ms, "topics", lists.topics, "groups",
			 lists.groups, "in_flight", 0);
}

static void clients_step(struct query *query, const struct worker *worker)
{
	uint64_t tenant;
	bool one = query_number(query, "tenant", &tenant);
	char name[24];

	LIST_FOREACH(pos, next, &worker->clients->conns)
	{
		const struct conn *conn = LIST_ENTRY(pos, struct conn, all);

		if (conn->state < CONN_READY || (one && conn->session.tenant->node.key != tenant))
			continue;
		snprintf(name, sizeof name, "%" PRIu64, conn->node.key);
		json_object_set_new(query->index, name, client_json(conn));
	}
}

static void add_in_flight(void *ctx, uint64_t session, uint32_t in_flight)
{
	struct query *query = ctx;
	char name[24];
	json_t *row;

	snprintf(name, sizeof name, "%" PRIu64, session);
	row = json_object_get(query->index, name);
	if (row)
		add_number(row, "in_flight", in_flight);
}

static void clients_end(struct query *query)
{
	json_t *rows = json_array(), *row;
	const char *name;

	json_object_foreach(query->index, name, row) json_array_append(rows, row);
	json_object_set_new(query->answer, "clients", rows);
}

// ---- KICK

static bool is_kicked(const struct query *query, const struct conn *conn)
{
	const json_t *key = json_object_get(query->parameters, "access_key");
	uint64_t number;

	if (query_number(query, "session", &number))
		return conn->node.key == number;
	if (conn->state < CONN_READY)
		return false;
	if (json_is_string(key))
		return strcmp(conn->session.key->key_id, json_string_value(key)) == 0;
	if (query_number(query, "access_key", &number))
		return conn->session.key->object.id == number;
	return query_number(query, "tenant", &number) && conn->session.tenant->node.key == number;
}

static void kick_step(struct query *query, struct worker *worker)
{
	uint64_t kicked = 0;

	LIST_FOREACH(pos, next, &worker->clients->conns)
	{
		struct conn *conn = LIST_ENTRY(pos, struct conn, all);

		if (!is_kicked(query, conn))
			continue;
		conn_close(conn, CODE_KICKED, "an operator closed the connection");
		++kicked;
	}
	add_number(query->answer, "kicked", kicked);
}

// ---- rounds

unsigned gather_rounds(enum query_kind kind)
{
	return kind == QUERY_CLIENTS ? 2 : 1; // clients first, then what groups know of them
}

enum code gather_step(struct query *query, struct worker *worker, unsigned round)
{
	if (!query->answer)
		query->answer = json_object();
	if (!query->index)
		query->index = json_object();
	if (!query->answer || !query->index)
		return CODE_OVERLOADED;
	if (query->kind == QUERY_TOTALS)
		totals_step(query, worker);
	else if (query->kind == QUERY_KICK)
		kick_step(query, worker);
	else if (round == 0)
		clients_step(query, worker);
	else
		members_each(worker, add_in_flight, query);
	return CODE_OK;
}

void gather_end(struct query *query)
{
	if (query->kind == QUERY_TOTALS)
		totals_end(query);
	else if (query->kind == QUERY_CLIENTS)
		clients_end(query);
	json_decref(query->index); // the answer shares its rows and goes to another thread
	query->index = NULL;
}
