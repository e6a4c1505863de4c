// Tells a source from any thread what queue.h has told on its home loop.
#pragma once

#include "adapters/queue/queue.h"

enum queue_event_kind {
	QUEUE_EVENT_OPENED,    // number: the epoch, as of the next three
	QUEUE_EVENT_PASSED,    //
	QUEUE_EVENT_CANCELLED, //
	QUEUE_EVENT_LOST,      // code, text
	QUEUE_EVENT_GONE,      // text
	QUEUE_EVENT_WRITTEN,   // number, outcome, code, text
	QUEUE_EVENT_COUNTED,   // counts, or none when number is 0
	QUEUE_EVENT_DETACHED,  // the attachment may be freed when this is posted
};

struct queue_event {
	enum queue_event_kind kind;
	enum queue_outcome outcome;
	enum code code;
	const char *text; // outlives the telling
	uint64_t number;
	struct queue_counts counts;
};

// Told once, in the order of each posting thread, and after this has returned. -ENOMEM: it is not.
// @thread any
int queue_event_post(const struct queue_attach *attach, const struct queue_event *event);
