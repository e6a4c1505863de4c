// What a backend that is a log gives to the log source: ranges, cursors, ends, and a call when
// something was appended.
//
// Every request is owned by the asker, filled by the backend on any thread, and comes back once as
// a letter to its loop.
#pragma once

#include "adapters/adapter.h"

// Lets the backend queue a request while it owns it.
struct log_job {
	struct log_job *next;
	void (*run)(struct log_job *job);
	struct adapter *adapter;
};

struct log_entry {
	uint64_t offset;
	int64_t stored_ms;
	const uint8_t *record;
	uint32_t size;
};

struct log_fetch {
	struct log_job job;
	struct loop_task task; // fn is set by the asker
	struct loop *loop;
	struct adapter_topic *topic;
	uint64_t offset; // the first wanted; what is gone is left out
	uint32_t partition;
	uint32_t max_messages, max_bytes; // at least one message comes, whatever its size
	// The answer.
	struct buf *buf; // holds the records and, at its end, the entries; one reference for the
			 // asker; NULL: nothing
	const struct log_entry *entries;
	uint32_t count;
	enum code code;
};

struct log_cursor {
	uint64_t position;
	char *text; // malloc'ed; "" when there is none
	uint32_t partition;
};

// Reads or writes the cursors of a group.
struct log_cursors {
	struct log_job job;
	struct loop_task task;
	struct loop *loop;
	struct adapter_topic *topic;
	const struct group *group;
	struct log_cursor *cursors; // load: room for every partition of the topic, filled in order
	uint32_t count;
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
	void (*fetch)(struct adapter *adapter, struct log_fetch *fetch);
	void (*load)(struct adapter *adapter,
		     struct log_cursors *load); // code NOT_FOUND: the group is not there
	void (*commit)(struct adapter *adapter,
		       struct log_cursors *commit); // durable as the topic is
	// Oldest kept and next to be written, as of the last durable append. @thread any, never
	// blocks
	void (*bounds)(struct adapter_topic *topic, uint32_t partition, uint64_t *ret_first,
		       uint64_t *ret_end);
	void (*watch)(struct adapter_topic *topic, struct log_watch *watch);
	void (*unwatch)(struct adapter_topic *topic,
			struct log_watch *
				watch); // nothing is posted after this; one may still be on its way
};

// The source slots of adapter.h for such a backend. `text_limit`: see window_init().
int log_source_open(struct adapter *adapter, const struct log_ops *ops, uint32_t text_limit,
		    const struct source_config *config, struct source **ret);
void log_source_demand(struct source *source, uint32_t messages, uint64_t bytes);
void log_source_settle(struct source *source, struct settle *settles, size_t count,
		       void (*done)(void *ctx, enum code code), void *ctx);
size_t log_source_backlog(struct source *source, struct source_partition *partitions, size_t room);
void log_source_close(struct source *source, void (*done)(void *ctx), void *ctx);
