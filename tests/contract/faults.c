// The faults of tests/faults/failing.c, in the store's own files.

#include "tests/contract/faults.h"

#include "tests/faults/failing.h"

#include <errno.h>
#include <string.h>

void fault_set(enum fault fault)
{
	static const struct {
		enum failing_call call;
		int error;
	} rows[] = {[FAULT_WRITE] = {FAILING_WRITE, EIO},
		    [FAULT_SPACE] = {FAILING_WRITE, ENOSPC},
		    [FAULT_SYNC] = {FAILING_SYNC, EIO},
		    [FAULT_META] = {FAILING_SYNC_WRITE, EIO}};
	struct failing *control = failing_control();

	if (!*control->inside) { // read by other threads from the first fault on
		strcpy(control->inside, "/data.mdb");
		control->count = FAILING_ALL;
	}
	__atomic_store_n(&control->error, rows[fault].error, __ATOMIC_RELAXED);
	__atomic_store_n(&control->calls, rows[fault].call, __ATOMIC_RELEASE);
}
