// The commands that are one REST call each, as a table of noun and verb.
#pragma once

#include "ctl/ctl.h"
#include "ctl/option.h"

enum command_flag {
	COMMAND_LIST = 1 << 0,    // follows `next` until --limit entries were read
	COMMAND_CONFIRM = 1 << 1, // loses something: shows a preview and asks, unless --yes
	COMMAND_SECRET = 1 << 2,  // the answer holds a secret that is shown this once
	COMMAND_FILE = 1 << 3,    // the body comes from --file
	COMMAND_BODY = 1 << 4,    // options become the body; else they become the query
	COMMAND_GET = 1 << 5,     // only reads
	COMMAND_PREVIEW = 1 << 6, // the preview is asked for in the body, not in the query
};

struct command {
	const char *noun;
	const char *verb;
	const char *method;
	const char *path; // {tenant} comes from --tenant or the context, any other {name} from the
			  // arguments in order
	const char *name_member; // member of the body that takes the argument after those of the
				 // path; NULL: none
	const struct option *options; // of this command; NULL: none
	unsigned flags;
	const char *columns; // of a table; NULL: all plain members
	const char *sentence;
};

const char *command_usage(const struct command *command, char *room,
			  size_t size); // "topic create NAME"

int command_run(const struct ctl *ctl, const struct command *command, const char **arguments,
		size_t count, json_t *values);
