// What is still to be written to a peer.
//
// A ring of parts, written with one gathering call for as many as the system takes. A part holds a
// reference to its buffer until it is written. Small frames are gathered in one buffer, and a part
// that follows its predecessor in memory extends it.
//
// Invariant: `bytes` is the sum of all parts, and no part is empty. An empty queue holds next to no
// memory. Not here: a bound of the queue; its owners look at `bytes`.

#include "core/net/outq.h"
#include "core/wire/frame.h"

#include <errno.h>

// With its head a buffer of the first size still comes from malloc's cache of the thread: a peer
// that is sent one small frame at a time costs no more than that.
#define FIRST_SIZE  1000u
#define SMALL_SIZE  4096u
#define WRITE_PARTS 64

void outq_init(struct outq *outq)
{
	*outq = (struct outq){0};
}

static struct outq_part *part_at(const struct outq *outq, uint32_t index)
{
	return &outq->parts[(outq->head + index) & (outq->room - 1)];
}

void outq_deinit(struct outq *outq)
{
	for (uint32_t i = 0; i < outq->count; ++i)
		buf_unref(part_at(outq, i)->buf);
	buf_unref(outq->small);
	free(outq->parts);
	*outq = (struct outq){0};
}

static int ring_grow(struct outq *outq)
{
	uint32_t room = outq->room ? 2 * outq->room : 4;
	struct outq_part *parts = malloc(room * sizeof *parts);

	if (!parts)
		return -ENOMEM;
	for (uint32_t i = 0; i < outq->count; ++i)
		parts[i] = *part_at(outq, i);
	free(outq->parts);
	outq->parts = parts;
	outq->room = room;
	outq->head = 0;
	return 0;
}

int outq_add(struct outq *outq, struct buf *buf, const uint8_t *data, size_t size)
{
	struct outq_part *last = outq->count ? part_at(outq, outq->count - 1) : NULL;
	int r;

	assert(size > 0); // a part of nothing would never be written away
	outq->bytes += size;
	if (last && last->buf == buf && last->data + last->size == data) {
		last->size += size;
		return 0;
	}
	if (outq->count == outq->room) {
		r = ring_grow(outq);
		if (r < 0) {
			outq->bytes -= size;
			return r;
		}
	}
	*part_at(outq, outq->count++) = (struct outq_part){buf_ref(buf), data, size};
	return 0;
}

int outq_add_preface(struct outq *outq)
{
	struct buf *buf;
	int r = buf_new(WIRE_PREFACE_SIZE, &buf);

	if (r < 0)
		return r;
	memcpy(buf->data, frame_preface, WIRE_PREFACE_SIZE);
	r = outq_add(outq, buf, buf->data, WIRE_PREFACE_SIZE);
	buf_unref(buf);
	return r;
}

int outq_small(struct outq *outq, uint32_t payload_size, uint8_t **ret_payload)
{
	uint32_t needed = WIRE_HEADER_SIZE + payload_size;
	int r;

	if (!outq->small || outq->small->size - outq->small_used < needed) {
		struct buf *buf;

		r = buf_new(MAX(outq->small ? SMALL_SIZE : FIRST_SIZE, needed), &buf);
		if (r < 0)
			return r;
		buf_unref(outq->small);
		outq->small = buf;
		outq->small_used = 0;
	}
	*ret_payload = outq->small->data + outq->small_used + WIRE_HEADER_SIZE;
	return 0;
}

int outq_small_done(struct outq *outq, uint8_t *payload, uint8_t type, uint32_t stream,
		    uint32_t payload_size)
{
	uint8_t *frame = payload - WIRE_HEADER_SIZE;

	frame_seal(frame, type, 0, stream, payload_size);
	outq->small_used += WIRE_HEADER_SIZE + payload_size;
	return outq_add(outq, outq->small, frame, WIRE_HEADER_SIZE + payload_size);
}

// The kernel may take any part of what was offered, also half a part: its front moves on.
static void drop_written(struct outq *outq, size_t size)
{
	outq->bytes -= size;
	while (size > 0) {
		struct outq_part *part = part_at(outq, 0);
		size_t step = MIN(size, part->size);

		part->data += step;
		part->size -= step;
		size -= step;
		if (part->size == 0) {
			buf_unref(part->buf);
			outq->head = (outq->head + 1) & (outq->room - 1);
			--outq->count;
		}
	}
}

int outq_flush(struct outq *outq, struct transport *transport)
{
	while (outq->count) {
		struct iovec parts[WRITE_PARTS];
		int count = (int)MIN(outq->count, (uint32_t)WRITE_PARTS);
		ssize_t sent;

		for (int i = 0; i < count; ++i) {
			const struct outq_part *part = part_at(outq, (uint32_t)i);

			parts[i] = (struct iovec){(void *)(uintptr_t)part->data, part->size};
		}
		sent = transport_writev(transport, parts, count);
		if (sent < 0)
			return (int)sent;
		drop_written(outq, (size_t)sent);
	}
	// Idle connections keep next to nothing: what is gathered next starts a new buffer.
	outq->small = buf_unref(outq->small);
	outq->small_used = 0;
	if (outq->room > 8) {
		free(outq->parts);
		outq->parts = NULL;
		outq->room = outq->head = 0;
	}
	return 0;
}
