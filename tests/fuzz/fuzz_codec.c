// A compressed payload from a stranger: never more than the limit comes out of it. What is plain
// comes back from each codec as it was.

#include "core/wire/codec.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#define LIMIT 65536u

static void there_and_back(enum frame_codec codec, struct slice plain)
{
	struct buf *packed, *back;

	if (codec_compress(codec, plain, &packed) != 0)
		return;
	assert(packed->size < plain.size);
	assert(codec_decompress(codec, (struct slice){packed->data, packed->size}, LIMIT, &back) ==
	       0);
	assert(back->size == plain.size && memcmp(back->data, plain.data, plain.size) == 0);
	buf_unref(packed);
	buf_unref(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum frame_codec codec;
	struct slice rest;
	struct buf *plain;
	int r;

	if (size < 1 || size > LIMIT)
		return 0;
	codec = data[0] & 1 ? CODEC_LZ4 : CODEC_ZSTD;
	rest = (struct slice){data + 1, size - 1};
	r = codec_decompress(codec, rest, LIMIT, &plain);
	assert(r == 0 || r == CODEC_E_CORRUPT || r == CODEC_E_TOO_LARGE);
	if (r == 0) {
		assert(plain->size <= LIMIT);
		buf_unref(plain);
	}
	there_and_back(codec, rest);
	return 0;
}
