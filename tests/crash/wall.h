// The wall clock of the images: the power comes back when the recording has ended, however long the
// images take. So a message that is not due at one image is due at none.
#pragma once

#include <stdint.h>

void wall_set_back(int64_t ms); // to this time; it goes on from there, in this process
