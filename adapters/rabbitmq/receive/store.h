// The retry store of a group on the cluster: `.retry` and its levels. What of it is there, how many
// messages wait in it, and making it.
//
// Invariant on the cluster: `.retry` is made before any level, and a level after every shorter one
// of its ladder. So what is there is found with at most two looks at what is missing, each of which
// costs the broker a line in its log.
#pragma once

#include "adapters/queue/queue.h"
#include "adapters/rabbitmq/ask/ask.h"
#include "adapters/rabbitmq/ask/names.h"

// What is there: of a group without any, all is 0.
struct rabbitmq_store {
	bool retry;
	bool replay;       // `.replay` has messages
	uint8_t levels[2]; // the number of its levels, the shortest first; [attempts]
};

// Owned by the caller until done(). Group and adapter are borrowed as long.
struct rabbitmq_store_look {
	struct adapter *adapter;
	const struct group *group;
	bool with_queue; // counts the group's queue, too: NOT_FOUND when it is not there
	// @thread ask link
	void (*done)(struct rabbitmq_store_look *look, enum code code, const char *text);
	// Out, with OK.
	struct rabbitmq_store store;
	struct queue_counts counts; // retrying and delayed: in the levels that are there
	// store.c's.
	struct rabbitmq_ask ask;
	struct rabbitmq_step steps[3 + 2 * RABBITMQ_LEVELS];
	struct rabbitmq_name names[3 + 2 * RABBITMQ_LEVELS];
	uint8_t places[3 + 2 * RABBITMQ_LEVELS]; // what each step looks at
	bool ended[2];                           // the ladder is known; [attempts]
};

// Finds what is there, and counts it. @thread any
void rabbitmq_store_look(struct rabbitmq_store_look *look);
// Counts the levels of `store`, of which at least one is there, without looking for more; a level
// that has been deleted counts nothing. @thread any
void rabbitmq_store_count(struct rabbitmq_store_look *look, struct rabbitmq_store store);

// Makes `.retry`, and the levels up to one. Owned by the caller until done().
struct rabbitmq_store_make {
	struct adapter *adapter;
	const struct group *group;
	const struct topic *topic;
	bool attempts; // which ladder
	int level;     // -1: `.retry` alone
	void *ctx;     // the caller's
	// @thread ask link
	void (*done)(struct rabbitmq_store_make *make, enum code code, const char *text);
	// store.c's.
	struct rabbitmq_ask ask;
	struct rabbitmq_step steps[1 + RABBITMQ_LEVELS];
	struct rabbitmq_name names[1 + RABBITMQ_LEVELS];
};

void rabbitmq_store_make(struct rabbitmq_store_make *make); // @thread any
