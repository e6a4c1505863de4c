// A cluster's options, checked without reaching it.
#pragma once

#include "core/model/model.h"

// The slot of the adapter. -EINVAL with *ret_error (malloc'ed sentence naming the option), or
// -ENOMEM.
int kafka_check(const struct cluster *cluster, char **ret_error);
