// Opens what a power cut left and holds it against what had been promised.
#pragma once

#include "tests/crash/workload.h"

// Ends the process with 1 and says what is wrong when a promise made before `cut` is broken.
void check_image(const struct workload *workload, const char *dir, size_t cut);
