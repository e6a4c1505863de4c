// Cuts a byte stream into frames without copying them.
//
// A buffer is filled from its front, and what is taken are slices of it. A frame that does not fit
// in the rest of a buffer has its first part moved to a new buffer that is large enough: at most
// one move a frame. A buffer without other references is filled again from its front. Reads grow
// while they fill the room and shrink when little arrives, so a busy peer has large reads and an
// idle one holds no buffer.
//
// Invariants: start <= end <= the buffer's size; bytes before `start` belong to the takers and are
// not written again while they hold a reference. Not here: the payloads' meaning, and when to stop
// reading a peer.

#include "core/net/framer.h"

#include <errno.h>

// With its head a buffer of the first size still comes from malloc's cache of the thread: a peer
// that sends one small frame at a time costs no more than that.
#define FIRST_SIZE    1000u
#define READ_LEAST    8192u // a buffer's end is not filled with smaller reads, once they are larger
#define READ_SIZE_MAX (512u << 10)

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

// The buffer is empty and has no other reference: it can be filled from its front.
static bool is_reusable(const struct framer *framer)
{
	return framer->buf && framer->start == framer->end &&
	       __atomic_load_n(&framer->buf->refs, __ATOMIC_ACQUIRE) == 1 &&
	       framer->buf->size >= framer->read_size;
}

// 0 means that the next read needs no new buffer. Otherwise this is the size of the one that
// framer_fill() will allocate, so that a caller can charge for it first.
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
