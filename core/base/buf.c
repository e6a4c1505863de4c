// Reference-counted buffers.
//
// The count is atomic, because a frame that was read on a loop thread may be released by an
// adapter's thread. The last reference frees the buffer, or calls its `release`, which a buffer has
// whose memory belongs to another owner.
//
// Invariant: the count is above 0 until the last reference goes, and then stays 0. It does not
// synchronise the bytes: a buffer passes to another thread through a mailbox.

#include "core/base/buf.h"

#include "core/base/util.h"

#include <errno.h>

int buf_new(size_t size, struct buf **ret)
{
	struct buf *buf;

	assert(size <= UINT32_MAX);
	buf = malloc(sizeof *buf + size);
	if (!buf)
		return -ENOMEM;
	buf->refs = 1;
	buf->size = (uint32_t)size;
	buf->release = NULL;
	*ret = buf;
	return 0;
}

struct buf *buf_ref(struct buf *buf)
{
	uint32_t before = __atomic_fetch_add(&buf->refs, 1, __ATOMIC_RELAXED);

	assert(before > 0);
	(void)before;
	return buf;
}

struct buf *buf_unref(struct buf *buf)
{
	uint32_t before;

	if (!buf)
		return NULL;
	before = __atomic_fetch_sub(&buf->refs, 1, __ATOMIC_ACQ_REL);
	assert(before > 0);
	if (before == 1) {
		if (buf->release)
			buf->release(buf);
		else
			free(buf);
	}
	return NULL;
}

void buf_unrefp(struct buf **buf)
{
	buf_unref(*buf);
}

bool buf_shared(const struct buf *buf)
{
	return __atomic_load_n(&buf->refs, __ATOMIC_ACQUIRE) > 1;
}
