// CRC-32C (Castagnoli; RFC 3720 appendix B.4), the checksum of frames, commit metadata and
// snapshots.
#pragma once

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t crc, const void *data,
		size_t size); // start with crc = 0; may be continued; @thread any
// The checksum of two pieces one after the other, from the checksum of each; @thread any
uint32_t crc32c_join(uint32_t first, uint32_t second, size_t second_size);
