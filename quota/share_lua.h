// The script share.lua as it lies in this folder; made by embed.py when the tree is built.
#pragma once

#include <stddef.h>

extern const unsigned char share_lua[];
extern const size_t share_lua_size;
