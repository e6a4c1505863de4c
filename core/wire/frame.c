// The head of a frame: 16 bytes with size, type, flags, stream and the checksum of the payload.
//
// One table says for each type which side sends it and on which streams. A head is refused before a
// byte of its payload is read, so a hostile size costs no memory. Not here: the payloads' contents
// (the other files of this folder).

#include "core/wire/frame.h"

#include "core/base/crc32c.h"

const uint8_t frame_preface[WIRE_PREFACE_SIZE] = {0xcd, 'M',  'Q',  'P',
						  '\r', '\n', 0x1a, WIRE_VERSION};

#define FRAME_ROW(name, number, sender, place) [number] = {#name, sender, place},
static const struct {
	const char *name;
	uint8_t sender;
	uint8_t place;
} types[0x60] = {FRAME_TABLE(FRAME_ROW)};
#undef FRAME_ROW

const char *frame_name(uint8_t type)
{
	return type < ARRAY_SIZE(types) ? types[type].name : NULL;
}

static const char *flags_check(uint8_t type, uint8_t flags)
{
	if (flags & ~(FRAME_CODEC_MASK | FRAME_ONEWAY) ||
	    (flags & FRAME_CODEC_MASK) == FRAME_CODEC_MASK)
		return "unknown frame flags";
	if ((flags & FRAME_ONEWAY) && type != FRAME_PRODUCE)
		return "the flag ONEWAY belongs to PRODUCE only";
	if ((flags & FRAME_CODEC_MASK) && type != FRAME_PRODUCE && type != FRAME_DELIVER)
		return "only PRODUCE and DELIVER may be compressed";
	return NULL;
}

const char *frame_decode(const uint8_t *bytes, unsigned sender, uint32_t max_payload,
			 struct frame_header *ret)
{
	struct frame_header header = {
		.size = le32_get(bytes),
		.type = bytes[4],
		.flags = bytes[5],
		.stream = le32_get(bytes + 8),
		.crc = le32_get(bytes + 12),
	};

	if (header.type >= ARRAY_SIZE(types) || !(types[header.type].sender & sender))
		return "unknown frame type, or one that the other side sends";
	if (header.size > max_payload)
		return "the frame is larger than allowed";
	if (le16_get(bytes + 6) != 0)
		return "the reserved field is not 0";
	if (!(types[header.type].place & (header.stream ? WIRE_ON_OWN : WIRE_ON_CONNECTION)))
		return header.stream ? "this type belongs to stream 0"
				     : "this type does not belong to stream 0";
	if (header.stream > INT32_MAX)
		return "stream ids end at 2147483647";
	if (header.flags) {
		const char *problem = flags_check(header.type, header.flags);

		if (problem)
			return problem;
	}
	*ret = header;
	return NULL;
}

void frame_encode(uint8_t *bytes, const struct frame_header *header)
{
	le32_put(bytes, header->size);
	bytes[4] = header->type;
	bytes[5] = header->flags;
	le16_put(bytes + 6, 0);
	le32_put(bytes + 8, header->stream);
	le32_put(bytes + 12, header->crc);
}

void frame_seal(uint8_t *bytes, uint8_t type, uint8_t flags, uint32_t stream, uint32_t payload_size)
{
	struct frame_header header = {
		.size = payload_size,
		.type = type,
		.flags = flags,
		.stream = stream,
		.crc = payload_size ? crc32c(0, bytes + WIRE_HEADER_SIZE, payload_size) : 0,
	};

	frame_encode(bytes, &header);
}

bool frame_crc_ok(const struct frame_header *header, const uint8_t *payload)
{
	return (header->size ? crc32c(0, payload, header->size) : 0) == header->crc;
}
