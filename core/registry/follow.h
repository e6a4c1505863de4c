// Settings of imported topics follow those on their cluster, which are their owner's.
#pragma once

#include "core/registry/registry.h"

struct follow_settings {
	uint64_t message_bytes, retention_ms, retention_bytes; // as in the model
};

// From an answer of QUERY_TOPIC_SETTINGS; what it does not tell is as for a topic without limits.
struct follow_settings follow_read(const json_t *settings);
