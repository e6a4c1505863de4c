// The native protocol (docs/protocol.md) as one of those that connections speak.
#pragma once

#include "core/base/map.h"
#include "core/net/framer.h"
#include "proxy/client/conn.h"

struct handshake;

enum native_state {
	NATIVE_PREFACE, // its first 8 bytes are awaited
	NATIVE_HELLO,
	NATIVE_AUTH,  // the client's first SCRAM message is awaited
	NATIVE_FINAL, // its second
	NATIVE_READY
};

// What a connection of it has beside struct conn.
struct native {
	struct framer framer;
	struct handshake *handshake; // until READY
	struct map streams;          // struct stream by stream id
	uint32_t closing;            // streams whose CLOSED waits for answers
	uint32_t codecs, features;   // bits, agreed upon
	uint8_t state;               // enum native_state
};

extern const struct conn_ops native_conn_ops;

static inline struct native *native_of(const struct conn *conn)
{
	return conn->protocol;
}
