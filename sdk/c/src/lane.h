// What a producer has taken and not yet ended: the open batch, batches that wait, batches at the
// proxy. A pure state machine: no socket, clock, thread or lock; the time is an argument.
#pragma once

#include "sdk/c/src/batch.h"
#include "sdk/c/src/parked.h"
#include "sdk/c/src/result.h"

enum {
	LANE_E_FULL = 1,      // the memory limit is reached
	LANE_E_WAIT = 2,      // nothing may leave now; lane_next_ns tells when, if time is missing
	LANE_E_TOO_LARGE = 3, // the batch given is one record that no frame can hold: end it
};

struct lane_config {
	uint64_t memory_bytes;
	uint64_t linger_ns;
	uint32_t batch_bytes;
	uint32_t batch_messages;
	bool oneway;
};

struct lane {
	struct lane_config config;
	struct lane_batch *open;
	struct list waiting;  // of struct lane_batch, sealed, in order
	struct list sent;     // in order of sending
	struct parked parked; // waits apart from `waiting`
	struct list spare;    // emptied batches for reuse
	uint32_t spare_count;
	uint32_t sent_count;
	uint32_t sent_keyed;
	uint32_t failures; // rounds in a row that ended without an OK
	uint64_t memory;   // charged
	uint64_t messages; // not ended
	uint64_t next_number;
	uint64_t hold_ns;    // nothing leaves before
	uint64_t armed_ns;   // the driver's timer is set for this time at the latest
	uint32_t waiters;    // threads that wait for memory
	uint64_t soonest_ns; // no entry that has not ended has an earlier deadline
	uint64_t next_serial;
	bool idle;      // nothing to be done: wake the driver for the first message
	bool idle_full; // wake the driver for the first full batch
};

// What one run of a PRODUCED frame says.
struct lane_verdict {
	uint32_t count;
	enum mqp_outcome outcome;
	enum mqp_code code;
	uint32_t retry_after_ms;
	uint32_t partition;
	int durability;
	uint64_t offset;
	uint64_t incarnation;
	bool paced; // REJECTED by a quota: the driver knows when the turn comes
};

// Receives the end of an attempt; `result->final` says whether the message has ended.
typedef void (*lane_report_fn)(void *ctx, const struct lane_entry *entry,
			       struct mqp_result *result);

void lane_init(struct lane *lane, const struct lane_config *config);
void lane_deinit(struct lane *lane); // frees what is left unreported

// Makes room for one record; the caller writes it before it lets anybody else at the lane. `entry`
// gives done, arg, deadline and LANE_KEYED. `ret_wake`: the driver must look at the lane.
// LANE_E_FULL; -ENOMEM.
int lane_add(struct lane *lane, size_t record_size, const struct lane_entry *entry, uint64_t now_ns,
	     uint8_t **ret_record, bool *ret_wake);
size_t lane_charge(size_t record_size);                 // what one record takes from memory_bytes
bool lane_fits(const struct lane *lane, size_t charge); // alone, one always does
bool lane_is_relieved(const struct lane *lane);         // an eighth of its memory is free

// The next batch to be sent; it is then in `sent` under a number. `window` is what the proxy grants
// now and `max_payload` what any frame may have, both without the frame header; `most`: how many
// messages it may hold, not 0. LANE_E_WAIT; LANE_E_TOO_LARGE; -ENOMEM.
int lane_take(struct lane *lane, uint64_t now_ns, size_t window, size_t max_payload, uint64_t most,
	      struct lane_batch **ret_batch);
struct lane_batch *lane_find(const struct lane *lane, uint64_t number); // in `sent`; NULL: none
struct lane_batch *lane_last_sent(const struct lane *lane);             // NULL: none

// Applies one run of an answer to a sent batch, from entry `first` on, and reports each; those to
// be sent again stay open in it. When the runs have covered the batch, follow with lane_settle.
void lane_answer(struct lane_batch *batch, uint32_t first, const struct lane_verdict *run,
		 uint64_t now_ns, lane_report_fn report, void *ctx);
// Takes an answered batch out of `sent`: what has not ended goes to the front of `waiting`. When
// several are lost together, settle the last one first.
void lane_settle(struct lane *lane, struct lane_batch *batch, uint64_t now_ns);

// Takes what waits and has passed its deadline (or everything) out of the lane. NULL: nothing.
// Report it with lane_end, then give it to lane_drop.
struct lane_batch *lane_expired(struct lane *lane, uint64_t now_ns, bool everything);
void lane_end(struct lane_batch *batch, enum mqp_code code, lane_report_fn report, void *ctx);
// The same for what is sent: reported in place; the batch stays until it is answered.
void lane_end_sent(struct lane *lane, uint64_t now_ns, bool everything, enum mqp_code code,
		   lane_report_fn report, void *ctx);
void lane_count_ended(struct lane *lane);                    // after lane_end_sent
void lane_drop(struct lane *lane, struct lane_batch *batch); // gives memory back; keeps for reuse

bool lane_waits(const struct lane *lane); // something is not sent

// Seals the open batch, so that it does not linger; lane_flushed(…, what is returned) then tells
// whether everything taken so far has ended.
uint64_t lane_flush(struct lane *lane);
bool lane_flushed(const struct lane *lane, uint64_t serial);

// When to look again because of time, after `now_ns` but for deadlines, maybe earlier than there is
// something to do; UINT64_MAX: never.
uint64_t lane_next_ns(struct lane *lane, uint64_t now_ns);
