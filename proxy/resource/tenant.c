// A worker's view of a tenant.
//
// Limits live in the ledger that all workers share; the rest of a view belongs to its worker alone.
// What the tenant's connections share on a worker is in client/tenant_clients.c.

#include "proxy/resource/tenant.h"

#include "core/catalog/catalog.h"
#include "proxy/base/worker.h"
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
	if (map_put(&worker->tenants, &tenant->node) < 0) {
		free(tenant);
		return NULL;
	}
	tenant->model = model_ref(model);
	quota_ledger_set(tenant->ledger, &model->limits, loop_now_ns(worker->loop));
	storage_limit_set(tenant->storage, model->limits.storage_bytes);
	return tenant;
}

struct tenant_view *tenant_find(const struct worker *worker, uint64_t id)
{
	struct map_node *node = map_find(&worker->tenants, id);

	return node ? CONTAINER_OF(node, struct tenant_view, node) : NULL;
}

struct tenant_view *tenant_get(struct worker *worker, uint64_t id)
{
	struct tenant_view *tenant = tenant_find(worker, id);
	const struct tenant *model;

	if (tenant)
		return tenant;
	model = catalog_tenant(worker->shared->catalog, id);
	if (!model)
		return NULL;
	tenant = tenant_new(worker, model);
	model_unref(model);
	return tenant;
}

void tenant_add_consumed(struct consume_counters *to, const struct consume_counters *more)
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

void tenant_changed(struct worker *worker, uint64_t id)
{
	struct tenant_view *tenant = tenant_find(worker, id);

	if (!tenant)
		return;
	model_unref(tenant->model);
	tenant->model = catalog_tenant(worker->shared->catalog, id);
	if (!tenant->model)
		return;
	quota_ledger_set(tenant->ledger, &tenant->model->limits, loop_now_ns(worker->loop));
	storage_limit_set(tenant->storage, tenant->model->limits.storage_bytes);
}

void tenants_deinit(struct worker *worker)
{
	size_t cursor = 0;
	struct map_node *next = NULL, *node;

	while ((node = map_next(&worker->tenants, &cursor, &next))) {
		struct tenant_view *tenant = CONTAINER_OF(node, struct tenant_view, node);

		assert(tenant->conn_count == 0 && !tenant->clients);
		model_unref(tenant->model);
		free(tenant);
	}
	map_deinit(&worker->tenants);
}
