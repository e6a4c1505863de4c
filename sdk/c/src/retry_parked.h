// Messages that failed for reasons of their own (their partition is down, say) and wait to be sent
// again, apart from the rest of their send queue; later messages of their keys join them. Pure.
#pragma once

#include "sdk/c/src/batch.h"

#define RETRY_PARKED_KEYS 4096u // bits; keys that share one wait for each other

struct retry_parked {
	struct list batches; // in the order in which their messages are to be sent
	uint64_t until_ns;   // then they go back; while there are any
	uint32_t rounds;     // in a row in which something was parked
	uint64_t keys[RETRY_PARKED_KEYS / 64];
};

void retry_parked_init(struct retry_parked *parked);
// Takes over what is left of a batch that was answered.
void retry_parked_put(struct retry_parked *parked, struct batch *batch, uint64_t now_ns);
// Takes those messages out of a keyed batch that must not be sent before the parked ones; joins
// them to the last parked batch while that is within these bounds. The batch may be empty
// afterwards. -ENOMEM: nothing was moved.
int retry_parked_filter(struct retry_parked *parked, struct batch *batch, uint32_t batch_bytes,
			uint32_t batch_messages);
// Its time has come: everything goes to the front of `waiting`, nothing is parked any more.
void retry_parked_release(struct retry_parked *parked, struct list *waiting);
