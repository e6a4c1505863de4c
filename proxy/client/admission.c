// Admits an authenticated client, or refuses it: by its address, the state of its tenant, and the
// tenant's limit of connections.
//
// These are looked at only after the proof of the secret, so that a client without the secret
// learns nothing.

#include "proxy/client/admission.h"

#include "proxy/base/worker.h"
#include "proxy/client/clients.h"
#include "proxy/client/conn.h"
#include "proxy/client/tenant_clients.h"

#include <errno.h>

static int keep_client(struct session *session, const struct admission_client *client)
{
	size_t name = strlen(client->name) + 1, version = strlen(client->version) + 1;
	size_t id = strlen(client->id) + 1;

	session->client = malloc(name + version + id);
	if (!session->client)
		return -ENOMEM;
	memcpy(session->client, client->name, name);
	memcpy(session->client + name, client->version, version);
	memcpy(session->client + name + version, client->id, id);
	return 0;
}

static enum code join_tenant(struct conn *conn, const char **ret_text)
{
	struct session *session = &conn->session;
	struct tenant_view *tenant = tenant_get(conn->worker, session->key->tenant);

	if (!tenant || !tenant_clients_get(tenant))
		return CODE_OVERLOADED;
	if (!tenant->model || tenant->model->suspended) {
		*ret_text = "the tenant is suspended";
		return CODE_FORBIDDEN;
	}
	if (!tenant_conn_joins(tenant)) {
		*ret_text = "the tenant has as many connections as it may";
		return CODE_LIMIT_EXCEEDED;
	}
	session->tenant = tenant;
	memory_move(conn, tenant->memory);
	list_push_back(&tenant->clients->conns, &session->in_tenant);
	peer_shares_leave(&conn->worker->clients->peer_shares, &conn->peer_share);
	return CODE_OK;
}

enum code admission_admit(struct conn *conn, const struct admission_client *client,
			  const char **ret_text)
{
	enum code code;

	if (!session_address_allowed(&conn->session, conn->peer)) {
		*ret_text = "the access key may not connect from here";
		return CODE_FORBIDDEN;
	}
	code = join_tenant(conn, ret_text);
	if (code == CODE_OK && keep_client(&conn->session, client) < 0)
		code = CODE_OVERLOADED;
	if (code == CODE_OK)
		session_window_start(&conn->session, &conn->worker->limits);
	return code;
}
