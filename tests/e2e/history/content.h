// What a test message holds: everything follows from its sender and its number.
#pragma once

#include <mqpaas/mqpaas.h>

#include <stdbool.h>
#include <stdint.h>

#define CONTENT_BODY_MAX (128u << 10)

// Which message it is. Producer 0 is none.
struct identity {
	uint32_t producer;
	uint32_t key; // RECORD_NO_KEY: none
	uint64_t sequence;
};

// Room that a filled message borrows until its send has returned.
struct content {
	char key[24];
	uint64_t body[CONTENT_BODY_MAX / sizeof(uint64_t)];
	char value[16];
};

// A number that looks random and is always the same for the same arguments.
uint64_t content_mix(uint64_t a, uint64_t b);

// Fills an empty message. @body_bytes 0: sizes of every kind
void content_fill(const struct identity *identity, uint32_t body_bytes, struct content *content,
		  struct mqp_message *message);

// Tells one number for key, body, tag, creation time and headers, those left out that the service
// adds to dead letters.
uint64_t content_digest(const struct mqp_message *message);

// Reads which message it claims to be. Returns false for one that is not of ours.
bool content_identify(const struct mqp_message *message, struct identity *ret);
