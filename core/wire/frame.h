// Frames of the native protocol (docs/protocol.md sections 1 and 2): header, types, preface.
#pragma once

#include "core/base/code.h"
#include "core/base/util.h"

#include <stdbool.h>

#define WIRE_PREFACE_SIZE 8
#define WIRE_HEADER_SIZE  16
#define WIRE_VERSION      1
#define WIRE_EARLY_MAX    4096 // largest payload before READY

extern const uint8_t frame_preface[WIRE_PREFACE_SIZE];

// The ends that may send a type: of a client's connection, and of a control link (core/control).
enum { WIRE_BY_CLIENT = 1, WIRE_BY_SERVER = 2, WIRE_BY_FOLLOWER = 4, WIRE_BY_LEADER = 8 };
// On which stream: 0, one that the client opened, or either.
enum { WIRE_ON_CONNECTION = 1, WIRE_ON_OWN = 2, WIRE_ON_ANY = 3 };

//     name, number, sending end, on which stream
#define FRAME_TABLE(ROW)                                                                           \
	ROW(HELLO, 0x01, WIRE_BY_CLIENT, WIRE_ON_CONNECTION)                                       \
	ROW(WELCOME, 0x02, WIRE_BY_SERVER, WIRE_ON_CONNECTION)                                     \
	ROW(AUTH, 0x03, WIRE_BY_CLIENT | WIRE_BY_SERVER, WIRE_ON_CONNECTION)                       \
	ROW(READY, 0x04, WIRE_BY_SERVER, WIRE_ON_CONNECTION)                                       \
	ROW(ERROR, 0x05, WIRE_BY_SERVER, WIRE_ON_ANY)                                              \
	ROW(PING, 0x06, WIRE_BY_CLIENT | WIRE_BY_SERVER, WIRE_ON_CONNECTION)                       \
	ROW(PONG, 0x07, WIRE_BY_CLIENT | WIRE_BY_SERVER, WIRE_ON_CONNECTION)                       \
	ROW(GOAWAY, 0x08, WIRE_BY_CLIENT | WIRE_BY_SERVER, WIRE_ON_CONNECTION)                     \
	ROW(ADDRESSES, 0x09, WIRE_BY_SERVER, WIRE_ON_CONNECTION)                                   \
	ROW(THROTTLE, 0x0A, WIRE_BY_SERVER, WIRE_ON_ANY)                                           \
	ROW(OPEN_TOPIC, 0x10, WIRE_BY_CLIENT, WIRE_ON_OWN)                                         \
	ROW(TOPIC_OPENED, 0x11, WIRE_BY_SERVER, WIRE_ON_OWN)                                       \
	ROW(SUBSCRIBE, 0x12, WIRE_BY_CLIENT, WIRE_ON_OWN)                                          \
	ROW(SUBSCRIBED, 0x13, WIRE_BY_SERVER, WIRE_ON_OWN)                                         \
	ROW(CLOSE, 0x14, WIRE_BY_CLIENT, WIRE_ON_OWN)                                              \
	ROW(CLOSED, 0x15, WIRE_BY_SERVER, WIRE_ON_OWN)                                             \
	ROW(PRODUCE, 0x20, WIRE_BY_CLIENT, WIRE_ON_OWN)                                            \
	ROW(PRODUCED, 0x21, WIRE_BY_SERVER, WIRE_ON_OWN)                                           \
	ROW(WINDOW, 0x22, WIRE_BY_SERVER, WIRE_ON_CONNECTION)                                      \
	ROW(CREDIT, 0x30, WIRE_BY_CLIENT, WIRE_ON_OWN)                                             \
	ROW(DELIVER, 0x31, WIRE_BY_SERVER, WIRE_ON_OWN)                                            \
	ROW(SETTLE, 0x32, WIRE_BY_CLIENT, WIRE_ON_OWN)                                             \
	ROW(SETTLED, 0x33, WIRE_BY_SERVER, WIRE_ON_OWN)                                            \
	ROW(DRAINED, 0x34, WIRE_BY_SERVER, WIRE_ON_OWN)                                            \
	ROW(LINK_JOIN, 0x40, WIRE_BY_FOLLOWER, WIRE_ON_CONNECTION)                                 \
	ROW(LINK_JOINED, 0x41, WIRE_BY_LEADER, WIRE_ON_CONNECTION)                                 \
	ROW(LINK_HELLO, 0x42, WIRE_BY_FOLLOWER, WIRE_ON_CONNECTION)                                \
	ROW(LINK_WELCOME, 0x43, WIRE_BY_LEADER, WIRE_ON_CONNECTION)                                \
	ROW(LINK_REFUSED, 0x44, WIRE_BY_LEADER, WIRE_ON_CONNECTION)                                \
	ROW(LINK_FOLLOW, 0x45, WIRE_BY_FOLLOWER, WIRE_ON_CONNECTION)                               \
	ROW(LINK_SLICE, 0x46, WIRE_BY_LEADER, WIRE_ON_CONNECTION)                                  \
	ROW(LINK_CURRENT, 0x47, WIRE_BY_LEADER, WIRE_ON_CONNECTION)                                \
	ROW(LINK_STATUS, 0x48, WIRE_BY_FOLLOWER, WIRE_ON_CONNECTION)

#define FRAME_ENUM(name, number, sender, place) FRAME_##name = number,
enum frame_type { FRAME_TABLE(FRAME_ENUM) };
#undef FRAME_ENUM

enum { FRAME_CODEC_MASK = 3, FRAME_ONEWAY = 4 };
enum frame_codec { CODEC_NONE = 0, CODEC_LZ4 = 1, CODEC_ZSTD = 2 };

// Bits of the features that both sides may name (docs/protocol.md section 9).
enum { FEATURE_SETTLE_RUNS = 1, FEATURE_BEGUN = 2, FEATURES_KNOWN = 3 };

struct frame_header {
	uint32_t size; // of the payload
	uint32_t stream;
	uint32_t crc;
	uint8_t type;
	uint8_t flags;
};

const char *frame_name(uint8_t type); // "PRODUCE"; NULL: unknown

// Decodes and checks a header that `sender` sent, before any of the payload is read. NULL: fine;
// else what is wrong, for ERROR(PROTOCOL).
const char *frame_decode(const uint8_t *bytes, unsigned sender, uint32_t max_payload,
			 struct frame_header *ret);

void frame_encode(uint8_t *bytes, const struct frame_header *header);

// Writes the header in front of a payload that stands at bytes + WIRE_HEADER_SIZE, with its
// checksum.
void frame_seal(uint8_t *bytes, uint8_t type, uint8_t flags, uint32_t stream,
		uint32_t payload_size);

bool frame_crc_ok(const struct frame_header *header, const uint8_t *payload);
