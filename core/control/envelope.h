// Secrets for one reader: only the owner of a private key can open what is closed for its public
// key.
#pragma once

#include "core/catalog/seal.h"

#include <stddef.h>
#include <stdint.h>

#define ENVELOPE_OVERHEAD (65 + SEAL_OVERHEAD) // a key drawn for this envelope, and the seal

// `bound` names the reader ("installation/id"): with another name it does not open. `out` has room
// for size + ENVELOPE_OVERHEAD. -EBADMSG: no public key of P-256; -EIO: the library failed.
int envelope_close(const char *public_key, const char *bound, const void *plain, size_t size,
		   uint8_t *out);
// `out` has room for size - ENVELOPE_OVERHEAD. -EBADMSG: for another key or name, or altered.
int envelope_open(const char *key, const char *bound, const uint8_t *closed, size_t size,
		  void *out);
