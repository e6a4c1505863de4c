// Writes control frames to a connection. Small frames share buffers (core/net/outq.h).

#include "proxy/client/native/send.h"

#include "core/wire/fields.h"
#include "proxy/client/conn.h"

uint8_t *native_send_begin(struct conn *conn, uint32_t payload_size)
{
	uint8_t *payload;

	if (outq_small(&conn->out, payload_size, &payload) < 0) {
		conn_close_no_memory(conn);
		return NULL;
	}
	return payload;
}

void native_send_end(struct conn *conn, uint8_t *payload, enum frame_type type, uint32_t stream,
		     uint32_t payload_size)
{
	if (outq_small_done(&conn->out, payload, (uint8_t)type, stream, payload_size) < 0)
		conn_close_no_memory(conn);
	else
		conn_output_added(conn);
}

void native_send(struct conn *conn, enum frame_type type, uint32_t stream, const void *payload,
		 uint32_t size)
{
	uint8_t *at = native_send_begin(conn, size);

	if (!at)
		return;
	if (size)
		memcpy(at, payload, size);
	native_send_end(conn, at, type, stream, size);
}

void native_send_error(struct conn *conn, uint32_t stream, enum code code, const char *text)
{
	uint8_t room[1200];
	struct field_writer fields;

	field_writer_init(&fields, room, sizeof room);
	field_put_int(&fields, FIELD_CODE, code);
	field_put_text(&fields, FIELD_TEXT, text);
	native_send(conn, FRAME_ERROR, stream, room, (uint32_t)fields.size);
}
