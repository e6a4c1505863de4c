// CRC-32C (Castagnoli; RFC 3720 appendix B.4), the checksum of frames, commit metadata and
// snapshots.
#pragma once

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t crc, const void *data,
		size_t size); // start with crc = 0; may be continued; @thread any
