// Limits how often an address may guess a password or a one-time token.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct throttle;

// `seed` is drawn: it keeps secret which addresses share a row.
int throttle_new(uint64_t seed, struct throttle **ret);
void throttle_free(struct throttle *throttle);

// May this address try now? If not, *ret_wait_s says for how long.
bool throttle_allows(struct throttle *throttle, const char *address, uint64_t now_ns,
		     uint32_t *ret_wait_s);
// A try costs its credit when it begins, so that tries side by side cost as many; one that was
// right gets it back.
void throttle_take(struct throttle *throttle, const char *address, uint64_t now_ns);
void throttle_give_back(struct throttle *throttle, const char *address);
// A user has logged in from there: tries from other addresses do not keep this one out any more.
void throttle_know(struct throttle *throttle, const char *address);
