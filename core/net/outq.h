// Frames into a byte stream: what waits to be written, without copying what is large.
#pragma once

#include "core/base/buf.h"
#include "core/net/transport.h"

struct outq_part {
	struct buf *buf; // referenced
	const uint8_t *data;
	size_t size;
};

// What waits to be written, in order. Small frames share buffers.
struct outq {
	struct outq_part *parts;
	uint32_t head, count, room; // a ring
	struct buf *small;          // where small frames are gathered; NULL: none
	uint32_t small_used;
	size_t bytes;
};

void outq_init(struct outq *outq);
void outq_deinit(struct outq *outq);
int outq_add(struct outq *outq, struct buf *buf, const uint8_t *data,
	     size_t size);               // takes a reference of its own; -ENOMEM
int outq_add_preface(struct outq *outq); // what the side that connects sends first; -ENOMEM
// Room for a small frame of that payload; write it at *ret_payload, then call outq_small_done().
// -ENOMEM
int outq_small(struct outq *outq, uint32_t payload_size, uint8_t **ret_payload);
int outq_small_done(struct outq *outq, uint8_t *payload, uint8_t type, uint32_t stream,
		    uint32_t payload_size);                     // may be less than asked for
int outq_flush(struct outq *outq, struct transport *transport); // 0: empty; -EAGAIN; -errno
