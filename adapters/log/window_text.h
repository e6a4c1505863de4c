// The window of a partition as commit metadata: ASCII with magic, version and checksum.
#pragma once

#include "adapters/log/window.h"

#define WINDOW_TEXT 4096u // what the commit metadata of Kafka can hold; any window fits

// The greatest epoch of an owner. It is made of a time in milliseconds with 20 bits behind it, so
// this is the year 2109; a greater one that is read back was not written by an owner, and counting
// on from it would pass what a commit can hold.
#define WINDOW_EPOCH_MAX ((1ull << 62) - 1)

// Writes the epoch (at most WINDOW_EPOCH_MAX), the time, the shift, the counts and what is known
// above `base`; returns malloc'ed text of at most WINDOW_TEXT.
char *window_text_encode(const struct window *window, uint64_t epoch, uint64_t now_ms);
// Restores a fresh window whose base is set. Positive WINDOW_E_FOREIGN: not ours, damaged, or of
// another position; the window is empty above base then. "" is fine. What neither tells of counts
// as skipped.
enum { WINDOW_E_FOREIGN = 1 };
int window_text_decode(struct window *window, const char *text, uint64_t *ret_epoch);
