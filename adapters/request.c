// Answering the caller that waits.
//
// Invariant: a caller that waits for more than a code gets an answer exactly when the code is OK.

#include "adapters/request.h"

void caller_answer(const struct caller *caller, enum code code, const struct adapter_answer *answer,
		   const char *text)
{
	assert(!caller->done != !caller->answer_done);
	if (caller->done) {
		caller->done(caller->ctx, code, text);
		return;
	}
	assert((code == CODE_OK) == (answer != NULL));
	caller->answer_done(caller->ctx, code, answer, text);
}
