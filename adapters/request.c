// Keeps what an administrative request needs until it is answered, whatever the adapter does
// meanwhile.
//
// Invariant: a request is answered exactly once, and a caller that waits for more than a code gets
// an answer exactly when the code is OK. Not here: the thread that runs the request, and the time
// at which it runs.

#include "adapters/request.h"

static void answer_caller(const struct request *request, enum code code,
			  const struct adapter_answer *answer, const char *text)
{
	assert(!request->done != !request->answer_done);
	if (request->done) {
		request->done(request->ctx, code, text);
		return;
	}
	assert((code == CODE_OK) == (answer != NULL));
	request->answer_done(request->ctx, code, answer, text);
}

void request_hold(const struct request *request, struct request *ret)
{
	*ret = *request;
	ret->group = request->group ? model_ref(request->group) : NULL;
	ret->topic = request->topic ? model_ref(request->topic) : NULL;
}

void request_answer(const struct request *request, enum code code, const char *text)
{
	answer_caller(request, code, NULL, text);
}

void request_end(struct request *request, enum code code, const struct adapter_answer *answer,
		 const char *text)
{
	answer_caller(request, code, code == CODE_OK ? answer : NULL, text);
	model_unref(request->group);
	model_unref(request->topic);
	*request = (struct request){.ctx = NULL}; // a second answer finds no caller
}
