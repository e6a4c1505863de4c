// Connecting and authentication of a link.
#pragma once

struct frame;
struct link;

void handshake_start(
	struct link *link); // resolves and connects; failure comes as client_link_ended
void handshake_connected(struct link *link); // the socket is connected: sends preface and HELLO
int handshake_frame(struct link *link, const struct frame *frame); // before READY; -EBADMSG
void handshake_socket_ready(struct link *link); // the connecting socket has an outcome
