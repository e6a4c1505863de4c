// Finds the client behind a balancer (core/net/proxy_header.c reads the header itself).
//
// Only where it is configured: a connection from an address of the setting must begin with a
// header; from any other address a header is a protocol error. Else any client could choose the
// address that lists and shares are applied to. No byte behind the header is taken from the socket,
// because TLS begins there.

#include "proxy/client/balancer.h"

#include "core/base/log.h"
#include "core/model/network.h"
#include "core/net/proxy_header.h"
#include "proxy/client/clients.h"
#include "proxy/client/conn.h"
#include "proxy/client/socket_address.h"
#include "proxy/resource/shared.h"

#include <errno.h>

struct balancer_head {
	size_t size;
	uint8_t data[PROXY_HEADER_MAX];
};

int balancer_begin(struct conn *conn, const struct sockaddr *peer)
{
	const struct client_service *service = conn->worker->clients->service;

	for (size_t i = 0; i < service->balancer_count; ++i) {
		if (!network_contains(&service->balancers[i], peer))
			continue;
		conn->balancer = calloc(1, sizeof *conn->balancer);
		return conn->balancer ? 0 : -ENOMEM;
	}
	return 0;
}

void balancer_free(struct balancer_head *head)
{
	free(head);
}

static void client_is(struct conn *conn, const struct proxy_header *header)
{
	uint8_t address[16];

	if (header->known) {
		const struct sockaddr *client = (const struct sockaddr *)&header->client;

		socket_address_text(client, conn->peer);
		peer_shares_address(client, address);
		peer_shares_leave(&conn->worker->clients->peer_shares, &conn->peer_share);
		peer_shares_enter(&conn->worker->clients->peer_shares, &conn->peer_share, address);
	}
	balancer_free(conn->balancer);
	conn->balancer = NULL;
}

int balancer_read(struct conn *conn, const char **ret_problem)
{
	struct balancer_head *head = conn->balancer;
	struct proxy_header header;
	size_t before;
	ssize_t came;
	int r;

	if (!head)
		return 0;
	before = head->size;
	came = recv(conn->transport.fd, head->data + before, sizeof head->data - before,
		    MSG_PEEK | MSG_DONTWAIT);
	if (came < 0 && (errno == EAGAIN || errno == EINTR))
		return -EAGAIN;
	if (came <= 0) {
		*ret_problem = "ended before its first byte";
		return -EPIPE;
	}
	r = proxy_header_read(head->data, before + (size_t)came, &header, ret_problem);
	if (r < 0)
		return r;
	head->size = r ? (size_t)r : before + (size_t)came;
	came = recv(conn->transport.fd, head->data + before, head->size - before, MSG_DONTWAIT);
	assert(came == (ssize_t)(head->size - before)); // it was there a moment ago
	if (r == 0)
		return -EAGAIN;
	client_is(conn, &header);
	return 0;
}
