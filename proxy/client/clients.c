// The state that all connections of a worker share: lists, the run queue, timers.
//
// Connections that can be read wait in a run queue of two levels: tenants share a round, and all
// unauthenticated connections together have one place in it. A run does at most RUN_BYTES for a
// connection; a tenant gets at most TENANT_BYTES of a round.

#include "proxy/client/clients.h"

#include "proxy/base/worker.h"
#include "proxy/client/conn.h"

#include <openssl/ssl.h>

#define TENANT_BYTES (1024u * 1024) // of a tenant in a round
#define RUN_BYTES    (256u * 1024)  // of a connection in a run

static void on_run(struct loop_task *task)
{
	struct clients *clients = CONTAINER_OF(task, struct clients, run_task);

	clients->run_due = fair_round(&clients->fair, TENANT_BYTES, RUN_BYTES, conn_work);
	if (clients->run_due)
		loop_defer(clients->worker->loop, &clients->run_task);
}

void clients_enqueue(struct clients *clients, struct fair_queue *queue, struct fair_item *item)
{
	fair_add(&clients->fair, queue, item);
	if (clients->run_due)
		return;
	clients->run_due = true;
	loop_defer(clients->worker->loop, &clients->run_task);
}

void clients_set_tls(struct clients *clients, struct ssl_ctx_st *tls)
{
	if (tls)
		SSL_CTX_up_ref(tls);
	SSL_CTX_free(clients->tls);
	clients->tls = tls;
}

int clients_init(struct clients *clients, struct worker *worker,
		 const struct client_service *service, struct ssl_ctx_st *tls)
{
	int r;

	clients->worker = worker;
	clients->service = service;
	list_init(&clients->conns);
	list_init(&clients->partial);
	leave_queue_init(&clients->leave_queue);
	fair_init(&clients->fair);
	fair_queue_init(&clients->unauthenticated);
	clients->run_task.fn = on_run;
	loop_timer_init(&clients->partial_timer, worker->loop, memory_on_partial);
	refusals_init(&clients->refusals, worker->loop);
	r = peer_shares_init(&clients->peer_shares);
	if (r == 0)
		clients_set_tls(clients, tls);
	return r;
}

void clients_deinit(struct clients *clients)
{
	loop_timer_cancel(&clients->partial_timer);
	refusals_deinit(&clients->refusals);
	peer_shares_deinit(&clients->peer_shares);
	map_deinit(&clients->sessions);
	SSL_CTX_free(clients->tls);
}

void clients_close_all(struct clients *clients, const char *text)
{
	while (!list_empty(&clients->conns))
		conn_close(LIST_ENTRY(clients->conns.next, struct conn, all), CODE_SHUTTING_DOWN,
			   text);
}

void clients_goaway(struct clients *clients, uint32_t deadline_ms)
{
	LIST_FOREACH(pos, next, &clients->conns)
	conn_goaway(LIST_ENTRY(pos, struct conn, all), CODE_SHUTTING_DOWN, deadline_ms);
}

void clients_key_changed(struct clients *clients, uint64_t key)
{
	LIST_FOREACH(pos, next, &clients->conns)
	{
		struct conn *conn = LIST_ENTRY(pos, struct conn, all);

		if (conn->state >= CONN_READY && conn->session.key &&
		    conn->session.key->object.id == key)
			conn_recheck(conn);
	}
}

bool clients_gone(const struct clients *clients)
{
	return list_empty(&clients->conns) && list_empty(&clients->leave_queue.waiting);
}
