// Where a pass of the scrub is, kept in a small file over restarts.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define SCRUB_KEY_MAX 32u // no key of a table is longer

struct scrub_mark_place {
	uint64_t transaction; // the last one of the store when it was written
	uint32_t table, key_size;
	uint8_t key[SCRUB_KEY_MAX]; // of the last row that was looked at
};

struct scrub_mark {
	uint64_t done; // bytes of this pass
	int64_t began_ms;
	uint32_t at; // which store
	struct scrub_mark_place places[2];
};

// false: there is none, or it is damaged. @thread any that may wait for a disk
bool scrub_mark_read(const char *path, struct scrub_mark *ret);
// 0 or negative errno. @thread any that may wait for a disk
int scrub_mark_write(const char *path, const struct scrub_mark *mark);
