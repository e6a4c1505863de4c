// A prepared file takes the registry's place, whatever cuts it short.
#pragma once

// From here on the file `<path>.restore` is the registry, as soon as replace_finish() has moved it;
// durable. Before, nothing has happened. 0 or negative errno.
int replace_commit(const char *path);
// 1: a commit has not been finished; 0: there is none.
int replace_is_pending(const char *path);
// The file that was committed; freed by the caller. NULL: no memory.
char *replace_committed_path(const char *path);
// What was at `path` gets a name of its own (malloc'ed; NULL: nothing was there), its log with it,
// and the file that was committed takes its place; durable. May be called again after a crash.
int replace_finish(const char *path, char **ret_aside);

// Removes a SQLite file with all that may stand beside it.
void replace_remove(const char *path);
