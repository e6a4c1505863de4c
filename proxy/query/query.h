// The proxy's end of core/catalog/query.h: every row of its table.
#pragma once

#include "core/base/list.h"
#include "core/catalog/query.h"
#include "core/loop/loop.h"

struct backend;
struct probes;
struct shared;
struct worker;
struct workers;

// What answers them, on the first worker.
struct queries {
	struct query_channel channel; // first: found again from it
	const struct workers *workers;
	struct shared *shared;
	struct probes *probes;
	const char *proxy_id;
	uint64_t started_ns;
	struct list pending; // those that are not answered
};

// A query on its way. It lives on the first worker, which keeps its deadline and gives the
// answer; others hold it only while they work on it.
struct query {
	struct loop_task task; // to the worker that works on it next
	struct list pending;   // member of queries->pending
	struct loop_timer timer;
	struct queries *queries;
	struct worker *worker; // that works on it
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
	json_t *index;           // what gather.c finds its rows by
	struct backend *backend; // reference while the adapter works on it
	void *work;              // of a query about a group
};

void query_init(struct queries *queries, const struct workers *workers, struct shared *shared,
		struct probes *probes, const char *proxy_id); // strings are borrowed
void query_deinit(struct queries *queries);                   // answers what is left

// Ends the work on it: the answer so far, or why not. @thread any
void query_finish(struct query *query, enum code code, const char *text);
bool query_number(const struct query *query, const char *name, uint64_t *ret);
