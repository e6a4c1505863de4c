// A blocking client of the native protocol, without the SDK: for loads whose own cost must be small
// and whose frames must be the same every time.
#pragma once

#include "core/base/buf.h"
#include "core/wire/frame.h"
#include "tests/bench/args.h"

struct raw {
	int fd;
	uint64_t granted, sent;  // produce window, bytes since READY
	uint8_t *in;             // what is read and not yet taken
	size_t start, end, room; // of it
};

// Arguments: address=HOST:PORT key=ID secret=SECRET.
void raw_connect(const struct args *args, struct raw *ret);
void raw_open_topic(struct raw *raw, uint32_t stream, const char *topic);
void raw_close(struct raw *raw);

void raw_write(struct raw *raw, const void *bytes, size_t size);
void raw_fill(struct raw *raw); // reads what is there; waits only while nothing is
// The next whole frame that has been read; WINDOW and PING are seen to. False: there is none yet.
bool raw_next(struct raw *raw, struct frame_header *ret, const uint8_t **ret_payload);

// Bytes of a PRODUCE frame of `count` records with bodies of `size` bytes, on stream 1; its batch
// number is 1.
struct slice raw_frame(uint32_t count, uint32_t size);
