// Frames before READY.
#pragma once

struct conn;
struct frame;
struct handshake;

void handshake_frame(struct conn *conn, const struct frame *frame);
void handshake_free(struct handshake *handshake); // accepts NULL
