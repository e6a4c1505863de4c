// One administrative request, from the slot to its answer: what it is about, and the caller that
// waits.
//
// A slot fills one in, borrowed; request_hold() makes one of it that lives until the answer.
#pragma once

#include "adapters/adapter.h"

struct request {
	const struct group *group;     // NULL: it is about no group
	const struct topic *topic;     // NULL: it is about the cluster
	bool preview;                  // nothing is changed; the answer says what would be
	adapter_done_fn done;          // one of the two: the caller waits for a code
	adapter_answer_fn answer_done; // or for an answer
	void *ctx;
};

// References what it is about. @thread any
void request_hold(const struct request *request, struct request *ret);
// Answers one that was not held: with OK only a caller that waits for a code.
void request_answer(const struct request *request, enum code code, const char *text);
// Answers a held one, once, and lets go what it is about. `answer` is borrowed until the callback
// returns; it is passed on with CODE_OK, and to a caller that waits for one.
void request_end(struct request *request, enum code code, const struct adapter_answer *answer,
		 const char *text);
