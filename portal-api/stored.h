// What each tenant has stored, and which groups wait for room, as the proxies told last.
#pragma once

#include "core/registry/registry.h"

#include <jansson.h>

struct stored;

struct stored_use {
	uint64_t tenant;
	uint64_t bytes, reserve, reserve_used;
	bool estimated;
};

struct stored_wait {
	uint64_t tenant, group;
	int64_t since_ms; // wall clock, when it was first heard of
	const char *what; // "dead_letter" or "retry"
};

struct stored *stored_new(void);         // NULL: no memory
void stored_free(struct stored *stored); // accepts NULL

// Takes an answer of QUERY_TOTALS.
void stored_take(struct stored *stored, const json_t *totals, int64_t wall_ms);

// All zero when nothing was told of it.
struct stored_use stored_of(const struct stored *stored, uint64_t tenant);
typedef void (*stored_use_fn)(void *ctx, const struct stored_use *use);
typedef void (*stored_wait_fn)(void *ctx, const struct stored_wait *wait);
void stored_each(const struct stored *stored, stored_use_fn fn, void *ctx);
void stored_each_wait(const struct stored *stored, stored_wait_fn fn, void *ctx);

// {stored_bytes, estimated, reserve_bytes, reserve_used_bytes, waiting: […]} of a tenant.
json_t *stored_json(const struct stored *stored, struct registry *registry, uint64_t tenant);
