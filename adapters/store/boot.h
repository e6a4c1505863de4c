// The file `boot` of a D1 store: it stands while the store is open and names the boot of the
// machine.
#pragma once

enum boot_mark {
	BOOT_NONE,  // the store was closed in order, or is new
	BOOT_THIS,  // it was left open in this boot: the operating system has all that was written
	BOOT_OTHER, // it was left open in another boot: what was not synced may be lost
	BOOT_UNREADABLE, // nothing can be said: the mark is empty or damaged
};

// All: `path` is the store's directory, whose lock the caller holds. 0 or negative errno. They wait
// for the disk. @thread start-up, or the one that closes the store
int boot_read(const char *path, enum boot_mark *ret);
int boot_mark(const char *path);   // when it returns 0, the mark is durable
int boot_unmark(const char *path); // also 0 when there is none
