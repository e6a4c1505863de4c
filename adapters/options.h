// Options of a cluster, from its JSON to a structure of its kind: one table says each option's
// type, limits and default.
#pragma once

#include "core/model/model.h"

#include <stddef.h>

enum option_type {
	OPTION_TEXT,   // char *
	OPTION_NUMBER, // uint32_t
	OPTION_BYTES,  // uint64_t
	OPTION_FLAG,   // bool
	OPTION_CHOICE, // uint8_t: which of `values`, from 0
};

struct option {
	const char *name;
	size_t offset; // of the member in the structure
	uint64_t least, most, otherwise;
	const char *values; // one of these, separated by '|'; NULL: any text
	uint8_t type;       // enum option_type
	bool secret;        // comes from the cluster's secrets
};

struct options_table {
	const char *kind; // for texts: "kafka"
	const struct option *rows;
	size_t count;
	size_t size; // of the structure
};

// Fills the structure, which is overwritten; texts are malloc'ed. -EINVAL with *ret_error
// (malloc'ed sentence naming the option), or -ENOMEM; then nothing is left in it. @thread any
int options_read(const struct options_table *table, const struct cluster *cluster, void *ret,
		 char **ret_error);
// Frees the texts and clears it all.
void options_deinit(const struct options_table *table, void *options);
// -EINVAL with "options.NAME: WHAT", or -ENOMEM.
int options_refuse(char **ret_error, bool secret, const char *name, const char *what);
