// The link between a subscription (on its connection's loop, "near") and its member of the group
// (on the group's loop, "home"), and the events that they exchange. docs/dataplane.md shows which
// side sends what.
//
// The link is shared and each side touches only its own part. Events that must never fail for want
// of memory are part of it; each of these is sent at most once. GONE is the last event home sends,
// so near frees the link then.
#pragma once

#include "adapters/adapter.h"
#include "proxy/base/worker.h"
#include "proxy/resource/budget.h"

struct member;
struct subscription;

// What a subscription does with events of its member, on its own loop.
struct member_link_ops {
	loop_task_fn deliver;  // struct deliver_event
	loop_task_fn settled;  // struct settle_event
	loop_task_fn drained;  // struct drained_event
	loop_task_fn throttle; // struct throttle_event
};

struct member_link {
	const struct member_link_ops *ops;
	struct worker *near, *home;
	uint64_t group;
	uint64_t session; // as operators see it

	struct subscription *subscription; // near; NULL: closed
	struct list waiting;               // near: member of clients->leave_queue
	bool paced;                        // near: its LEAVE was one of those that are counted
	struct member *member;             // home; NULL: not joined, or gone
	uint32_t requests;                 // home: settles that are not answered
	bool left;                         // home: near has gone
	bool ending;                       // home: `end` was posted
	bool tells_begun;                  // the client does
	bool lost;                         // with LEAVE: by the client's doing, or the network's

	struct loop_task join, stop, leave;     // near → home
	struct loop_task joined, stopped, gone; // home → near
	struct loop_task closed;                // home → near: the group ends it
	struct loop_task end;                   // home → home: from inside the engine

	// With CLOSED.
	enum code closed_code;
	const char *closed_text; // static

	// With JOINED.
	enum code code;
	const char *text;          // static
	const struct group *model; // references, near drops them
	const struct topic *topic;
	const struct topic *dead_letter; // NULL: none
};

struct credit_event {
	struct loop_task task;
	struct member_link *link;
	uint64_t messages, bytes, drain, begun; // totals
	bool heard;                             // it comes from the client at this moment
};

// Goes home with the entries of a SETTLE and comes back with what became of them.
struct settle_event {
	struct loop_task task;
	struct member_link *link;
	uint64_t number; // 0: no answer is wanted
	uint64_t since_ns;
	uint32_t count;
	uint32_t pending; // home: notices to come before it may go back
	enum code code;   // home: not OK: the backend could not make it durable
	struct settle entries[];
};

struct deliver_event {
	struct loop_task task;
	struct member_link *link;
	struct budget_share *memory; // near gives it back: the output is counted from then on
	uint64_t bytes;              // counted there
	uint32_t count;
	uint32_t flags; // of each of them
	// A reference is held for each buffer that differs from the one of the entry before.
	struct delivery deliveries[];
};

struct drained_event {
	struct loop_task task;
	struct member_link *link;
	uint64_t number;
};

struct throttle_event {
	struct loop_task task;
	struct member_link *link;
	uint64_t wait_ns, limit, remaining;
	bool bytes;
};
