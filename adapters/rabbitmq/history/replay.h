// Copies what the stream of a topic keeps into a queue, from a place on up to all that was
// confirmed when it began.
#pragma once

#include "adapters/rabbitmq/ask/names.h"
#include "adapters/rabbitmq/history/stream.h"
#include "adapters/rabbitmq/send/sender.h"

// Embedded in its owner until done(); zero it before, but for the first part, which is borrowed.
struct rabbitmq_replay {
	struct adapter *adapter;
	const struct topic *topic;
	const char *queue; // NULL: nothing is copied, only counted, for a few seconds at most
	bool by_time;      // where it begins, as in stream.h
	int64_t time_ms;
	uint64_t offset;
	// Once: OK when every copy is confirmed. UNSUPPORTED_BY_BACKEND: the topic has no stream.
	// @thread any
	void (*done)(struct rabbitmq_replay *replay, enum code code, const char *text);
	// Out: how many were copied, and the offset behind the last that was seen.
	uint64_t copied, next;
	// replay.c's.
	struct rabbitmq_name name;
	struct rabbitmq_stream stream;
	struct rabbitmq_post mark;
	struct buf *mark_buf;
	struct loop_task task;
	uint64_t under_way_bytes;
	uint32_t under_way; // copies without an answer
	bool marked, ended; // the mark has come; the stream has ended
	enum code code;
	char text[256];
};

void rabbitmq_replay_run(struct rabbitmq_replay *replay); // @thread any
