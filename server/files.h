// The daemon's own files in its data directory.
//
// What can go wrong is answered as a problem (core/base/text.h); NULL: fine.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FILES_SECRET_SIZE 32

// Makes the directory (0700) if it is not there, and takes its lock for this process. The problem
// names the holder, or says that others can write the directory.
char *files_lock(const char *data_dir, int *ret_fd);

// A secret of random bytes, in hexadecimal in a file that only its owner can read. It is made when
// it is not there, unless `needed` names what is lost without it.
char *files_secret(const char *data_dir, const char *name, const char *needed,
		   uint8_t ret[FILES_SECRET_SIZE]);

// A private key that is not ours to make: its owner may be another, and a group may read it.
char *files_key_check(const char *path);

// As a whole or not at all, also over a power cut.
char *files_write(const char *path, const char *text, mode_t mode);
bool files_exist(const char *data_dir, const char *name);
bool files_hold(const char *data_dir, const char *name); // it is there and not of zero bytes
