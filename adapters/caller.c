// Answers the caller of an administrative request.

#include "adapters/caller.h"

void caller_answer(const struct caller *caller, enum code code, json_t *answer, const char *text)
{
	assert(!caller->done != !caller->json_done);
	if (caller->done)
		caller->done(caller->ctx, code, text);
	else
		caller->json_done(caller->ctx, code, answer, text);
}
