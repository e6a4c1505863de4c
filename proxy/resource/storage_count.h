// The thread that asks the clusters for what each tenant has stored.
#pragma once

struct storage;

// Counts once, then again and again on a thread of its own. Negative errno.
int storage_count_start(struct storage *storage);
void storage_count_stop(struct storage *storage); // accepts one that was not started
void storage_count_soon(struct storage *storage); // something has changed. @thread any
