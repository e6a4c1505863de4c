// The steps of a PRODUCE frame: check, route by handle, quota, submit, reply. And the produce
// window.
#pragma once

#include "proxy/stream.h"

// `stream` NULL: it is not open (any more); the records are refused.
void produce_frame(struct conn *conn, struct topic_stream *stream, const struct frame *frame);
// What a stream still has waiting for quota is refused: its right to send is gone. May close.
void produce_refuse_waiting(struct conn *conn, uint32_t stream, enum code code);
// The connection closes: what is on its way is finished without an answer.
void produce_detach_all(struct conn *conn);

void produce_window_start(struct conn *conn);
void produce_window_raise(struct conn *conn);   // the tenant may send larger messages than before
void produce_window_release(struct conn *conn); // back to the base window
void produce_waiting_over(struct loop_timer *timer); // of a tenant: its quota lets more pass
