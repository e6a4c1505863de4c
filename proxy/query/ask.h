// The proxy's end of core/catalog/query.h: every row of its table.
#pragma once

#include "proxy/proxy_state.h"

// A question on its way. It lives on the first worker, which keeps its deadline and gives the
// answer; others hold it only while they work on it.
struct ask {
	struct loop_task task; // to the worker that works on it next
	struct list pending;   // member of the first worker's asks
	struct loop_timer timer;
	struct proxy *proxy;
	struct worker *worker; // who works on it
	enum ask_kind kind;
	json_t *parameters;
	uint64_t deadline_ns;
	ask_done_fn done;
	void *done_ctx;
	bool answered; // at the deadline; what comes later is dropped

	json_t *answer;
	enum code code;
	char text[200];

	unsigned step;           // of a question that goes round the workers
	json_t *index;           // what stats.c finds its rows by
	struct backend *backend; // reference while the adapter works on it
	void *work;              // of a question about a group
};

void ask_init(struct proxy *proxy);
void asks_deinit(struct worker *worker); // answers what is left

// Ends the work on it: the answer so far, or why not. @thread any
void ask_finish(struct ask *ask, enum code code, const char *text);
bool ask_number(const struct ask *ask, const char *name, uint64_t *ret);

// proxy/query/stats.c: questions that go round all workers, each of which adds its part alone.
unsigned stats_rounds(enum ask_kind kind);
enum code stats_step(struct ask *ask, struct worker *worker, unsigned round);
void stats_end(struct ask *ask); // brings what was gathered into the answer's form
