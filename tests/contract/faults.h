// Disk faults on demand in the files of a store.
#pragma once

#include <stdbool.h>

enum fault {
	FAULT_NONE,
	FAULT_WRITE, // data cannot be written: EIO
	FAULT_SPACE, // data cannot be written: ENOSPC
	FAULT_SYNC,  // a sync fails
	FAULT_META,  // the last, synchronous write of a commit fails
};

void fault_set(enum fault fault); // @thread one at a time
