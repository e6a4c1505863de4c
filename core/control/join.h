// Joining: a proxy's first words with a portal, with a token in place of a certificate.
#pragma once

#include "core/control/certificate.h"

#include <jansson.h>

// "SECRET.HASH" as mqpaasctl proxy invite gives it. False: it is no such token.
bool join_token_read(const char *token, uint8_t ret_hash[CERTIFICATE_HASH_SIZE]);

// Asks the portal at `address` for a certificate for the key, and waits for the answer, at most
// 10 s. NULL: *ret is what LINK_JOINED holds, complete, the caller's; else what is wrong,
// malloc'ed.
char *join_ask(const char *address, const char *token, const char *key, const char *version,
	       json_t **ret);
