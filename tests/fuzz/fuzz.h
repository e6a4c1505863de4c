// The entry point that libFuzzer calls: any bytes; returns 0; what is wrong aborts.
#pragma once

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
