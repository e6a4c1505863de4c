// A byte stream from a stranger, in pieces: the framer finds the same frames in it as one look at
// the whole does, whatever the pieces, and stops at the same fault.
//
// First byte: who sends (bit 7), how large the pieces are, and whether frames are taken late.

#include "core/net/framer.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <sys/socket.h>

#define MAX_PAYLOAD 5000u

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

static struct seen pieces(const uint8_t *data, size_t size, unsigned sender, size_t piece,
			  bool late)
{
	struct transport ours;
	struct framer framer;
	struct seen seen = {0};
	int fds[2];

	assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
	transport_init(&ours, fds[0]);
	framer_init(&framer, sender, MAX_PAYLOAD);
	for (size_t at = 0; at < size && seen.end == 0; at += MIN(piece, size - at)) {
		assert(write(fds[1], data + at, MIN(piece, size - at)) > 0);
		while (framer_fill(&framer, &ours) > 0)
			if (!late)
				take(&framer, &seen);
	}
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
	unsigned sender;

	if (size < 1)
		return 0;
	sender = data[0] & 0x80 ? WIRE_BY_SERVER : WIRE_BY_CLIENT;
	whole = look(data + 1, size - 1, sender);
	cut = pieces(data + 1, size - 1, sender, 1 + (data[0] & 0x3fu) * 37, data[0] & 0x40);
	assert(whole.frames == cut.frames && whole.sum == cut.sum && whole.end == cut.end);
	return 0;
}
