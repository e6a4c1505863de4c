// Secrets: drawn, hashed, compared.
#pragma once

#include "core/registry/row.h"

int secret_random_text(char *out, size_t bytes); // base64url of `bytes` random bytes
void secret_hash(const char *token, uint8_t ret[32]);
int secret_password_hash(struct arena *arena, const char *password, const char **ret);
bool secret_password_fits(const char *encoded, const char *password); // NULL: takes as long, false
int secret_key_make(struct access_key *key, struct arena *arena, char **ret_secret);
