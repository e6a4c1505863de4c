// The table of commands that are one REST call each.
#pragma once

#include "ctl/command.h"

const struct command *commands_find(const char *noun, const char *verb); // NULL: none
const struct command *commands_at(size_t index);                         // NULL past the end
