// The membership document as the script renew.lua returns it.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PEERS_MAX            64u // proxies of an installation
#define MEMBERSHIP_ID_MAX    20u
#define MEMBERSHIP_LIFE_SIZE 33u // 32 hexadecimal digits and a zero

struct document_entry {
	char id[MEMBERSHIP_ID_MAX + 1], life[MEMBERSHIP_LIFE_SIZE];
	uint64_t beat, agreed, joined;
};

struct document {
	char gen[MEMBERSHIP_LIFE_SIZE];
	uint64_t version;
	bool ghost;
	uint64_t ghost_beat;
	size_t count;
	struct document_entry entries[PEERS_MAX]; // in the order of their ids
};

// `pairs`: names and values in turn, as a hash comes. False: not a document, or too large.
bool document_read(const char *const *pairs, size_t count, struct document *ret);
const struct document_entry *document_find(const struct document *document, const char *id);
