// core/net/transport and tls: plain and TLS streams through a socket pair, which peer is believed,
// what SCRAM can bind to, a peer that is gone, and what an idle connection costs.

#include "core/net/transport.h"
#include "tests/unit/identity.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>

// ---- what OpenSSL holds

static long held;

static void *counted_alloc(size_t size, const char *file, int line)
{
	size_t *block = malloc(sizeof(max_align_t) + size);

	if (!block)
		return NULL;
	*block = size;
	held += (long)size;
	return (char *)block + sizeof(max_align_t);
}

static void counted_free(void *at, const char *file, int line)
{
	char *block = at ? (char *)at - sizeof(max_align_t) : NULL;

	if (block)
		held -= (long)*(size_t *)(void *)block;
	free(block);
}

static void *counted_realloc(void *at, size_t size, const char *file, int line)
{
	void *fresh = counted_alloc(size, file, line);
	size_t before = at ? *(size_t *)(void *)((char *)at - sizeof(max_align_t)) : 0;

	if (fresh && at) {
		memcpy(fresh, at, MIN(before, size));
		counted_free(at, file, line);
	}
	return fresh;
}

// ---- certificates, made for the run

static char folder[] = "/tmp/test_transport.XXXXXX";

static const char *path(const char *name)
{
	static char room[4][80];
	static unsigned next;
	char *at = room[next++ % ARRAY_SIZE(room)];

	snprintf(at, sizeof room[0], "%s/%s", folder, name);
	return at;
}

static SSL_CTX *server_ctx, *client_ctx;

static void contexts_make(void)
{
	char problem[256];

	CHECK(mkdtemp(folder) != NULL);
	identity_make(path("ours.pem"), path("ours.key"), "ours.pem");
	identity_make(path("other.pem"), path("other.key"), "other.pem");
	CHECK_EQ(tls_server_new(path("ours.pem"), path("ours.key"), &server_ctx, problem,
				sizeof problem),
		 0);
	CHECK_EQ(tls_client_new(path("ours.pem"), NULL, NULL, &client_ctx, problem, sizeof problem),
		 0);
}

static void contexts_drop(void)
{
	SSL_CTX_free(server_ctx);
	SSL_CTX_free(client_ctx);
	unlink(path("ours.pem"));
	unlink(path("ours.key"));
	unlink(path("other.pem"));
	unlink(path("other.key"));
	unlink(path("broken.pem"));
	CHECK_EQ(rmdir(folder), 0);
}

// ---- pairs

static struct transport server, client;

static void pair_open(void)
{
	int fds[2];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	transport_init(&server, fds[0]);
	transport_init(&client, fds[1]);
}

static void pair_close(void)
{
	transport_deinit(&client);
	transport_deinit(&server);
}

// Drives both handshakes with reads. 0, or what the first side answered that is not -EAGAIN.
static ssize_t handshake(ssize_t *ret_server)
{
	uint8_t byte;

	for (unsigned round = 0; round < 20; ++round) {
		ssize_t ours = transport_read(&client, &byte, 1);
		ssize_t theirs = transport_read(&server, &byte, 1);

		*ret_server = theirs;
		if (ours != -EAGAIN || theirs != -EAGAIN)
			return ours;
		if (transport_established(&client) && transport_established(&server))
			return 0;
	}
	CHECK(!"the handshake ends");
	return -1;
}

static ssize_t connect_as(SSL_CTX *ctx, const char *name)
{
	ssize_t theirs;

	pair_open();
	CHECK_EQ(transport_accept_tls(&server, server_ctx), 0);
	CHECK_EQ(transport_connect_tls(&client, ctx, name), 0);
	return handshake(&theirs);
}

static void pump(size_t total)
{
	_cleanup_(freep) uint8_t *sent = malloc(total), *got = malloc(total);
	size_t out = 0, in = 0;

	for (size_t i = 0; i < total; ++i)
		sent[i] = (uint8_t)(i * 31 >> 3);
	while (in < total) {
		size_t a = MIN(total - out, (size_t)700), b = MIN(total - out - a, (size_t)90000);
		struct iovec parts[2] = {{sent + out, a}, {sent + out + a, b}};
		ssize_t step = out < total ? transport_writev(&client, parts, b ? 2 : 1) : -EAGAIN;

		CHECK(step > 0 || step == -EAGAIN);
		out += step > 0 ? (size_t)step : 0;
		step = transport_read(&server, got + in, MIN(total - in, (size_t)10000));
		CHECK(step > 0 || step == -EAGAIN);
		in += step > 0 ? (size_t)step : 0;
	}
	CHECK(memcmp(sent, got, total) == 0);
}

// ---- cases

static void first_byte(void)
{
	static const struct {
		uint8_t byte;
		enum transport_kind kind;
	} rows[] = {{0xcd, TRANSPORT_NATIVE}, {0x16, TRANSPORT_TLS}, {'G', TRANSPORT_FOREIGN}};
	enum transport_kind kind;

	for (size_t i = 0; i < ARRAY_SIZE(rows); ++i) {
		uint8_t still_there;

		pair_open();
		CHECK_EQ(transport_peek(server.fd, &kind), -EAGAIN);
		CHECK_EQ(write(client.fd, &rows[i].byte, 1), 1);
		CHECK_EQ(transport_peek(server.fd, &kind), 0);
		CHECK_EQ(kind, rows[i].kind);
		CHECK_EQ(transport_read(&server, &still_there, 1), 1);
		CHECK_EQ(still_there, rows[i].byte);
		pair_close();
	}
	pair_open();
	transport_deinit(&client);
	CHECK_EQ(transport_peek(server.fd, &kind), -EPIPE);
	transport_deinit(&server);
}

static void plain(void)
{
	struct scram_channel channel;
	uint8_t room[TRANSPORT_BINDING_ROOM];

	pair_open();
	CHECK(transport_established(&client) && !transport_pending(&client));
	pump(1000000);
	transport_channel(&server, room, &channel);
	CHECK(channel.exporter.size == 0 && channel.end_point.size == 0);
	transport_deinit(&client);
	CHECK_EQ(transport_read(&server, room, 1), 0);
	transport_deinit(&server);
}

static void tls(void)
{
	uint8_t byte;

	CHECK_EQ(connect_as(client_ctx, "localhost"), 0);
	pump(1000000);
	transport_deinit(&client);
	CHECK_EQ(transport_read(&server, &byte, 1), 0);
	transport_deinit(&server);
	CHECK_EQ(connect_as(client_ctx, "127.0.0.1"), 0);
	pair_close();
	CHECK_EQ(connect_as(client_ctx, NULL), 0);
	pair_close();
}

// A wrong name, a wrong address and an authority that is not ours: the client breaks off, and says
// why.
static void who_is_believed(void)
{
	char problem[256];
	SSL_CTX *distrustful;

	CHECK_EQ(connect_as(client_ctx, "example.org"), -EPROTO);
	CHECK(strstr(transport_problem(&client, problem, sizeof problem), "ostname mismatch"));
	pair_close();
	CHECK_EQ(connect_as(client_ctx, "127.0.0.2"), -EPROTO);
	CHECK(strstr(transport_problem(&client, problem, sizeof problem), "IP address mismatch"));
	pair_close();
	CHECK_EQ(tls_client_new(path("other.pem"), NULL, NULL, &distrustful, problem,
				sizeof problem),
		 0);
	CHECK_EQ(connect_as(distrustful, "localhost"), -EPROTO);
	CHECK(strstr(transport_problem(&client, problem, sizeof problem), "not accepted"));
	pair_close();
	SSL_CTX_free(distrustful);
}

static void old_versions_are_refused(void)
{
	SSL_CTX *old = SSL_CTX_new(TLS_client_method());
	ssize_t theirs;

	SSL_CTX_set_security_level(old, 0);
	SSL_CTX_set_min_proto_version(old, TLS1_VERSION);
	SSL_CTX_set_max_proto_version(old, TLS1_1_VERSION);
	pair_open();
	CHECK_EQ(transport_accept_tls(&server, server_ctx), 0);
	CHECK_EQ(transport_connect_tls(&client, old, NULL), 0);
	CHECK(handshake(&theirs) != 0 || theirs == -EPROTO);
	CHECK(!transport_established(&server));
	pair_close();
	SSL_CTX_free(old);
}

static void not_tls_at_all(void)
{
	uint8_t byte;

	pair_open();
	CHECK_EQ(transport_accept_tls(&server, server_ctx), 0);
	CHECK_EQ(write(client.fd, "\x16garbage that is no hello", 25), 25);
	CHECK_EQ(transport_read(&server, &byte, 1), -EPROTO);
	pair_close();
}

// Both ends find the same bytes, whichever version; they differ from one connection to the next.
static void channel_bindings(void)
{
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
	uint8_t before[32] = {0}, cert_hash[32];
	unsigned size;
	FILE *file = fopen(path("ours.pem"), "r");
	X509 *cert;

	CHECK(file);
	cert = PEM_read_X509(file, NULL, NULL, NULL);
	fclose(file);
	CHECK_EQ(X509_digest(cert, EVP_sha256(), cert_hash, &size), 1);
	X509_free(cert);
	for (size_t i = 0; i < ARRAY_SIZE(versions); ++i) {
		uint8_t a[TRANSPORT_BINDING_ROOM], b[TRANSPORT_BINDING_ROOM];
		struct scram_channel ours, theirs;

		SSL_CTX_set_max_proto_version(client_ctx, versions[i]);
		CHECK_EQ(connect_as(client_ctx, "localhost"), 0);
		CHECK_EQ(SSL_version(server.ssl), versions[i]);
		transport_channel(&client, a, &ours);
		transport_channel(&server, b, &theirs);
		CHECK(ours.exporter.size == 32 && theirs.exporter.size == 32);
		CHECK(memcmp(ours.exporter.data, theirs.exporter.data, 32) == 0);
		CHECK(memcmp(ours.exporter.data, before, 32) != 0);
		memcpy(before, ours.exporter.data, 32);
		CHECK(ours.end_point.size == 32 && theirs.end_point.size == 32);
		CHECK(memcmp(ours.end_point.data, cert_hash, 32) == 0);
		CHECK(memcmp(theirs.end_point.data, cert_hash, 32) == 0);
		pair_close();
	}
	SSL_CTX_set_max_proto_version(client_ctx, 0);
}

// A library may not ask its program to ignore SIGPIPE: writing to a peer that is gone is an error
// like any other.
static void peer_is_gone(void)
{
	uint8_t bytes[1000] = {0};
	struct iovec part = {bytes, sizeof bytes};

	CHECK(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
	pair_open();
	transport_deinit(&server);
	CHECK_EQ(transport_writev(&client, &part, 1), -EPIPE);
	transport_deinit(&client);
	CHECK_EQ(connect_as(client_ctx, "localhost"), 0);
	close(server.fd);
	server.fd = -1;
	CHECK_EQ(transport_writev(&client, &part, 1), -EPIPE);
	pair_close();
}

// OpenSSL 3.2 put two record layers of 4.4 KB into each connection; from 3.5 on both sides prefer a
// hybrid with ML-KEM besides, whose key stays too (6.5 KB), so a client here asks for X25519 alone.
static void idle_costs_little(void)
{
	enum { PAIRS = 8 };
	struct transport servers[PAIRS], clients[PAIRS];
	long before, with_clients, bound = OpenSSL_version_num() < 0x30200000 ? 16384 : 24576;

	CHECK_EQ(SSL_CTX_set1_groups_list(client_ctx, "X25519"), 1);
	CHECK_EQ(connect_as(client_ctx, "localhost"), 0);
	pump(100000);
	pair_close();
	before = held;
	for (unsigned i = 0; i < PAIRS; ++i) {
		CHECK_EQ(connect_as(client_ctx, "localhost"), 0);
		pump(100000);
		servers[i] = server;
		clients[i] = client;
	}
	with_clients = held;
	for (unsigned i = 0; i < PAIRS; ++i)
		transport_deinit(&servers[i]);
	fprintf(stderr, "#   an idle TLS connection of a server holds %ld bytes\n",
		(with_clients - held) / PAIRS);
	CHECK((with_clients - held) / PAIRS < bound);
	for (unsigned i = 0; i < PAIRS; ++i)
		transport_deinit(&clients[i]);
	CHECK(held - before < 4096);
}

static void files_that_cannot_be_used(void)
{
	char problem[256];
	SSL_CTX *ctx = NULL;
	FILE *file = fopen(path("broken.pem"), "w");

	CHECK(file);
	fputs("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", file);
	fclose(file);
	CHECK_EQ(tls_server_new(path("none.pem"), NULL, &ctx, problem, sizeof problem), -EINVAL);
	CHECK(strstr(problem, "none.pem"));
	CHECK_EQ(tls_server_new(path("broken.pem"), NULL, &ctx, problem, sizeof problem), -EINVAL);
	CHECK(strstr(problem, "broken.pem"));
	CHECK_EQ(tls_server_new(path("ours.pem"), path("other.key"), &ctx, problem, sizeof problem),
		 -EINVAL);
	CHECK(strstr(problem, "key"));
	CHECK_EQ(tls_client_new(path("none.pem"), NULL, NULL, &ctx, problem, sizeof problem),
		 -EINVAL);
	CHECK(strstr(problem, "none.pem"));
	CHECK(ctx == NULL);
}

int main(void)
{
	static const struct unit_case cases[] = {
		UNIT_CASE(first_byte),
		UNIT_CASE(plain),
		UNIT_CASE(tls),
		UNIT_CASE(who_is_believed),
		UNIT_CASE(old_versions_are_refused),
		UNIT_CASE(not_tls_at_all),
		UNIT_CASE(channel_bindings),
		UNIT_CASE(peer_is_gone),
		UNIT_CASE(idle_costs_little),
		UNIT_CASE(files_that_cannot_be_used),
	};
	int r;

	CHECK_EQ(CRYPTO_set_mem_functions(counted_alloc, counted_realloc, counted_free), 1);
	contexts_make();
	r = unit_main(cases, ARRAY_SIZE(cases));
	contexts_drop();
	return r;
}
