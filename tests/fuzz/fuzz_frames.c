// A byte stream from a stranger, in pieces: the framer finds the same frames in it as one look at
// the whole does, whatever the pieces, and stops at the same fault.
//
// Three bytes say how: which side sends (bit 7) and how large the pieces are; in which read of a
// round the frames that are there are taken; how long a round is, and whether each piece is read
// until nothing is left (bit 7). A caller whose own output is full reads on without taking.

#include "core/net/framer.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <sys/socket.h>

#define MAX_PAYLOAD 40000u // a frame may need more than a buffer usually has

struct seen {
	uint32_t frames, sum; // how many, and a sum over their types, streams and payloads
	int end;              // of framer_next
};

static void frame_seen(struct seen *seen, const struct frame_header *header, const uint8_t *payload)
{
	++seen->frames;
	seen->sum = seen->sum * 31 + header->type + header->stream + header->flags;
	for (uint32_t i = 0; i < header->size; ++i)
		seen->sum = seen->sum * 31 + payload[i];
}

// The whole at once, as plainly as it can be said.
static struct seen look(const uint8_t *data, size_t size, unsigned sender)
{
	struct seen seen = {0};
	struct frame_header header;

	for (size_t at = 0; size - at >= WIRE_HEADER_SIZE; at += WIRE_HEADER_SIZE + header.size) {
		if (frame_decode(data + at, sender, MAX_PAYLOAD, &header)) {
			seen.end = FRAMER_E_PROTOCOL;
			break;
		}
		if (size - at - WIRE_HEADER_SIZE < header.size)
			break;
		if (!frame_crc_ok(&header, data + at + WIRE_HEADER_SIZE)) {
			seen.end = FRAMER_E_CORRUPT;
			break;
		}
		frame_seen(&seen, &header, data + at + WIRE_HEADER_SIZE);
	}
	return seen;
}

static void take(struct framer *framer, struct seen *seen)
{
	struct frame frame;
	const char *problem = NULL;

	while ((seen->end = framer_next(framer, &frame, &problem)) == FRAMER_FRAME) {
		struct buf *kept = buf_ref(frame.buf);

		frame_seen(seen, &frame.header, frame.payload.data);
		buf_unref(kept);
	}
	assert((seen->end > FRAMER_FRAME) == (problem != NULL));
}

struct how {
	size_t piece;
	unsigned turn, round; // frames are taken in the read number `turn` of each `round` reads
	bool drain;
};

static void read_piece(struct framer *framer, struct transport *ours, const struct how *how,
		       unsigned *reads, struct seen *seen)
{
	while (seen->end == 0 && framer_fill(framer, ours) > 0) {
		if ((*reads)++ % how->round == how->turn % how->round)
			take(framer, seen);
		if (!how->drain)
			return;
	}
}

static struct seen pieces(const uint8_t *data, size_t size, unsigned sender, const struct how *how)
{
	struct transport ours;
	struct framer framer;
	struct seen seen = {0};
	struct how rest = {.round = 1, .drain = true};
	unsigned reads = 0;
	int fds[2];

	assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
	transport_init(&ours, fds[0]);
	framer_init(&framer, sender, MAX_PAYLOAD);
	for (size_t at = 0; at < size && seen.end == 0; at += MIN(how->piece, size - at)) {
		assert(write(fds[1], data + at, MIN(how->piece, size - at)) > 0);
		read_piece(&framer, &ours, how, &reads, &seen);
	}
	read_piece(&framer, &ours, &rest, &reads, &seen);
	if (seen.end == 0)
		take(&framer, &seen);
	framer_deinit(&framer);
	transport_deinit(&ours);
	close(fds[1]);
	return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen whole, cut;
	struct how how;
	unsigned sender;

	if (size < 3)
		return 0;
	sender = data[0] & 0x80 ? WIRE_BY_SERVER : WIRE_BY_CLIENT;
	how = (struct how){
		.piece = 1 + (data[0] & 0x7fu) * 37,
		.turn = data[1],
		.round = 1u << (data[2] & 0x7f) % 10,
		.drain = data[2] & 0x80,
	};
	whole = look(data + 3, size - 3, sender);
	cut = pieces(data + 3, size - 3, sender, &how);
	assert(whole.frames == cut.frames && whole.sum == cut.sum && whole.end == cut.end);
	return 0;
}
