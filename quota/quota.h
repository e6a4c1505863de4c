// What a tenant may do and how much of it is in use: rates of both directions, and counts
// (connections, memory, …).
//
// One ledger a tenant and process, shared by all loops without a lock (@thread any). Every charge
// is an object that knows what to give back; when a ledger is freed every balance must be zero.
#pragma once

#include "core/model/model.h"
#include "quota/gcra.h"

#include <stddef.h>

enum quota_direction { QUOTA_PRODUCE, QUOTA_CONSUME, QUOTA_DIRECTIONS };
enum quota_count { QUOTA_CONNECTIONS, QUOTA_MEMORY, QUOTA_COUNTS };

struct quota_ledger {
	struct gcra messages[QUOTA_DIRECTIONS];
	struct gcra bytes[QUOTA_DIRECTIONS];
	uint64_t used[QUOTA_COUNTS];  // atomic
	uint64_t limit[QUOTA_COUNTS]; // atomic
	uint64_t open_charges;        // atomic
	uint64_t turns;               // atomic; of senders, see struct quota_turn
	uint64_t senders;             // atomic; number that have joined, whether or not they send
};

void quota_ledger_init(struct quota_ledger *ledger, const struct tenant_limits *limits,
		       uint64_t memory_limit);
// Takes effect with the next charge; a higher rate makes what is owed less time (gcra_set_rate).
void quota_ledger_set(struct quota_ledger *ledger, const struct tenant_limits *limits,
		      uint64_t now_ns);
void quota_ledger_deinit(struct quota_ledger *ledger); // asserts that nothing is in use

// ---- rates

struct quota_charge {
	struct quota_ledger *ledger; // NULL: nothing is charged
	uint64_t messages, bytes;
	enum quota_direction direction;
};

// Charges a batch as far as it fits: the first k of `count` things whose sizes stand at `sizes`,
// `stride` bytes apart; `total` is the sum of all sizes. Returns k; `charge` is filled for these.
size_t quota_charge_batch(struct quota_ledger *ledger, enum quota_direction direction,
			  const uint32_t *sizes, size_t stride, size_t count, uint64_t total,
			  uint64_t now_ns, struct quota_charge *charge);
// What was rejected or failed costs nothing.
void quota_charge_give_back(struct quota_charge *charge, uint64_t messages, uint64_t bytes);
void quota_charge_close(
	struct quota_charge *charge); // the rest has been used; accepts one that charges nothing

// What a sender was promised: a number of messages, charged already, that pass one by one from
// `start_ns` on, all of them at `at_ns`. No other sender can have them, so a sender that waits for
// its turn is not refused again. All zero: no turn.
struct quota_turn {
	struct quota_ledger *ledger;
	uint64_t start_ns, at_ns;
	uint64_t promised;        // messages
	uint64_t messages, bytes; // left of them
};

void quota_sender_joins(struct quota_ledger *ledger);
void quota_sender_leaves(struct quota_ledger *ledger);
// How many messages of `size` bytes a sender may be promised: its share of the burst, at least 1.
// `first`: others may begin at the same time as it.
uint64_t quota_turn_share(const struct quota_ledger *ledger, uint64_t size, bool first);
bool quota_turn_contended(const struct quota_ledger *ledger); // a sender waits for a turn
// When `messages` would pass if no other sender came.
uint64_t quota_turn_wait_ns(const struct quota_ledger *ledger, uint64_t messages, uint64_t size,
			    uint64_t now_ns);
// False: nothing ever passes.
bool quota_turn_promise(struct quota_ledger *ledger, uint64_t messages, uint64_t size,
			uint64_t now_ns, struct quota_turn *ret);
// As quota_charge_batch, out of what was promised and has its time; then out of what is free.
size_t quota_turn_charge(struct quota_ledger *ledger, struct quota_turn *turn,
			 const uint32_t *sizes, size_t stride, size_t count, uint64_t total,
			 uint64_t now_ns, struct quota_charge *charge);
void quota_turn_end(struct quota_turn *turn); // gives back what is left; accepts none
bool quota_produce_limited(const struct quota_ledger *ledger);

struct quota_answer {
	uint64_t wait_ns;   // until one thing of that size would pass
	uint64_t remaining; // messages that would pass now
	uint64_t limit;     // of the rate that is exceeded
	bool bytes;         // that rate is bytes a second
};
void quota_explain(const struct quota_ledger *ledger, enum quota_direction direction, uint64_t size,
		   uint64_t now_ns, struct quota_answer *ret);

// ---- counts

bool quota_count_take(struct quota_ledger *ledger, enum quota_count count,
		      uint64_t amount); // false: over the limit, nothing was taken
void quota_count_give_back(struct quota_ledger *ledger, enum quota_count count, uint64_t amount);
uint64_t quota_count_used(const struct quota_ledger *ledger, enum quota_count count);
