// What a program does to the files below a directory, in order, as libfaultrecorder.so writes it
// down.
//
// Preloaded, it appends to the file that RECORD_LOG names; RECORD_DIR is the directory,
// RECORD_UNSYNCED=1 takes every sync away from the program, and O_DSYNC too: neither done nor
// recorded.
#pragma once

#include <stdint.h>

enum recorded {
	RECORDED_CREATE = 1, // a file came to be
	RECORDED_MKDIR,      // a directory did
	RECORDED_RENAME,     // data: the path it has now
	RECORDED_UNLINK,
	RECORDED_WRITE,    // begins; data is meant for `from`
	RECORDED_TRUNCATE, // to `from` bytes, or grown to them
	RECORDED_DURABLE,  // events `from` up to `until` of this file, or of this directory's names
};

// Then the path and the data. Events are numbered from 0 as they stand in the log.
struct record_head {
	uint32_t kind;
	uint32_t path_size;
	uint64_t data_size;
	uint64_t time_ns; // CLOCK_MONOTONIC
	uint64_t inode;
	uint64_t from, until;
};
_Static_assert(sizeof(struct record_head) == 48, "tests/e2e/power.py reads it");
