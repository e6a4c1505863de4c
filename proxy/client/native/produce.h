// The steps of a PRODUCE frame: check, route by handle, quota, submit, reply. And the produce
// window.
#pragma once

#include "proxy/client/native/stream.h"

// `stream` NULL, or closing: the records are refused.
void produce_frame(struct conn *conn, struct topic_stream *stream, const struct frame *frame);
// Of a stream whose CLOSED was sent: takes nothing, answers nothing, gives the window back.
void produce_ignore(struct conn *conn, const struct frame *frame);
// What waits for the quota is refused as the stream's CLOSED will say.
void produce_refuse_waiting(struct topic_stream *stream);
// The connection closes: what is on its way is finished without an answer.
void produce_detach_all(struct conn *conn);

// For the wire: rounded up.
static inline uint32_t wait_ms_of(uint64_t wait_ns)
{
	return (uint32_t)MIN(wait_ns / MS_NS + (wait_ns % MS_NS != 0), UINT32_MAX);
}

void produce_waiting_over(struct loop_timer *timer); // of tenant_clients: the quota lets more pass
