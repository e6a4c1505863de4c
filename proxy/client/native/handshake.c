// HELLO, WELCOME, AUTH and READY: authenticates a client of the native protocol and admits it.
//
// A key that does not exist, is disabled or has expired goes the whole way with a stable salt and
// fails at the proof like a wrong secret, so that nothing can be learned from the answer. What a
// key may not do for other reasons (address, suspended tenant, limit) is told only after a right
// proof.

#include "proxy/client/native/handshake.h"

#include "core/base/clock.h"
#include "core/net/scram.h"
#include "core/wire/codec.h"
#include "core/wire/fields.h"
#include "proxy/client/admission.h"
#include "proxy/client/clients.h"
#include "proxy/client/native/native.h"
#include "proxy/client/native/send.h"
#include "proxy/client/session_lines.h"
#include "proxy/resource/shared.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

#define NONCE_BYTES 18

struct handshake {
	struct scram_server scram;
	uint8_t channel_room[TRANSPORT_BINDING_ROOM];
	char name[65], version[65], id[129];
};

void handshake_free(struct handshake *handshake)
{
	free(handshake);
}

static const char *mechanisms_offered(const struct conn *conn)
{
	return conn->tls ? SCRAM_MECHANISM_PLUS "," SCRAM_MECHANISM : SCRAM_MECHANISM;
}

static void send_welcome(struct conn *conn)
{
	const struct client_service *service = conn->worker->clients->service;
	const struct proxy_limits *limits = &conn->worker->limits;
	struct field_writer fields;
	uint8_t room[600];

	field_writer_init(&fields, room, sizeof room);
	field_put_int(&fields, FIELD_CODECS, native_of(conn)->codecs);
	field_put_int(&fields, FIELD_FEATURES, FEATURES_KNOWN);
	field_put_text(&fields, FIELD_SERVER_VERSION, service->server_version);
	field_put_text(&fields, FIELD_PROXY_ID, service->proxy_id);
	field_put_int(&fields, FIELD_MAX_FRAME, limits->max_frame);
	field_put_int(&fields, FIELD_MAX_MESSAGE, limits->max_message);
	field_put_text(&fields, FIELD_MECHANISMS, mechanisms_offered(conn));
	field_put_int(&fields, FIELD_KEEPALIVE_MS, limits->keepalive_ms);
	native_send(conn, FRAME_WELCOME, 0, room, (uint32_t)fields.size);
}

static void on_hello(struct conn *conn, const struct fields *fields)
{
	struct native *native = native_of(conn);
	struct handshake *handshake;

	if (native->state != NATIVE_HELLO) {
		conn_close(conn, CODE_PROTOCOL, "a second HELLO");
		return;
	}
	handshake = calloc(1, sizeof *handshake);
	if (!handshake) {
		conn_close(conn, CODE_OVERLOADED, NULL);
		return;
	}
	native->handshake = handshake;
	fields_text(fields, FIELD_CLIENT_NAME, handshake->name, sizeof handshake->name);
	fields_text(fields, FIELD_CLIENT_VERSION, handshake->version, sizeof handshake->version);
	fields_text(fields, FIELD_CLIENT_ID, handshake->id, sizeof handshake->id);
	native->codecs = (uint32_t)fields_int(fields, FIELD_CODECS, 1) & CODEC_ALL;
	native->codecs |= 1u << CODEC_NONE;
	native->features = (uint32_t)fields_int(fields, FIELD_FEATURES, 0) & FEATURES_KNOWN;
	native->state = NATIVE_AUTH;
	send_welcome(conn);
}

static int make_nonce(char ret[2 * NONCE_BYTES + 1])
{
	uint8_t bytes[NONCE_BYTES];

	if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
		return -EIO;
	for (size_t i = 0; i < sizeof bytes; ++i)
		snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
	return 0;
}

static int verifier_of(struct conn *conn, const char *user, struct scram_verifier *ret)
{
	const struct client_service *service = conn->worker->clients->service;
	const struct access_key *key;

	if (!session_name_key(&conn->session, conn->worker->shared->catalog, user))
		return scram_verifier_fake(service->salt_secret, user, ret);
	key = conn->session.key;
	memcpy(ret->salt, key->salt, sizeof ret->salt);
	ret->iterations = key->salt_count;
	memcpy(ret->stored_key, key->stored_key, sizeof ret->stored_key);
	memcpy(ret->server_key, key->server_key, sizeof ret->server_key);
	return 0;
}

static void send_sasl(struct conn *conn, const char *message)
{
	struct field_writer fields;
	uint8_t room[SCRAM_MESSAGE_MAX + 16];

	field_writer_init(&fields, room, sizeof room);
	field_put_bytes(&fields, FIELD_SASL, message, strlen(message));
	native_send(conn, FRAME_AUTH, 0, room, (uint32_t)fields.size);
}

static void on_client_first(struct conn *conn, const struct fields *fields)
{
	struct handshake *handshake = native_of(conn)->handshake;
	struct scram_verifier verifier;
	struct scram_channel channel;
	char mechanism[33], nonce[2 * NONCE_BYTES + 1], message[SCRAM_MESSAGE_MAX];
	bool plus;
	int r;

	fields_text(fields, FIELD_MECHANISM, mechanism, sizeof mechanism);
	plus = conn->tls && strcmp(mechanism, SCRAM_MECHANISM_PLUS) == 0;
	if (!plus && strcmp(mechanism, SCRAM_MECHANISM) != 0) {
		conn_close(conn, CODE_PROTOCOL, "unknown mechanism");
		return;
	}
	transport_channel(&conn->transport, handshake->channel_room, &channel);
	r = scram_server_start(&handshake->scram, plus, &channel, fields->values[FIELD_SASL]);
	if (r > 0) {
		conn_close(conn, r == SCRAM_E_MALFORMED ? CODE_PROTOCOL : CODE_UNAUTHENTICATED,
			   "the first SCRAM message is not accepted");
		return;
	}
	if (r == 0)
		r = make_nonce(nonce);
	if (r == 0)
		r = verifier_of(conn, handshake->scram.user, &verifier);
	if (r == 0)
		r = scram_server_challenge(&handshake->scram, &verifier, nonce, message);
	if (r != 0) {
		conn_close(conn, CODE_INTERNAL, NULL);
		return;
	}
	native_of(conn)->state = NATIVE_FINAL;
	send_sasl(conn, message);
}

static void send_ready(struct conn *conn, const char *server_final)
{
	const struct client_service *service = conn->worker->clients->service;
	struct field_writer fields;
	uint8_t room[WIRE_EARLY_MAX];

	field_writer_init(&fields, room, sizeof room);
	field_put_bytes(&fields, FIELD_SASL, server_final, strlen(server_final));
	field_put_text(&fields, FIELD_TENANT, conn->session.tenant->model->name);
	field_put_int(&fields, FIELD_WINDOW, conn->session.granted);
	field_put_int(&fields, FIELD_SESSION, conn->node.key);
	for (size_t i = 0; i < service->address_count; ++i)
		field_put_text(&fields, FIELD_ADDRESS, service->addresses[i]);
	native_send(conn, FRAME_READY, 0, room, (uint32_t)fields.size);
}

static void on_client_final(struct conn *conn, const struct fields *fields)
{
	struct native *native = native_of(conn);
	char message[SCRAM_MESSAGE_MAX];
	const char *text = NULL;
	enum code code;
	int r = scram_server_final(&native->handshake->scram, fields->values[FIELD_SASL], message);

	if (r == SCRAM_E_MALFORMED) {
		conn_close(conn, CODE_PROTOCOL, "the last SCRAM message is malformed");
		return;
	}
	if (r != 0 || !session_confirm_key(&conn->session, conn->worker->shared->catalog)) {
		conn_close(conn, r < 0 ? CODE_INTERNAL : CODE_UNAUTHENTICATED, NULL);
		return;
	}
	code = admission_admit(conn,
			       &(struct admission_client){.name = native->handshake->name,
							  .version = native->handshake->version,
							  .id = native->handshake->id},
			       &text);
	if (code != CODE_OK) {
		conn_close(conn, code, text);
		return;
	}
	handshake_free(native->handshake);
	native->handshake = NULL;
	native->state = NATIVE_READY;
	native->framer.max_payload = conn->worker->limits.max_frame;
	conn_ready(conn);
	send_ready(conn, message);
	if (!conn_is_open(conn))
		return; // out of memory
	session_lines_ready(conn);
	if (conn->worker->draining)
		conn_goaway(conn, CODE_SHUTTING_DOWN, 0);
}

void handshake_frame(struct conn *conn, const struct frame *frame)
{
	struct fields fields;
	const char *problem = fields_read(frame->payload.data, frame->payload.size, &fields);

	if (problem)
		conn_close(conn, CODE_PROTOCOL, problem);
	else if (frame->header.type == FRAME_HELLO)
		on_hello(conn, &fields);
	else if (native_of(conn)->state == NATIVE_AUTH)
		on_client_first(conn, &fields);
	else if (native_of(conn)->state == NATIVE_FINAL)
		on_client_final(conn, &fields);
	else
		conn_close(conn, CODE_PROTOCOL, "AUTH out of order");
}
