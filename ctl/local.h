// The commands that are more than one REST call: contexts, messages, load tests, completion.
#pragma once

#include "ctl/ctl.h"
#include "ctl/option.h"

struct local {
	const char *name;
	const char *verbs; // one a line, for completion; NULL: none
	const char *usage;
	const struct option *options; // NULL: none
	int (*run)(const struct ctl *ctl, const char **arguments, size_t count,
		   const json_t *values);
	const char *sentence;
};

extern const struct local local_commands[]; // ends with a row without a name

const struct local *local_find(const char *name); // NULL: none
