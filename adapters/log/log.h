// What a backend that is a log gives to the log source: ranges, cursors, a store for what waits
// long, ends, and a call when something was appended.
//
// Every request is owned by its caller, filled by the backend on any thread, and comes back once as
// an event on the caller's loop.
#pragma once

#include "adapters/adapter.h"

struct log_entry {
	uint64_t offset;
	int64_t stored_ms;
	const uint8_t *record;
	uint32_t size;
};

struct log_fetch {
	struct loop_task work; // the backend's, while it owns the request
	struct loop_task task; // fn is set by the caller
	struct loop *loop;
	struct adapter_topic *topic;
	uint64_t offset, until; // the first wanted, and where to stop; what is gone is left out
	uint32_t partition;
	uint32_t max_messages, max_bytes; // at least one message comes, whatever its size
	// The answer.
	struct buf *buf; // keeps records and entries; one reference for the caller; NULL: nothing
	const struct log_entry *entries;
	uint32_t count;
	uint64_t next; // where to go on; beyond `offset` unless nothing can be said
	enum code code;
};

// ---- what waits longer than a window should hold it: the group's retry store

// One message by its position in the topic. `put`: keep a copy of its record, from the log or from
// the store itself, in place of the one before; else: remove it.
struct log_retry {
	uint64_t offset;
	uint64_t due_ms;
	uint32_t partition;
	uint32_t attempts; // that have ended; 0: it waits for its own due time
	bool put;
	bool missing; // out: the record to be put is nowhere any more
};

struct log_waiting {
	struct log_entry entry;
	uint64_t due_ms;
	uint32_t partition, attempts;
};

// The messages due first, in the order of due time, partition and offset. They stay in the store
// until they are removed.
struct log_due {
	struct loop_task work, task; // as of a fetch
	struct loop *loop;
	struct adapter_topic *topic;
	const struct group *group;
	struct log_retry after;           // begin behind this one; all zero: at the beginning
	uint64_t until_ms;                // due at this time at the latest
	uint32_t max_messages, max_bytes; // at least one message comes, whatever its size
	// The answer; `buf` as of a fetch.
	struct buf *buf;
	const struct log_waiting *entries;
	uint32_t count;
	uint64_t next_ms; // when the first that did not come is due; UINT64_MAX: there is none
	enum code code;
};

// ---- cursors

struct log_cursor {
	uint64_t position;
	char *text; // commit metadata, malloc'ed; "" when there is none
	uint32_t partition;
	uint64_t retrying, delayed; // load: what the retry store holds, with attempts and without
};

// Reads or writes the cursors of a group. A commit also changes its retry store, in the order
// given; whatever the backend, no cursor is ahead of the retries beside it.
struct log_cursors {
	struct loop_task work, task; // as of a fetch
	struct loop *loop;
	struct adapter_topic *topic;
	const struct group *group;
	struct log_cursor *cursors; // load: room for every partition of the topic, filled in order
	uint32_t count;
	struct log_retry *retries;
	uint32_t retry_count;
	uint64_t epoch; // load: one that has been used, if the backend knows more than the cursors
			// say; commit: the source's
	enum code code;
};

// The backend posts `task` once after appends to the topic, again only after the watcher has
// cleared `posted`.
struct log_watch {
	struct loop_task task;
	struct loop *loop;
	struct list node; // the backend's
	bool posted;      // atomic
};

struct log_ops {
	// true: answered at once, from memory; no event comes.
	bool (*fetch)(struct adapter *adapter, struct log_fetch *fetch);
	void (*due)(struct adapter *adapter, struct log_due *due);
	void (*load)(struct adapter *adapter,
		     struct log_cursors *load); // code NOT_FOUND: the group is not there
	void (*commit)(struct adapter *adapter,
		       struct log_cursors *commit); // durable as the topic is
	// Oldest kept and next to be written, as of the last durable append. false: the topic is
	// gone. @thread any, never blocks
	bool (*bounds)(struct adapter_topic *topic, uint32_t partition, uint64_t *ret_first,
		       uint64_t *ret_end);
	// Or NULL: never. Positions without a message were found in the topic. @thread any
	bool (*has_holes)(const struct adapter_topic *topic);
	void (*watch)(struct adapter_topic *topic, struct log_watch *watch);
	// Nothing is posted after this; one event may still be on its way (`posted` says so).
	void (*unwatch)(struct adapter_topic *topic, struct log_watch *watch);
	// Or NULL. A source of the group is closed: what was kept in memory for it may go.
	void (*closed)(struct adapter *adapter, const struct group *group);
};
