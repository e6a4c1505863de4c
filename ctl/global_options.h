// The options that every command understands, as a table; it ends with a row without a name.
#pragma once

#include "ctl/option.h"

extern const struct option global_options[];
