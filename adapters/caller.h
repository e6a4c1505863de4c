// The caller that waits for the answer to an administrative request: one of the two callbacks of
// adapter.h.
#pragma once

#include "adapters/adapter.h"

struct caller {
	adapter_done_fn done; // one of the two
	adapter_json_fn json_done;
	void *ctx;
};

// Gives `answer` away, if the caller wants one; else there is none.
void caller_answer(const struct caller *caller, enum code code, json_t *answer, const char *text);
