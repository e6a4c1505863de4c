// Compressed payloads (docs/protocol.md section 2): u32 plain size, then one LZ4 block or one
// Zstandard frame.
#pragma once

#include "core/base/buf.h"
#include "core/wire/frame.h"

#define CODEC_ALL ((1u << CODEC_NONE) | (1u << CODEC_LZ4) | (1u << CODEC_ZSTD))

// Compresses; the result's data begins with the plain size. Positive CODEC_E_LARGER: it would not
// get smaller, send it plain.
enum { CODEC_E_LARGER = 1, CODEC_E_CORRUPT = 2, CODEC_E_TOO_LARGE = 3 };
int codec_compress(enum frame_codec codec, struct slice plain,
		   struct buf **ret); // ret->size is what was used

// Positive CODEC_E_CORRUPT, or CODEC_E_TOO_LARGE when the plain size is above `max` (nothing is
// decompressed then).
int codec_decompress(enum frame_codec codec, struct slice packed, uint32_t max, struct buf **ret);
