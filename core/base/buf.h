// Reference-counted byte buffer: what a socket read fills, an adapter submits and a delivery points
// into, without a copy.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	uint32_t refs;                    // atomic
	uint32_t size;                    // bytes of data that may be used
	void (*release)(struct buf *buf); // called at the last unref; NULL: free(buf)
	uint8_t data[];
};

// A run of bytes in a buffer. The slice holds no reference by itself; a caller that keeps it takes
// one.
struct slice {
	const uint8_t *data;
	size_t size;
};

int buf_new(size_t size, struct buf **ret); // -ENOMEM; @thread any
struct buf *buf_ref(struct buf *buf);       // @thread any
struct buf *buf_unref(struct buf *buf);     // returns NULL; accepts NULL; @thread any
void buf_unrefp(struct buf **buf);
bool buf_shared(const struct buf *buf); // has another reference; @thread any
