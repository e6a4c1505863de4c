// Encryption of what must not lie readable in a file: AES-256-GCM, bound to the row it belongs to.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define SEAL_OVERHEAD 29 // version, nonce, tag

struct seal_key {
	uint8_t bytes[32];
};

// `out` has room for size + SEAL_OVERHEAD. `row` names what the secret belongs to ("cluster/7"): a
// sealed text moved to another row does not open. -EIO: the library failed. @thread any
int seal_close(const struct seal_key *key, const char *row, const void *plain, size_t size,
	       uint8_t *out);

// `out` has room for size - SEAL_OVERHEAD. -EBADMSG: another key or row, or altered. @thread any
int seal_open(const struct seal_key *key, const char *row, const uint8_t *sealed, size_t size,
	      void *out);
