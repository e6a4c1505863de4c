// A link inside: shared by link.c (frames, streams) and handshake.c (connecting, authentication).
#pragma once

#include "core/base/map.h"
#include "core/net/framer.h"
#include "core/net/outq.h"
#include "core/wire/fields.h"
#include "sdk/c/src/client.h"
#include "sdk/c/src/resolve.h"

enum link_state {
	LINK_RESOLVING,
	LINK_CONNECTING,
	LINK_WELCOME,   // HELLO is sent
	LINK_CHALLENGE, // client-first is sent
	LINK_PROOF,     // client-final is sent
	LINK_READY,
	LINK_ENDED,
};

// A stream id from its OPEN_TOPIC or SUBSCRIBE until CLOSED (or ERROR) has come, also when the
// stream was left. No id is used twice, so what comes late for one is never taken for another's.
struct link_slot {
	struct map_node node;  // member of link->slots, by stream id
	struct stream *stream; // NULL: left
	bool opened;
	bool closing; // CLOSE is sent
};

struct link {
	struct list node; // client->links
	struct mqp_client *client;
	struct address address;
	enum link_state state;
	bool leaving;
	bool broken; // a frame was lost for want of memory: ends at the next flush

	struct resolve *resolve;
	struct addrinfo *infos;
	struct addrinfo *info; // tried now
	uint64_t deadline_ns;  // to be ready

	struct transport transport; // fd -1: none yet
	struct framer framer;
	struct outq outq;
	uint64_t written;   // bytes of output that are in the socket
	struct list marked; // of struct stream
	uint32_t watched;   // epoll events

	struct scram_client scram;
	uint8_t binding[TRANSPORT_BINDING_ROOM];

	struct map slots; // of struct link_slot
	uint32_t next_id; // of a stream; ids rise
	struct list streams;

	uint64_t granted;
	uint64_t used;
	uint32_t max_frame;
	uint32_t codecs;
	uint64_t features; // in use
	uint64_t keepalive_ns;
	uint64_t last_read_ns;
	uint64_t throttled_ns; // last THROTTLE of sends; 0: none
	bool pinged;
};
