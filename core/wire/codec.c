// Compresses and decompresses payloads: a size of 4 bytes, then one LZ4 block or one zstd frame.
//
// Invariants: the plain size is compared with the limit before memory for it is taken, and the
// result must have exactly that size. Bytes behind the first zstd frame, which libzstd would read
// on into, are refused. A payload that compression does not make smaller is sent plain
// (CODEC_E_LARGER).
//
// Not here: which frames may be compressed (frame.c).

#include "core/wire/codec.h"

#include <errno.h>
#include <lz4.h>
#include <zstd.h>

#define ZSTD_LEVEL 1

// The result must be at least one byte smaller than the plain payload, with its size of 4 bytes;
// payloads under 32 bytes are not worth a try.
int codec_compress(enum frame_codec codec, struct slice plain, struct buf **ret)
{
	size_t used = 0;
	struct buf *buf;
	int r;

	if (plain.size < 32 || plain.size > INT32_MAX)
		return CODEC_E_LARGER;
	r = buf_new(plain.size, &buf);
	if (r < 0)
		return r;
	if (codec == CODEC_LZ4) {
		int size = LZ4_compress_default((const char *)plain.data, (char *)buf->data + 4,
						(int)plain.size, (int)plain.size - 5);

		used = size > 0 ? (size_t)size : 0;
	} else if (codec == CODEC_ZSTD) {
		size_t size = ZSTD_compress(buf->data + 4, plain.size - 5, plain.data, plain.size,
					    ZSTD_LEVEL);

		used = ZSTD_isError(size) ? 0 : size;
	}
	if (used == 0) {
		buf_unref(buf);
		return CODEC_E_LARGER;
	}
	le32_put(buf->data, (uint32_t)plain.size);
	buf->size = (uint32_t)used + 4;
	*ret = buf;
	return 0;
}

int codec_decompress(enum frame_codec codec, struct slice packed, uint32_t max, struct buf **ret)
{
	uint32_t size;
	bool whole = false;
	struct buf *buf;
	int r;

	if (packed.size < 4 || packed.size > INT32_MAX)
		return CODEC_E_CORRUPT;
	size = le32_get(packed.data);
	if (size > max)
		return CODEC_E_TOO_LARGE;
	r = buf_new(size, &buf);
	if (r < 0)
		return r;
	if (codec == CODEC_LZ4)
		whole = LZ4_decompress_safe((const char *)packed.data + 4, (char *)buf->data,
					    (int)packed.size - 4, (int)size) == (int)size;
	else if (codec == CODEC_ZSTD)
		whole = ZSTD_findFrameCompressedSize(packed.data + 4, packed.size - 4) ==
				packed.size - 4 &&
			ZSTD_decompress(buf->data, size, packed.data + 4, packed.size - 4) == size;
	if (!whole) {
		buf_unref(buf);
		return CODEC_E_CORRUPT;
	}
	*ret = buf;
	return 0;
}
