// How a send, or one attempt at it, ended: what the public getters read.
#pragma once

#include "sdk/c/include/mqpaas/mqpaas.h"

#include <stdbool.h>

struct mqp_result {
	enum mqp_outcome outcome;
	enum mqp_code code;
	const char *topic; // of the producer; NULL: never filled
	uint64_t offset;
	uint64_t incarnation;
	uint32_t partition;
	uint32_t retry_after_ms;
	unsigned attempts;
	int durability;
	bool final;
	uint8_t id[MQP_ID_SIZE];
};

// Everything unknown, as before the first answer.
void result_clear(struct mqp_result *result);
// A send that was not taken.
void result_refused(struct mqp_result *result, const char *topic, enum mqp_code code);
