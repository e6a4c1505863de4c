// Every row that can be read in a damaged file of LMDB.
#pragma once

#include <lmdb.h>
#include <stdbool.h>
#include <stdint.h>

// The bytes are the file's own, and as damaged as it is. Not 0: nothing more is read.
typedef int (*salvage_row_fn)(void *ctx, const MDB_val *key, const MDB_val *value);

struct salvage_read {
	uint64_t rows;       // that the heads of its tables name, of those that could be read
	uint64_t lost_pages; // that could not be read, with all that they lead to
	uint64_t lost_nodes; // of pages that could be
	unsigned tables;     // whose heads could be read
	bool unsure;         // its two heads do not follow each other: it may be an older state
};

// Walks the tables, page by page. 0; -ENOENT: there is no such file, or nothing is in it; -EUCLEAN:
// neither of its heads can be read; what `fn` answered; another negative errno. No thread or
// process may write to the file meanwhile. @thread any that may wait for a disk
int salvage_read(const char *file, salvage_row_fn fn, void *ctx, struct salvage_read *ret);
