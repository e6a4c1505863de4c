// One suspect at a time in a process: while it waits for the others to end, and while it runs,
// nothing else begins. Shared by all consumers of a process, of all clients.
//
// @thread any: every function takes the barrier's lock, which is the innermost one.
#pragma once

#include "core/base/list.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct hand;
struct hand_item;
struct hand_sub;

enum barrier_phase {
	BARRIER_DOWN,
	BARRIER_WAITS,   // until nothing else runs
	BARRIER_GRANTED, // its begin may be told; nothing else runs
	BARRIER_RUNS,    // begun, and not settled
	BARRIER_SETTLES, // settled
	BARRIER_SENT,    // the settle is on its way to the socket
};

struct barrier {
	pthread_mutex_t lock; // guards all but `up`
	atomic_bool up;       // phase is not DOWN
	struct list hands;
	enum barrier_phase phase;
	const struct hand *owner;
	const struct hand_sub *sub; // these two name the suspect
	uint64_t number;
	bool last;         // at its last attempt: no limit
	bool calling;      // its callback runs
	bool gone;         // its subscription has ended: it is never settled
	uint64_t since_ns; // when it began to wait
	uint64_t until_ns; // RUNS: others wait no longer
};

#define BARRIER_ALONE_NS 1000000000ull // for so long others wait for a suspect

enum barrier_answer { BARRIER_WAIT, BARRIER_GO, BARRIER_BESIDE };

void barrier_init(struct barrier *barrier);
void barrier_join(struct barrier *barrier, struct hand *hand);
void barrier_part(struct barrier *barrier, struct hand *hand); // it is woken no more

// A callback begins that is no suspect's. False: not now; the hand is woken when it may.
bool barrier_enter(struct barrier *barrier, struct hand *hand);
void barrier_exit(struct barrier *barrier, struct hand *hand); // it has ended, or hangs

// May the suspect at the head of a hand be told? BESIDE: it has waited for half of the visibility
// timeout, and goes as if it were none.
enum barrier_answer barrier_ask(struct barrier *barrier, struct hand *hand,
				const struct hand_item *item, uint64_t now_ns);
// It begins, if that was granted and told; `limit_ns`: for so long it may run at its last attempt.
bool barrier_start(struct barrier *barrier, const struct hand *hand, const struct hand_item *item,
		   bool calls, uint64_t now_ns, uint64_t limit_ns);

// What becomes of a delivery; each does nothing unless it is the suspect's.
void barrier_call_over(struct barrier *barrier, const struct hand *hand, const struct hand_sub *sub,
		       uint64_t number);
void barrier_settled(struct barrier *barrier, const struct hand_item *item);
void barrier_sent(struct barrier *barrier, const struct hand_sub *sub);
void barrier_written(struct barrier *barrier, const struct hand_sub *sub);
void barrier_drop(struct barrier *barrier, const struct hand_item *item); // left the hand unbegun
void barrier_drop_sub(struct barrier *barrier,
		      const struct hand_sub *sub); // nothing can be settled

// Time, for the hand of the suspect. Returns when to look again, or UINT64_MAX.
uint64_t barrier_tick(struct barrier *barrier, const struct hand *hand, uint64_t now_ns);
