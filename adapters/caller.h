// Who waits for the answer to an administrative question: one of the two callbacks of adapter.h.
#pragma once

#include "adapters/adapter.h"

struct caller {
	adapter_done_fn done; // one of the two
	adapter_json_fn json_done;
	void *ctx;
};

// Gives `answer` away, if that is who waits for one; else there is none.
void caller_answer(const struct caller *caller, enum code code, json_t *answer, const char *text);
