// From a name to an authenticated connection: resolve, connect to each of its socket addresses in
// turn, preface and HELLO, SCRAM (bound to the channel over TLS), READY.
//
// TLS needs no step of its own: the transport handshakes inside the first reads and writes. All
// steps share one deadline, connect_timeout_ms.
//
// Invariant: each frame is accepted only in its state; anything else ends the link. Not here:
// trying other proxies and waiting between attempts (client.c, address.c).

#include "sdk/c/src/handshake.h"

#include "core/base/util.h"
#include "core/wire/codec.h"
#include "core/wire/fields.h"
#include "sdk/c/src/link_impl.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/socket.h>

static void connect_next(struct link *link);

// ---- Socket ----------------------------------------------------------------------------------

static void connect_failed(struct link *link, int error)
{
	char why[160];

	transport_deinit(&link->transport);
	link->watched = 0;
	link->info = link->info->ai_next;
	if (link->info) {
		connect_next(link);
		return;
	}
	snprintf(why, sizeof why, "cannot connect: %s", strerror(error));
	link_close(link, MQP_NOT_CONNECTED, why);
}

static void connect_next(struct link *link)
{
	const struct addrinfo *info = link->info;
	int one = 1;
	int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	transport_init(&link->transport, fd);
	if (fd < 0) {
		connect_failed(link, errno);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (connect(fd, info->ai_addr, info->ai_addrlen) == 0) {
		handshake_connected(link);
		return;
	}
	if (errno != EINPROGRESS) {
		connect_failed(link, errno);
		return;
	}
	link->state = LINK_CONNECTING;
	link_watch(link);
}

void handshake_socket_ready(struct link *link)
{
	int error = 0;
	socklen_t size = sizeof error;

	if (getsockopt(link->transport.fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		error = errno;
	if (error)
		connect_failed(link, error);
	else
		handshake_connected(link);
}

static void on_resolved(void *ctx, struct addrinfo *infos, const char *problem)
{
	struct link *link = ctx;
	char why[160];

	link->resolve = NULL;
	if (!infos) {
		snprintf(why, sizeof why, "cannot find the host: %s", problem);
		link_close(link, MQP_NOT_CONNECTED, why);
		return;
	}
	link->infos = link->info = infos;
	connect_next(link);
}

void handshake_start(struct link *link)
{
	const struct mqp_client_config *config = &link->client->settings.config;

	link->deadline_ns = link->client->now_ns + config->connect_timeout_ms * MS_NS;
	if (resolve_start(link->client, link->address.host, link->address.port, on_resolved, link,
			  &link->resolve) < 0)
		link_close(link, MQP_NOT_CONNECTED, "cannot look up the host");
}

// ---- HELLO -----------------------------------------------------------------------------------

static void client_id(const struct link *link, char *id, size_t size)
{
	const char *configured = link->client->settings.config.client_id;
	char host[65] = "";

	if (configured) {
		snprintf(id, size, "%s", configured);
		return;
	}
	gethostname(host, sizeof host - 1);
	snprintf(id, size, "%s:%d", host, (int)getpid());
}

static int send_hello(struct link *link)
{
	struct field_writer writer;
	uint8_t payload[512];
	char id[129];

	client_id(link, id, sizeof id);
	field_writer_init(&writer, payload, sizeof payload);
	field_put_text(&writer, FIELD_CLIENT_NAME, "mqpaas-c");
	field_put_text(&writer, FIELD_CLIENT_VERSION, mqp_version());
	field_put_text(&writer, FIELD_CLIENT_ID, id);
	field_put_int(&writer, FIELD_CODECS, CODEC_ALL);
	field_put_int(&writer, FIELD_FEATURES, FEATURES_KNOWN);
	return link_send(link, FRAME_HELLO, 0, payload, writer.size);
}

static int start_tls(struct link *link)
{
	const struct mqp_client_config *config = &link->client->settings.config;
	const char *name = config->tls_name ? config->tls_name : link->address.host;

	if (!link->address.tls)
		return 0;
	if (client_load_tls(link->client) < 0)
		return -EINVAL;
	return transport_connect_tls(&link->transport, link->client->tls,
				     config->tls_skip_name ? NULL : name);
}

void handshake_connected(struct link *link)
{
	int r = start_tls(link);

	link->state = LINK_WELCOME;
	link->last_read_ns = link->client->now_ns;
	if (r == 0 && (outq_add_preface(&link->outq) < 0 || send_hello(link) < 0))
		r = -ENOMEM;
	if (r < 0) {
		link_close(link, r == -EINVAL ? MQP_TLS : MQP_NO_MEMORY,
			   r == -EINVAL ? "the certificates to trust cannot be read" : "no memory");
		return;
	}
	link_watch(link);
}

// ---- AUTH ------------------------------------------------------------------------------------

static int make_nonce(char nonce[SCRAM_NONCE_MAX + 1])
{
	uint8_t random[20];

	if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
		return -EIO;
	for (size_t i = 0; i < sizeof random; ++i)
		snprintf(nonce + 2 * i, 3, "%02x", random[i]);
	return 0;
}

static int send_auth(struct link *link, const char *mechanism, const char *message)
{
	struct field_writer writer;
	uint8_t payload[SCRAM_MESSAGE_MAX + 64];

	field_writer_init(&writer, payload, sizeof payload);
	field_put_text(&writer, FIELD_MECHANISM, mechanism);
	field_put_bytes(&writer, FIELD_SASL, message, strlen(message));
	return link_send(link, FRAME_AUTH, 0, payload, writer.size);
}

static int send_client_first(struct link *link, bool plus_offered)
{
	const struct credentials *use = rotation_credentials(link->client, link);
	char nonce[SCRAM_NONCE_MAX + 1], message[SCRAM_MESSAGE_MAX];
	struct scram_channel channel;
	bool plus;
	int r = make_nonce(nonce);

	if (r < 0)
		return r;
	transport_channel(&link->transport, link->binding, &channel);
	r = scram_client_start(&link->scram, use->access_key, use->secret, nonce, &channel,
			       plus_offered, rotation_scram(link->client, link), &plus, message);
	if (r != 0) {
		link_close(link, MQP_UNAUTHENTICATED,
			   "access key or secret holds characters that no key has");
		return 0;
	}
	link->state = LINK_CHALLENGE;
	return send_auth(link, plus ? SCRAM_MECHANISM_PLUS : SCRAM_MECHANISM, message);
}

static int welcome_frame(struct link *link, const struct fields *fields)
{
	char mechanisms[256];

	link->max_frame = (uint32_t)fields_int(fields, FIELD_MAX_FRAME, 1u << 20);
	link->features = fields_int(fields, FIELD_FEATURES, 0) & FEATURES_KNOWN;
	link->codecs = (uint32_t)fields_int(fields, FIELD_CODECS, 1);
	link->keepalive_ns = MAX(fields_int(fields, FIELD_KEEPALIVE_MS, 30000), 1000) * MS_NS;
	fields_text(fields, FIELD_MECHANISMS, mechanisms, sizeof mechanisms);
	return send_client_first(link, strstr(mechanisms, SCRAM_MECHANISM_PLUS) != NULL);
}

static int challenge_frame(struct link *link, const struct fields *fields)
{
	char message[SCRAM_MESSAGE_MAX];

	if (scram_client_answer(&link->scram, fields->values[FIELD_SASL], message) != 0)
		return -EBADMSG;
	link->state = LINK_PROOF;
	return send_auth(link, NULL, message);
}

// The server has proved that it knows the verifier before a stream is opened over the link. From
// here on frames may be as large as WELCOME said.
static int ready_frame(struct link *link, const struct fields *fields)
{
	if (scram_client_finish(&link->scram, fields->values[FIELD_SASL]) != 0) {
		link_close(link, MQP_UNAUTHENTICATED, "the server does not know the secret");
		return 0;
	}
	scram_client_deinit(&link->scram);
	link->granted = fields_int(fields, FIELD_WINDOW, 0);
	link->framer.max_payload = link->max_frame;
	link->deadline_ns = UINT64_MAX;
	link->state = LINK_READY;
	link_tell_addresses(link, fields);
	client_link_ready(link->client, link);
	return 0;
}

int handshake_frame(struct link *link, const struct frame *frame)
{
	struct fields fields;

	if (fields_read(frame->payload.data, frame->payload.size, &fields))
		return -EBADMSG;
	if (frame->header.type == FRAME_WELCOME && link->state == LINK_WELCOME)
		return welcome_frame(link, &fields);
	if (frame->header.type == FRAME_AUTH && link->state == LINK_CHALLENGE)
		return challenge_frame(link, &fields);
	if (frame->header.type == FRAME_READY && link->state == LINK_PROOF)
		return ready_frame(link, &fields);
	return -EBADMSG;
}
