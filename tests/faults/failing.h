// Disk faults on demand: what a program does to its files fails when it is told to.
//
// Preloaded (LD_PRELOAD=libfailing.so), the control is the file that FAULTS_CONTROL names, mapped,
// so that another process switches faults on and off while the program runs; linked into a program,
// it is memory of its own.
#pragma once

#include <stdint.h>

enum failing_call {
	FAILING_WRITE = 1, // write, pwrite, writev, pwritev: nothing is written
	FAILING_SYNC_WRITE =
		2,        // the same on a descriptor with O_DSYNC or O_SYNC: written, but who knows
	FAILING_SYNC = 4, // fsync, fdatasync
	FAILING_TRUNCATE = 8, // ftruncate, fallocate
};

#define FAILING_ALL UINT64_MAX

// What the file holds. `calls` is written last: it is what switches the rest on.
struct failing {
	uint32_t calls;   // bits of enum failing_call; 0: nothing fails
	int32_t error;    // errno
	uint64_t skip;    // calls that go well first
	uint64_t count;   // calls that fail then; FAILING_ALL: until told otherwise
	uint64_t seen;    // calls that were meant
	uint64_t failed;  // calls that have failed
	char inside[216]; // only files with this in their path, from the root
};
_Static_assert(sizeof(struct failing) == 256, "tests/e2e/faults.py writes it");

struct failing *failing_control(void); // @thread any
