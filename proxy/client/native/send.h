// Frames to the client. All that a round gathers is written at its end. Out of memory closes.
#pragma once

#include "core/base/code.h"
#include "core/wire/frame.h"

struct conn;

// Room for a frame's payload, then the frame; it may be smaller than was said. NULL: closed.
uint8_t *native_send_begin(struct conn *conn, uint32_t payload_size);
void native_send_end(struct conn *conn, uint8_t *payload, enum frame_type type, uint32_t stream,
		     uint32_t payload_size);
void native_send(struct conn *conn, enum frame_type type, uint32_t stream, const void *payload,
		 uint32_t size);
void native_send_error(struct conn *conn, uint32_t stream, enum code code, const char *text);
