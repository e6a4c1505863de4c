// The handle of a durable log: the two stores of one data directory, one for each durability class,
// and the threads that serve them. An adapter is a table of functions over it.
//
// Unless something else is said, a function may be called on any thread and never blocks;
// completions come once, on a thread of the log, or before the call returns.
#pragma once

#include "adapters/store/committer.h"
#include "core/loop/executor.h"

enum { CLASS_D1, CLASS_D2, CLASSES };

struct retention;
struct scrub;

// Open to the files of the store only.
struct durable_log {
	struct store *stores[CLASSES];
	struct committer *committers[CLASSES];
	struct executor *readers;
	struct retention *retention;
	struct scrub *scrub;
};

struct durable_log_options {
	const char *data_dir;  // exists; the log takes d1/ and d2/ in it
	uint64_t installation; // that the messages belong to; 0: not known
	uint64_t map_bytes;    // of address space, for each store
	uint64_t scrub_hours;  // of a pass of the scrub; 0: none
};

// 0, or negative errno with *ret_error (malloc'ed, the caller's), which names the file and what is
// right; nothing is left open then. Reads the disk. @thread start-up, or any that may wait
int durable_log_open(const struct durable_log_options *options, struct durable_log **ret,
		     char **ret_error);
// Finishes what was given to it, completions come, then frees it. Accepts one that is half open.
// @thread any that may wait for a disk, none of the log's own
void durable_log_close(struct durable_log *log);

// Owns the batch until its `done`.
void durable_log_submit(struct durable_log *log, struct submit *submit);
// true: answered from memory, on this thread; else the task of the fetch is posted to its loop.
bool durable_log_fetch(struct durable_log *log, struct log_fetch *fetch);
// The topic as a session holds it, referenced; NULL: it is not there. Given back with
// store_topic_close(). Reads the disk when no session holds it yet.
struct adapter_topic *durable_log_topic(struct durable_log *log, const struct topic *topic);

// How it is doing; all but circuit and known, which are an adapter's, is filled in.
void durable_log_state(struct durable_log *log, struct adapter_state *ret);
// Why no message is taken now, a static sentence; NULL: they are taken.
const char *durable_log_problem(const struct durable_log *log);
const char *durable_log_version(void); // of what it stores with, static
// Whether rows of topics and groups can be read now. Looks at one page of the map.
bool durable_log_is_readable(struct durable_log *log);
// What is damaged in both stores; the caller frees the rows. NULL: no memory.
struct damaged_part *durable_log_damage(struct durable_log *log, size_t *ret_count);

static inline int durable_log_class(const struct topic *topic)
{
	return topic->durability == DURABILITY_D1 ? CLASS_D1 : CLASS_D2;
}

// The committer of one of its stores.
static inline struct committer *durable_log_committer(const struct durable_log *log,
						      const struct store *store)
{
	return log->committers[store == log->stores[CLASS_D1] ? CLASS_D1 : CLASS_D2];
}
