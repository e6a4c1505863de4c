// The committed offsets of a consumer group on one topic: a group's cursors on Kafka.
#pragma once

#include "adapters/kafka/client/admin_handle.h"
#include "adapters/log/log.h"

struct offsets_request;

#define OFFSET_NONE UINT64_MAX // nothing is committed for this partition

// One request, in memory of the caller, which has it again when `done` is called or the call has
// waited. `cursors` say which partitions; their text is malloc'ed.
struct kafka_offsets {
	struct admin_handle_call call;
	const struct offsets_request *kind; // of offsets.c
	const struct group *group;
	const struct topic *topic;
	struct log_cursor *cursors; // read: position and text are filled in; OFFSET_NONE with ""
	uint32_t count;
	enum code code;
	char text[256]; // what went wrong, for the operator; "" with OK
	void (*done)(struct kafka_offsets *offsets); // @thread any
};

void kafka_offsets_read(struct adapter *adapter, struct kafka_offsets *offsets);
void kafka_offsets_commit(struct adapter *adapter, struct kafka_offsets *offsets);
// The same, blocking, without `done`. @thread a task's
void kafka_offsets_read_wait(struct adapter *adapter, struct kafka_offsets *offsets);
void kafka_offsets_commit_wait(struct adapter *adapter, struct kafka_offsets *offsets);
