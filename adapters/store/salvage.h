// Taking out of a damaged store what can be read, while no process has it open.
#pragma once

#include <jansson.h>

// `path`: the directory of a store (…/d1 or …/d2). What is whole in it goes to a new store in its
// place; the damaged one stays beside it under another name. *ret_report, the caller's: {kept,
// rows, lost, pages, unsure, missing: [{topic, partition, first, end}], row_lost: [topic]}.
// Negative errno with *ret_error (malloc'ed): nothing was changed. @thread any that may wait for a
// disk
int salvage_store(const char *path, json_t **ret_report, char **ret_error);
