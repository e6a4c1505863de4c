// The caller that waits for the answer to an administrative request: one of the two callbacks of
// the contract.
#pragma once

#include "adapters/adapter.h"

struct caller {
	adapter_done_fn done; // one of the two
	adapter_answer_fn answer_done;
	void *ctx;
};

// `answer` is given only with CODE_OK, to a caller that waits for one; it is borrowed until the
// callback returns.
void caller_answer(const struct caller *caller, enum code code, const struct adapter_answer *answer,
		   const char *text);
