// core/net/framer: frames through a socket pair in every cutting, and what is refused.

#include "core/net/framer.h"
#include "core/net/outq.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <sys/socket.h>

static struct transport ours, theirs;

static void pair_open(void)
{
	int fds[2];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	transport_init(&ours, fds[0]);
	transport_init(&theirs, fds[1]);
}

static void pair_close(void)
{
	transport_deinit(&ours);
	transport_deinit(&theirs);
}

static uint8_t stream[600000];

// Frames of rising sizes, the payload filled with the frame's number.
static size_t stream_make(unsigned frames)
{
	size_t at = 0;

	for (unsigned i = 0; i < frames; ++i) {
		uint32_t size = i * 977 % 9001;

		memset(stream + at + WIRE_HEADER_SIZE, (int)i, size);
		frame_seal(stream + at, FRAME_PRODUCE, 0, i + 1, size);
		at += WIRE_HEADER_SIZE + size;
	}
	return at;
}

static unsigned take_all(struct framer *framer, unsigned number, struct buf **kept)
{
	struct frame frame;
	const char *problem;
	int r;

	while ((r = framer_next(framer, &frame, &problem)) == FRAMER_FRAME) {
		CHECK_EQ(frame.header.stream, number + 1);
		CHECK_EQ(frame.payload.size, number * 977 % 9001);
		for (size_t i = 0; i < frame.payload.size; ++i)
			CHECK_EQ(frame.payload.data[i], number & 0xff);
		if (number % 3 == 0) {
			buf_unref(*kept);
			*kept = buf_ref(frame.buf);
		}
		++number;
	}
	CHECK_EQ(r, 0);
	return number;
}

static void every_cutting(void)
{
	enum { FRAMES = 100 };
	size_t size = stream_make(FRAMES);

	for (size_t step = 1; step < 70000; step = step * 3 + 7) {
		struct framer framer;
		struct buf *kept = NULL;
		unsigned number = 0;

		pair_open();
		framer_init(&framer, WIRE_BY_CLIENT, 9001);
		for (size_t at = 0; at < size;) {
			ssize_t sent = write(theirs.fd, stream + at, MIN(step, size - at));

			at += sent > 0 ? (size_t)sent : 0;
			while (framer_fill(&framer, &ours) > 0)
				number = take_all(&framer, number, &kept);
		}
		CHECK_EQ(number, FRAMES);
		CHECK_EQ(framer_held(&framer), 0);
		buf_unref(kept);
		framer_deinit(&framer);
		pair_close();
	}
}

// A caller that does not take what is there (its own output is full) may go on reading.
static void read_ahead(void)
{
	enum { BIG = 200000, SMALL = 16000, FRAME = WIRE_HEADER_SIZE + 8 };
	_cleanup_(freep) uint8_t *bytes = malloc(WIRE_HEADER_SIZE + BIG);
	struct framer framer;
	struct frame frame;
	const char *problem;
	size_t sent = 0;
	unsigned got = 0;

	pair_open();
	framer_init(&framer, WIRE_BY_CLIENT, BIG);
	memset(bytes, 0, WIRE_HEADER_SIZE + BIG);
	frame_seal(bytes, FRAME_PRODUCE, 0, 1, BIG);
	while (framer_next(&framer, &frame, &problem) != FRAMER_FRAME) {
		ssize_t step = write(theirs.fd, bytes + sent, WIRE_HEADER_SIZE + BIG - sent);

		sent += step > 0 ? (size_t)step : 0;
		CHECK(framer_fill(&framer, &ours) > 0);
	}
	for (unsigned i = 0; i < SMALL; ++i) {
		le64_put(bytes + WIRE_HEADER_SIZE, i);
		frame_seal(bytes, FRAME_PING, 0, 0, 8);
		CHECK_EQ(write(theirs.fd, bytes, FRAME), FRAME);
		if (i % 100 == 99)
			CHECK(framer_fill(&framer, &ours) > 0);
	}
	for (; framer_next(&framer, &frame, &problem) == FRAMER_FRAME; ++got)
		CHECK_EQ(le64_get(frame.payload.data), got);
	while (framer_fill(&framer, &ours) > 0)
		for (; framer_next(&framer, &frame, &problem) == FRAMER_FRAME; ++got)
			CHECK_EQ(le64_get(frame.payload.data), got);
	CHECK_EQ(got, SMALL);
	framer_deinit(&framer);
	pair_close();
}

static void resting(void)
{
	enum { SIZE = 100 };
	uint8_t bytes[WIRE_HEADER_SIZE + SIZE] = {0};
	struct framer framer;
	struct frame frame;
	const char *problem;

	pair_open();
	framer_init(&framer, WIRE_BY_CLIENT, SIZE);
	CHECK(!framer_has_room(&framer));
	frame_seal(bytes, FRAME_PRODUCE, 0, 1, SIZE);
	CHECK_EQ(write(theirs.fd, bytes, sizeof bytes - 1), (ssize_t)sizeof bytes - 1);
	CHECK(framer_fill(&framer, &ours) > 0);
	CHECK(framer_has_room(&framer));
	framer_rest(&framer); // a frame has begun: it stays
	CHECK_EQ(write(theirs.fd, bytes + sizeof bytes - 1, 1), 1);
	CHECK(framer_fill(&framer, &ours) > 0);
	CHECK_EQ(framer_next(&framer, &frame, &problem), FRAMER_FRAME);
	CHECK(framer_held(&framer) > 0);
	framer_rest(&framer);
	CHECK_EQ(framer_held(&framer), 0);
	framer_deinit(&framer);
	pair_close();
}

static int refuse(const uint8_t *bytes, size_t size)
{
	struct framer framer;
	struct frame frame;
	const char *problem = NULL;
	int r;

	pair_open();
	framer_init(&framer, WIRE_BY_CLIENT, 100);
	CHECK_EQ(write(theirs.fd, bytes, size), (ssize_t)size);
	CHECK_EQ(framer_fill(&framer, &ours), (ssize_t)size);
	r = framer_next(&framer, &frame, &problem);
	CHECK((r > FRAMER_FRAME) == (problem != NULL));
	framer_deinit(&framer);
	pair_close();
	return r;
}

static void refusals(void)
{
	uint8_t bytes[WIRE_HEADER_SIZE + 4] = {0};

	frame_seal(bytes, FRAME_PRODUCE, 0, 1, 4);
	CHECK_EQ(refuse(bytes, sizeof bytes), FRAMER_FRAME);
	CHECK_EQ(refuse(bytes, sizeof bytes - 1), 0);
	bytes[WIRE_HEADER_SIZE] ^= 1;
	CHECK_EQ(refuse(bytes, sizeof bytes), FRAMER_E_CORRUPT);
	le32_put(bytes, 101);
	CHECK_EQ(refuse(bytes, WIRE_HEADER_SIZE),
		 FRAMER_E_PROTOCOL); // before a byte of the payload
}

static void writes_in_order(void)
{
	enum { FRAMES = 5000 };
	struct outq outq;
	struct framer framer;
	struct buf *large;
	unsigned sent = 0, got = 0;

	pair_open();
	outq_init(&outq);
	framer_init(&framer, WIRE_BY_SERVER, 1 << 20);
	CHECK_EQ(buf_new(WIRE_HEADER_SIZE + 3000, &large), 0);
	memset(large->data, 'x', large->size);
	while (got < FRAMES) {
		struct frame frame;
		const char *problem;

		for (; sent < FRAMES && outq.bytes < 100000; ++sent) {
			uint8_t *payload;

			if (sent % 10 == 9) {
				frame_seal(large->data, FRAME_PRODUCED, 0, 1, 3000);
				CHECK_EQ(outq_add(&outq, large, large->data, large->size), 0);
				continue;
			}
			CHECK_EQ(outq_small(&outq, 8, &payload), 0);
			le64_put(payload, sent);
			CHECK_EQ(outq_small_done(&outq, payload, FRAME_PONG, 0, 8), 0);
		}
		int r = outq_flush(&outq, &theirs);
		CHECK(r == 0 || r == -EAGAIN);
		while (framer_fill(&framer, &ours) > 0) {
			while (framer_next(&framer, &frame, &problem) == FRAMER_FRAME) {
				if (got % 10 == 9)
					CHECK_EQ(frame.payload.size, 3000);
				else
					CHECK_EQ(le64_get(frame.payload.data), got);
				++got;
			}
		}
	}
	CHECK_EQ(outq.bytes, 0);
	CHECK_EQ(large->refs, 1);
	CHECK(outq.room * sizeof *outq.parts <= 256 && !outq.small); // an idle connection is small
	buf_unref(large);
	outq_deinit(&outq);
	framer_deinit(&framer);
	pair_close();
}

// A buffer is given up while a frame is half there, and the frame becomes whole all the same; what
// a read will need is told before it is taken.
static void shrinking(void)
{
	size_t size = stream_make(60);

	for (size_t step = 100; step < 40000; step = step * 2 + 7) {
		struct framer framer;
		struct buf *kept = NULL;
		unsigned number = 0;

		pair_open();
		framer_init(&framer, WIRE_BY_CLIENT, 9001);
		for (size_t at = 0; at < size;) {
			ssize_t sent = write(theirs.fd, stream + at, MIN(step, size - at));

			at += sent > 0 ? (size_t)sent : 0;
			for (;;) {
				size_t held = framer_held(&framer), needs = framer_needs(&framer);

				if (framer_fill(&framer, &ours) <= 0)
					break;
				CHECK_EQ(framer_held(&framer), needs ? needs : held);
				number = take_all(&framer, number, &kept);
				framer_shrink(&framer);
				if (framer_partial(&framer))
					CHECK(framer_held(&framer) <=
					      2 * (framer_front(&framer) + 1000));
			}
		}
		CHECK_EQ(number, 60);
		CHECK_EQ(framer_have(&framer), 0);
		CHECK_EQ(framer_front(&framer), 0);
		buf_unref(kept);
		framer_deinit(&framer);
		pair_close();
	}
}

UNIT_MAIN(UNIT_CASE(every_cutting), UNIT_CASE(shrinking), UNIT_CASE(read_ahead), UNIT_CASE(resting),
	  UNIT_CASE(refusals), UNIT_CASE(writes_in_order))
