// Frames out of a byte stream, without copying those that arrive whole.
#pragma once

#include "core/base/buf.h"
#include "core/net/transport.h"
#include "core/wire/frame.h"

// Reads into large shared buffers; a frame is a slice of one. An idle reader holds no memory.
struct framer {
	struct buf *buf;   // NULL: none held
	size_t start, end; // bytes of buf that are read and not yet taken
	size_t read_size;  // of the next buffer; grows while reads fill it
	size_t lately;     // bytes read since it last rested
	uint32_t max_payload;
	bool dry;        // the last read left room
	unsigned sender; // WIRE_BY_CLIENT or WIRE_BY_SERVER: the other end
};

struct frame {
	struct frame_header header;
	struct slice payload; // inside buf, its checksum is right
	struct buf *buf;      // borrowed: take a reference to keep the payload
};

// Positive outcomes of framer_next(); -ENOMEM.
enum {
	FRAMER_FRAME = 1,
	FRAMER_E_PROTOCOL = 2, // *ret_problem says what is wrong
	FRAMER_E_CORRUPT = 3,  // wrong checksum
};

void framer_init(struct framer *framer, unsigned sender, uint32_t max_payload);
void framer_deinit(struct framer *framer);

// Reads once; what the caller has not taken yet stays, and its memory grows. Bytes, 0 at the end of
// the stream, or negative as transport_read(); -ENOMEM.
ssize_t framer_fill(struct framer *framer, struct transport *transport);
// After a read: there was room for more, so a plain socket has nothing left for now.
bool framer_has_room(const struct framer *framer);
// Nothing is expected soon: gives memory back unless a frame has begun. A read that brings nothing
// does it too.
void framer_rest(struct framer *framer);
// Takes exactly `size` bytes that are no frame (the preface), if they are there.
const uint8_t *framer_take(struct framer *framer, size_t size);
// The next whole frame: FRAMER_FRAME; 0: there is none yet.
int framer_next(struct framer *framer, struct frame *ret, const char **ret_problem);
bool framer_partial(const struct framer *framer); // a frame has begun and is not whole
size_t framer_held(const struct framer *framer);  // bytes of memory held
size_t framer_have(const struct framer *framer);  // bytes read and not taken
// What the frame at the front needs in all; its header's size while that is not whole; 0: nothing.
size_t framer_front(const struct framer *framer);
// Bytes of the buffer that the next read would have to make; 0: none.
size_t framer_needs(const struct framer *framer);
// Memory is short: reads become small, and a buffer much larger than what it holds is replaced.
void framer_shrink(struct framer *framer);
