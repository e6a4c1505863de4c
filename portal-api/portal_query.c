// Queries to the proxies, with the answer on the portal's thread.
//
// A query goes through the channel to the proxies (core/catalog/query.h) and is answered on any
// thread. From there it is posted to the portal's loop, which does not end before (state.c).
//
// Invariant: each query is answered exactly once, at its deadline at the latest; when it cannot be
// sent, before portal_query() returns. An answer that is not OK carries no JSON. It repeats no
// query.

#include "portal-api/portal_query.h"

#include "core/base/clock.h"
#include "core/base/util.h"
#include "portal-api/state.h"

struct query {
	struct loop_task task;
	struct portal *portal;
	portal_answer_fn fn;
	void *ctx;
	json_t *answer;
	char *text;
	enum code code;
};

static void on_answer(struct loop_task *task)
{
	struct query *query = CONTAINER_OF(task, struct query, task);
	struct portal *portal = query->portal;

	query->fn(query->ctx, query->code, query->answer, query->text);
	free(query->text);
	free(query);
	state_answered(portal);
}

// @thread any
static void take_answer(void *ctx, enum code code, json_t *answer, const char *text)
{
	struct query *query = ctx;

	query->code = code;
	query->answer = code == CODE_OK ? answer : NULL;
	if (code != CODE_OK)
		json_decref(answer);
	query->text = text ? strdup(text) : NULL;
	state_post(query->portal, &query->task);
}

void portal_query(struct portal *portal, enum query_kind kind, json_t *parameters,
		  portal_answer_fn fn, void *ctx)
{
	struct query *query = calloc(1, sizeof *query);
	struct query_channel *channel = portal->config.queries;

	if (!query || !channel) {
		free(query);
		json_decref(parameters);
		fn(ctx, channel ? CODE_OVERLOADED : CODE_NOT_READY, NULL,
		   channel ? NULL : "no proxy can be asked");
		return;
	}
	*query = (struct query){.task.fn = on_answer, .portal = portal, .fn = fn, .ctx = ctx};
	state_asked(portal);
	channel->query(channel, kind, parameters, clock_now_ns() + portal->config.query_ms * MS_NS,
		       take_answer, query);
}
