// The scripts renew.lua and leave.lua as they lie in this folder; made by embed.py when the tree is
// built.
#pragma once

#include <stddef.h>

extern const unsigned char scripts_renew[], scripts_leave[];
extern const size_t scripts_renew_size, scripts_leave_size;
