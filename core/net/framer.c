// In: a buffer is filled from the front; what is taken are slices of it. When a frame does not fit
// in what is left of a buffer its first part moves to a new one that is large enough: at most one
// move a frame. A buffer that nobody else references is used again from its front. Out: a ring of
// parts, written with one gathering call for as many as the system takes.

#include "core/net/framer.h"

#include <errno.h>

// With its head a buffer of the first size still comes from malloc's cache of the thread: who sends
// or is sent one small frame at a time costs no more than that.
#define FIRST_SIZE    1000u
#define READ_LEAST    8192u // a buffer's end is not filled with smaller reads, once they are larger
#define READ_SIZE_MAX (512u << 10)
#define SMALL_SIZE    4096u
#define WRITE_PARTS   64

void framer_init(struct framer *framer, unsigned sender, uint32_t max_payload)
{
	*framer = (struct framer){
		.sender = sender, .max_payload = max_payload, .read_size = FIRST_SIZE};
}

void framer_deinit(struct framer *framer)
{
	framer->buf = buf_unref(framer->buf);
}

// Bytes that the frame at the front needs in all; the header alone while that is not whole.
static size_t front_size(const struct framer *framer)
{
	size_t have = framer->end - framer->start;

	if (have < WIRE_HEADER_SIZE)
		return WIRE_HEADER_SIZE;
	return WIRE_HEADER_SIZE +
	       (size_t)MIN(le32_get(framer->buf->data + framer->start), framer->max_payload);
}

// Nobody else holds the buffer and nothing is left in it: it can be filled from its front.
static bool is_reusable(const struct framer *framer)
{
	return framer->buf && framer->start == framer->end &&
	       __atomic_load_n(&framer->buf->refs, __ATOMIC_ACQUIRE) == 1 &&
	       framer->buf->size >= framer->read_size;
}

size_t framer_needs(const struct framer *framer)
{
	size_t have = framer->end - framer->start, least = MIN(framer->read_size, READ_LEAST),
	       needed = framer->buf && have ? front_size(framer) : 0;

	if (is_reusable(framer))
		return 0;
	if (framer->buf && have && framer->start + needed <= framer->buf->size &&
	    framer->end < framer->buf->size)
		return 0;
	if (framer->buf && !have && framer->buf->size - framer->end >= least)
		return 0;
	// All that is there moves, be it one frame or many that the caller has not taken yet.
	return MAX(framer->read_size, MAX(needed, have) + least);
}

// Moves what is there to a new buffer of that size.
static int buffer_replace(struct framer *framer, size_t size)
{
	size_t have = framer->end - framer->start;
	struct buf *buf;
	int r = buf_new(size, &buf);

	if (r < 0)
		return r;
	if (framer->buf && have)
		memcpy(buf->data, framer->buf->data + framer->start, have);
	buf_unref(framer->buf);
	framer->buf = buf;
	framer->start = 0;
	framer->end = have;
	return 0;
}

static int room_make(struct framer *framer)
{
	size_t size = framer_needs(framer);

	if (size)
		return buffer_replace(framer, size);
	if (is_reusable(framer))
		framer->start = framer->end = 0;
	return 0;
}

ssize_t framer_fill(struct framer *framer, struct transport *transport)
{
	ssize_t got;
	size_t room;
	int r = room_make(framer);

	if (r < 0)
		return r;
	room = MIN(framer->buf->size - framer->end, READ_SIZE_MAX);
	got = transport_read(transport, framer->buf->data + framer->end, room);
	framer->dry = got > 0 && (size_t)got < room;
	if (got > 0) {
		framer->end += (size_t)got;
		framer->lately += (size_t)got;
		if ((size_t)got == room && framer->read_size < READ_SIZE_MAX)
			framer->read_size *= 2;
	} else {
		framer_rest(framer);
	}
	return got;
}

bool framer_has_room(const struct framer *framer)
{
	return framer->buf && framer->dry;
}

void framer_rest(struct framer *framer)
{
	if (framer->start != framer->end)
		return;
	framer->buf = buf_unref(framer->buf);
	framer->start = framer->end = 0;
	if (framer->lately < framer->read_size / 4)
		framer->read_size = MAX(FIRST_SIZE, framer->read_size / 2);
	framer->lately = 0;
}

const uint8_t *framer_take(struct framer *framer, size_t size)
{
	const uint8_t *at;

	if (framer->end - framer->start < size)
		return NULL;
	at = framer->buf->data + framer->start;
	framer->start += size;
	return at;
}

int framer_next(struct framer *framer, struct frame *ret, const char **ret_problem)
{
	size_t have = framer->end - framer->start;
	const uint8_t *at;
	const char *problem;

	if (have < WIRE_HEADER_SIZE)
		return 0;
	at = framer->buf->data + framer->start;
	problem = frame_decode(at, framer->sender, framer->max_payload, &ret->header);
	if (problem) {
		*ret_problem = problem;
		return FRAMER_E_PROTOCOL;
	}
	if (have < WIRE_HEADER_SIZE + (size_t)ret->header.size)
		return 0;
	if (!frame_crc_ok(&ret->header, at + WIRE_HEADER_SIZE)) {
		*ret_problem = "the checksum of a frame is wrong";
		return FRAMER_E_CORRUPT;
	}
	ret->payload = (struct slice){at + WIRE_HEADER_SIZE, ret->header.size};
	ret->buf = framer->buf;
	framer->start += WIRE_HEADER_SIZE + ret->header.size;
	return FRAMER_FRAME;
}

bool framer_partial(const struct framer *framer)
{
	return framer->end > framer->start;
}

size_t framer_held(const struct framer *framer)
{
	return framer->buf ? framer->buf->size : 0;
}

size_t framer_have(const struct framer *framer)
{
	return framer->end - framer->start;
}

size_t framer_front(const struct framer *framer)
{
	return framer->end > framer->start ? front_size(framer) : 0;
}

void framer_shrink(struct framer *framer)
{
	size_t have = framer->end - framer->start,
	       fit = MAX(framer_front(framer), have) + FIRST_SIZE;

	framer->read_size = MIN(framer->read_size, READ_LEAST);
	if (framer->buf && framer->buf->size > 2 * fit)
		buffer_replace(framer, fit); // without memory it stays as it is
}

// ---- out

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

static void written(struct outq *outq, size_t size)
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
		written(outq, (size_t)sent);
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
