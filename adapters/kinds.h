// The kinds of backend this build knows.
#pragma once

#include <stddef.h>

struct adapter_ops;

const struct adapter_ops *adapter_kind_find(const char *kind); // NULL: no such kind
const struct adapter_ops *adapter_kind_at(size_t index);       // NULL past the end
