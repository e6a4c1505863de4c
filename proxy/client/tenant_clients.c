// What the connections of one tenant share on a worker.
//
// It is made with the first connection of the tenant and kept as long as the worker, because the
// log lines that are not written yet are counted here.

#include "proxy/client/tenant_clients.h"

#include "proxy/base/worker.h"
#include "proxy/client/batch.h"
#include "proxy/client/conn.h"
#include "proxy/client/sender_turn.h"
#include "proxy/resource/tenant.h"

struct tenant_clients *tenant_clients_get(struct tenant_view *tenant)
{
	struct tenant_clients *clients = tenant->clients;
	struct loop *loop = tenant->worker->loop;

	if (clients)
		return clients;
	clients = calloc(1, sizeof *clients);
	if (!clients)
		return NULL;
	clients->tenant = tenant;
	fair_queue_init(&clients->queue);
	list_init(&clients->conns);
	list_init(&clients->waiting);
	list_init(&clients->memory_waiting);
	list_init(&clients->turns);
	loop_timer_init(&clients->waiting_timer, loop, batch_waiting_over);
	loop_timer_init(&clients->memory_timer, loop, memory_on_waiting);
	loop_timer_init(&clients->turns_timer, loop, sender_turns_expire);
	session_lines_init(clients);
	tenant->clients = clients;
	return clients;
}

// What waits, waits for what the old limits would have let pass: it is looked at again.
static void limits_changed(struct tenant_clients *clients)
{
	sender_turns_give_back(clients);
	if (!list_empty(&clients->waiting))
		loop_timer_set(&clients->waiting_timer, loop_now_ns(clients->waiting_timer.loop));
	LIST_FOREACH(pos, next, &clients->conns)
	{
		struct conn *conn = CONTAINER_OF(pos, struct conn, session.in_tenant);

		conn->ops->limits_changed(conn);
	}
}

void tenant_clients_changed(struct worker *worker, uint64_t id)
{
	struct tenant_view *tenant = tenant_find(worker, id);
	struct tenant_clients *clients = tenant ? tenant->clients : NULL;

	if (!clients)
		return;
	if (tenant->model)
		limits_changed(clients);
	if (tenant->model && !tenant->model->suspended)
		return;
	while (!list_empty(&clients->conns))
		conn_close(CONTAINER_OF(clients->conns.next, struct conn, session.in_tenant),
			   CODE_FORBIDDEN, "the tenant is suspended");
}

static void tenant_clients_free(struct tenant_clients *clients)
{
	assert(list_empty(&clients->conns));
	loop_timer_cancel(&clients->waiting_timer);
	loop_timer_cancel(&clients->memory_timer);
	loop_timer_cancel(&clients->turns_timer);
	session_lines_deinit(clients);
	free(clients);
}

void tenant_clients_deinit(struct worker *worker)
{
	size_t cursor = 0;
	struct map_node *next = NULL, *node;

	while ((node = map_next(&worker->tenants, &cursor, &next))) {
		struct tenant_view *tenant = CONTAINER_OF(node, struct tenant_view, node);

		if (tenant->clients)
			tenant_clients_free(tenant->clients);
		tenant->clients = NULL;
	}
}
