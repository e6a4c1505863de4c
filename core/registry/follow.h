// Settings of imported topics follow those on their cluster, which are their owner's.
#pragma once

#include "core/registry/registry.h"

struct follow_settings {
	uint64_t message_bytes, retention_ms, retention_bytes; // as in the model
};

// From an answer of QUERY_TOPIC_SETTINGS; what it does not tell is as for a topic without limits.
struct follow_settings follow_read(const json_t *settings);

// The next one after that id: 1, or 0 when there is none.
int registry_follow_next(struct registry *registry, uint64_t after, uint64_t *ret);
// Its row takes what its cluster says (an answer of QUERY_TOPIC_SETTINGS).
int registry_follow(struct registry *registry, uint64_t topic, const json_t *settings);
