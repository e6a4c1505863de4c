// The frame PRODUCE and its answer PRODUCED.
#pragma once

#include "proxy/client/native/stream.h"

// `stream` NULL, or closing: the records are refused.
void produce_frame(struct conn *conn, struct topic_stream *stream, const struct frame *frame);
// Of a stream whose CLOSED was sent: takes nothing, answers nothing, gives the window back.
void produce_ignore(struct conn *conn, const struct frame *frame);
