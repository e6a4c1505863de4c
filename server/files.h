// The daemon's own files in its data directory.
#pragma once

#include <stddef.h>
#include <stdint.h>

// A problem is a malloc'ed sentence; NULL: fine.

// Makes the directory (0700) if it is not there, and takes its lock for this process. The message
// names the holder.
char *files_lock(const char *data_dir, int *ret_fd);

// Secrets that are made at the first start and kept with mode 0600: 32 bytes in hexadecimal.
char *files_secret(const char *data_dir, const char *name, uint8_t ret[32]);

char *files_write_private(const char *path, const char *text); // as a whole, mode 0600
