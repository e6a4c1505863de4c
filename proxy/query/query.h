// The proxy's end of core/catalog/query.h: every row of its table.
#pragma once

#include "proxy/proxy_state.h"

// A query on its way. It lives on the first worker, which keeps its deadline and gives the
// answer; others hold it only while they work on it.
struct query {
	struct loop_task task; // to the worker that works on it next
	struct list pending;   // member of the first worker's queries
	struct loop_timer timer;
	struct proxy *proxy;
	struct worker *worker; // who works on it
	enum query_kind kind;
	json_t *parameters;
	uint64_t deadline_ns;
	query_done_fn done;
	void *done_ctx;
	bool answered; // at the deadline; what comes later is dropped

	json_t *answer;
	enum code code;
	char text[200];

	unsigned step;           // of a query that goes round the workers
	json_t *index;           // what stats.c finds its rows by
	struct backend *backend; // reference while the adapter works on it
	void *work;              // of a query about a group
};

void query_init(struct proxy *proxy);
void queries_deinit(struct worker *worker); // answers what is left

// Ends the work on it: the answer so far, or why not. @thread any
void query_finish(struct query *query, enum code code, const char *text);
bool query_number(const struct query *query, const char *name, uint64_t *ret);

// proxy/query/stats.c: queries that go round all workers, each of which adds its part alone.
unsigned stats_rounds(enum query_kind kind);
enum code stats_step(struct query *query, struct worker *worker, unsigned round);
void stats_end(struct query *query); // brings what was gathered into the answer's form
