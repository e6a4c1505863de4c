// Everything that the store writes to its data files, in order, with what was made durable when.
//
// The program's own pwrite, pwritev, writev, fdatasync and msync stand before those of the C
// library, also for liblmdb. Only files named data.mdb below the given directory are recorded.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum recorder_file { RECORDER_D1, RECORDER_D2, RECORDER_FILES };

enum event_kind {
	EVENT_WRITE,   // begins; until it is durable the disk may have any part of it
	EVENT_DURABLE, // events `from` up to `until` of the same file have reached the disk
};

struct event {
	enum event_kind kind;
	enum recorder_file file;
	uint64_t at;
	size_t size;
	uint8_t *data;      // WRITE
	bool durable;       // WRITE: it has become so
	size_t from, until; // DURABLE
};

void recorder_start(const char *dir);
// The next write that is durable by itself (O_DSYNC) fails. It can be read, and the disk may have
// it.
void recorder_fail_next(void);
void recorder_stop(void); // what was recorded stays
// Whether all that was written to a file is durable.
bool recorder_is_durable(enum recorder_file file); // @thread any, while no write is under way
// How many events there have been: a moment in the record. @thread any
size_t recorder_now(void);
const struct event *recorder_events(size_t *ret_count); // after recorder_stop()
