// Limits live in the ledger that all workers share; the rest of a view belongs to its worker alone.

#include "proxy/resource/tenant.h"

#include "proxy/client/conn.h"
#include "proxy/client/produce.h"
#include "proxy/client/turn.h"
#include "proxy/resource/shared.h"

static struct tenant_view *tenant_new(struct worker *worker, const struct tenant *model)
{
	struct tenant_shared *shared =
		tenant_table_get(&worker->shared->tenants, model->object.id, &model->limits,
				 worker->limits.tenant_window);
	struct storage_tenant *storage = storage_tenant(&worker->shared->storage, model->object.id);
	struct tenant_view *tenant = shared && storage ? calloc(1, sizeof *tenant) : NULL;

	if (!tenant)
		return NULL;
	tenant->node.key = model->object.id;
	tenant->worker = worker;
	tenant->ledger = &shared->ledger;
	tenant->memory = &shared->memory;
	tenant->storage = storage;
	fair_queue_init(&tenant->queue);
	list_init(&tenant->conns);
	list_init(&tenant->waiting);
	list_init(&tenant->memory_waiting);
	loop_timer_init(&tenant->waiting_timer, worker->loop, produce_waiting_over);
	loop_timer_init(&tenant->memory_timer, worker->loop, memory_on_waiting);
	list_init(&tenant->turns);
	loop_timer_init(&tenant->turns_timer, worker->loop, turns_expire);
	session_lines_init(tenant);
	if (map_put(&worker->tenants, &tenant->node) < 0) {
		free(tenant);
		return NULL;
	}
	tenant->model = model_ref(model);
	quota_ledger_set(tenant->ledger, &model->limits, loop_now_ns(worker->loop));
	storage_limit_set(tenant->storage, model->limits.storage_bytes);
	return tenant;
}

struct tenant_view *tenant_get(struct worker *worker, uint64_t id)
{
	struct map_node *node = map_find(&worker->tenants, id);
	struct tenant_view *tenant;
	const struct tenant *model;

	if (node)
		return CONTAINER_OF(node, struct tenant_view, node);
	model = catalog_tenant(worker->shared->catalog, id);
	if (!model)
		return NULL;
	tenant = tenant_new(worker, model);
	model_unref(model);
	return tenant;
}

void consume_counters_add(struct consume_counters *to, const struct consume_counters *more)
{
	to->messages += more->messages;
	to->bytes += more->bytes;
	to->redelivered += more->redelivered;
	to->acked += more->acked;
	to->nacked += more->nacked;
	to->rejected += more->rejected;
	to->released += more->released;
	to->timeouts += more->timeouts;
	to->lost += more->lost;
	to->dead += more->dead;
}

bool tenant_conn_joins(struct tenant_view *tenant)
{
	if (!quota_count_take(tenant->ledger, QUOTA_CONNECTIONS, 1))
		return false;
	++tenant->conn_count;
	return true;
}

void tenant_conn_left(struct tenant_view *tenant)
{
	--tenant->conn_count;
	quota_count_give_back(tenant->ledger, QUOTA_CONNECTIONS, 1);
}

// Whoever waits, waits for what the old limits would have let pass: it is looked at again.
static void limits_changed(struct tenant_view *tenant)
{
	uint64_t now_ns = loop_now_ns(tenant->worker->loop);

	quota_ledger_set(tenant->ledger, &tenant->model->limits, now_ns);
	turns_give_back(tenant);
	if (!list_empty(&tenant->waiting))
		loop_timer_set(&tenant->waiting_timer, now_ns);
	storage_limit_set(tenant->storage, tenant->model->limits.storage_bytes);
	LIST_FOREACH(pos, next, &tenant->conns)
	{
		struct conn *conn = LIST_ENTRY(pos, struct conn, in_tenant);

		stream_limits_changed(conn);
		if (conn_is_open(conn) && conn->state >= CONN_READY)
			produce_window_raise(conn);
	}
}

void tenant_changed(struct worker *worker, uint64_t id)
{
	struct map_node *node = map_find(&worker->tenants, id);
	struct tenant_view *tenant;

	if (!node)
		return;
	tenant = CONTAINER_OF(node, struct tenant_view, node);
	model_unref(tenant->model);
	tenant->model = catalog_tenant(worker->shared->catalog, id);
	if (tenant->model)
		limits_changed(tenant);
	if (tenant->model && !tenant->model->suspended)
		return;
	while (!list_empty(&tenant->conns))
		conn_close(LIST_ENTRY(tenant->conns.next, struct conn, in_tenant), CODE_FORBIDDEN,
			   "the tenant is suspended");
}

void tenants_deinit(struct worker *worker)
{
	size_t cursor = 0;
	struct map_node *next = NULL, *node;

	while ((node = map_next(&worker->tenants, &cursor, &next))) {
		struct tenant_view *tenant = CONTAINER_OF(node, struct tenant_view, node);

		assert(list_empty(&tenant->conns));
		loop_timer_cancel(&tenant->waiting_timer);
		loop_timer_cancel(&tenant->memory_timer);
		loop_timer_cancel(&tenant->turns_timer);
		session_lines_deinit(tenant);
		model_unref(tenant->model);
		free(tenant);
	}
	map_deinit(&worker->tenants);
}
