// What a producer has taken and not yet ended: the open batch, batches that wait, batches at the
// proxy. A pure state machine: no socket, clock, thread or lock; the time is an argument.
#pragma once

#include "sdk/c/src/batch.h"
#include "sdk/c/src/result.h"
#include "sdk/c/src/retry_parked.h"

enum {
	SEND_QUEUE_E_FULL = 1,      // the memory limit is reached
	SEND_QUEUE_E_WAIT = 2,      // nothing may leave now; send_queue_next_ns tells when
	SEND_QUEUE_E_TOO_LARGE = 3, // the batch given is one record that no frame can hold: end it
};

struct send_queue_config {
	uint64_t memory_bytes;
	uint64_t linger_ns;
	uint32_t batch_bytes;
	uint32_t batch_messages;
	bool oneway;
};

struct send_queue {
	struct send_queue_config config;
	struct batch *open;
	struct list waiting;        // of struct batch, sealed, in order
	struct list sent;           // in order of sending
	struct retry_parked parked; // waits apart from `waiting`
	struct list spare;          // emptied batches for reuse
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
struct send_queue_verdict {
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
typedef void (*send_queue_report_fn)(void *ctx, const struct batch_entry *entry,
				     struct mqp_result *result);

void send_queue_init(struct send_queue *queue, const struct send_queue_config *config);
void send_queue_deinit(struct send_queue *queue); // frees what is left unreported

// Makes room for one record; the caller writes it before any other call on the queue.
// `entry` gives done, arg, deadline and BATCH_KEYED. `ret_wake`: the driver must look at the send
// queue. SEND_QUEUE_E_FULL; -ENOMEM.
int send_queue_add(struct send_queue *queue, size_t record_size, const struct batch_entry *entry,
		   uint64_t now_ns, uint8_t **ret_record, bool *ret_wake);
size_t send_queue_charge(size_t record_size); // what one record takes from memory_bytes
bool send_queue_fits(const struct send_queue *queue, size_t charge); // alone, one always does
bool send_queue_is_relieved(const struct send_queue *queue); // an eighth of its memory is free

// The next batch to be sent; it is then in `sent` under a number. `window` is what the proxy grants
// now and `max_payload` what any frame may have, both without the frame header; `most`: how many
// messages it may hold, not 0. SEND_QUEUE_E_WAIT; SEND_QUEUE_E_TOO_LARGE; -ENOMEM.
int send_queue_take(struct send_queue *queue, uint64_t now_ns, size_t window, size_t max_payload,
		    uint64_t most, struct batch **ret_batch);
// In `sent`; NULL: none.
struct batch *send_queue_find(const struct send_queue *queue, uint64_t number);
struct batch *send_queue_last_sent(const struct send_queue *queue); // NULL: none

// Applies one run of an answer to a sent batch, from entry `first` on, and reports each; those to
// be sent again stay open in it. When the runs have covered the batch, follow with
// send_queue_settle.
void send_queue_answer(struct batch *batch, uint32_t first, const struct send_queue_verdict *run,
		       uint64_t now_ns, send_queue_report_fn report, void *ctx);
// Takes an answered batch out of `sent`: what has not ended goes to the front of `waiting`. When
// several are lost together, settle the last one first.
void send_queue_settle(struct send_queue *queue, struct batch *batch, uint64_t now_ns);

// Takes what waits and has passed its deadline (or everything) out of the send queue. NULL:
// nothing. Report it with send_queue_end, then give it to send_queue_drop.
struct batch *send_queue_expired(struct send_queue *queue, uint64_t now_ns, bool everything);
void send_queue_end(struct batch *batch, enum mqp_code code, send_queue_report_fn report,
		    void *ctx);
// The same for what is sent: reported in place; the batch stays until it is answered.
void send_queue_end_sent(struct send_queue *queue, uint64_t now_ns, bool everything,
			 enum mqp_code code, send_queue_report_fn report, void *ctx);
void send_queue_count_ended(struct send_queue *queue); // after send_queue_end_sent
// Gives memory back; keeps the batch for reuse.
void send_queue_drop(struct send_queue *queue, struct batch *batch);

bool send_queue_waits(const struct send_queue *queue); // something is not sent

// Seals the open batch, so that it does not linger; send_queue_flushed(…, what is returned) then
// tells whether everything taken so far has ended.
uint64_t send_queue_flush(struct send_queue *queue);
bool send_queue_flushed(const struct send_queue *queue, uint64_t serial);

// When to look again because of time, after `now_ns` but for deadlines, maybe earlier than there is
// something to do; UINT64_MAX: never.
uint64_t send_queue_next_ns(struct send_queue *queue, uint64_t now_ns);
