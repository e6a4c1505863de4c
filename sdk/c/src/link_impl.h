// A link inside: shared by link.c (frames, streams) and handshake.c (connecting, authentication).
#pragma once

#include "core/net/framer.h"
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

// A stream id. It is used until CLOSED (or ERROR) has come, also when nobody wants the stream.
struct link_slot {
	struct stream *stream; // NULL: free, or left
	bool used;
	bool opened;
	uint32_t next_free;
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
	uint32_t watched; // epoll events

	struct scram_client scram;
	uint8_t binding[TRANSPORT_BINDING_ROOM];

	struct link_slot *slots; // by id; [0] is not used
	uint32_t slot_count;
	uint32_t slot_room;
	uint32_t free_slot; // 0: none
	struct list streams;

	uint64_t granted;
	uint64_t used;
	uint32_t max_frame;
	uint32_t codecs;
	uint64_t keepalive_ns;
	uint64_t heard_ns;
	bool pinged;
};

// handshake.c
void handshake_connected(struct link *link); // the socket is connected: sends preface and HELLO
int handshake_frame(struct link *link, const struct frame *frame); // before READY; -EBADMSG
void handshake_socket_ready(struct link *link); // the connecting socket has an outcome

// link.c
void link_watch(struct link *link);
// ERROR on stream 0 in any state.
void link_error_frame(struct link *link, const struct frame *frame);
void link_tell_addresses(struct link *link, const struct fields *fields);
