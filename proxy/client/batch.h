// A batch of records on its way from a client to the backend: charged, stored, answered. It knows
// no frame.
#pragma once

#include "adapters/adapter.h"
#include "core/wire/record.h"
#include "proxy/client/conn.h"
#include "proxy/client/sender_turn.h"
#include "proxy/resource/topic.h"

struct batch;

struct batch_part {
	struct loop_task task; // the way back from the adapter
	struct submit submit;
	struct batch *batch;
	struct quota_charge charge;
	uint64_t bytes; // of its records
	struct batch_part *next;
};

// Embedded in its owner, which fills the members up to `left_bytes` and has room for runs.
struct batch {
	// Every record has its outcome: batch_next_run(). The owner ends it with batch_deinit();
	// the connection may be closed (conn is NULL then).
	void (*done)(struct batch *batch);
	struct conn *conn;        // NULL: closed
	struct topic_use *use;    // a reference; NULL: there is no open topic, all is refused
	struct sender_turn *turn; // of the sender; NULL: the same
	struct buf *buf;          // that the records lie in, a reference
	uint32_t held_bytes;      // of memory, counted until it is answered
	uint32_t offered;         // records, those among them that are no `records`
	uint64_t offered_bytes;
	bool oneway; // the client hears of nothing
	struct submit_record *records;
	struct submit_run *runs; // room for `valid`
	uint32_t valid;          // records
	uint64_t left_bytes;     // of those that were not sent yet

	struct list in_session; // member of session->batches
	struct list parked;     // member of session->parked while records of it wait
	struct worker *worker;
	struct tenant_view *tenant;
	uint32_t plain_bytes, plain_charged; // of a compressed one; of these, from the tenant
	uint64_t storage_bytes;              // taken of what the tenant may store
	bool finished;
	uint32_t sent;       // the first `sent` of its records went to the adapter
	enum code rest_code; // with OK: records after `sent` wait
	uint32_t rest_retry_ms;
	uint64_t wait_until_ns;
	uint32_t open_parts;
	struct batch_part *last_part;
	struct batch_part part; // the first
};

// For clients: rounded up.
static inline uint32_t batch_wait_ms(uint64_t wait_ns)
{
	return (uint32_t)MIN(wait_ns / MS_NS + (wait_ns % MS_NS != 0), UINT32_MAX);
}

// Takes a batch of the connection up; its memory counts from now on.
static inline void batch_init(struct batch *batch)
{
	batch->worker = batch->conn->worker;
	batch->tenant = batch->conn->session.tenant;
	batch->last_part = &batch->part;
	list_init(&batch->in_session);
	list_init(&batch->parked);
	buf_ref(batch->buf);
	budget_add(batch->tenant->memory, BUDGET_BODIES, batch->held_bytes);
	if (batch->use)
		++batch->use->refs;
}

void batch_deinit(struct batch *batch); // gives everything back; also one that was not sent

// Submits what may pass, refuses the rest, calls done() at once or later. `code` other than OK: all
// is refused with it. `plain_bytes`: of memory that a compressed batch was unpacked to; else 0.
void batch_send(struct batch *batch, enum code code, uint32_t plain_bytes);

// Where a record goes whose parts have a say in it.
enum code batch_place_by_parts(const struct topic_use *use, const uint8_t *data,
			       uint32_t *ret_partition);

// What is wrong with a well-formed record at this topic, and where it goes. `unkeyed`: what has no
// key goes there.
static inline enum code batch_place(const struct topic_use *use, uint32_t max_record,
				    const uint8_t *data, uint32_t size, uint32_t unkeyed,
				    uint32_t *ret_partition)
{
	if (size > max_record)
		return CODE_TOO_LARGE;
	*ret_partition = unkeyed;
	if (record_flags(data) & (RECORD_KEY | RECORD_PARTITION | RECORD_DUE))
		return batch_place_by_parts(use, data, ret_partition);
	return CODE_OK;
}

// The outcomes of a finished batch, in the order of its records; zero at first.
struct batch_cursor {
	const struct batch_part *part;
	uint32_t run, used; // of the part's runs; records of it that are answered
	uint32_t done;      // records that were told
};

// Consecutive records that ended the same way, at most `most`; counted as they are told.
void batch_next_run(struct batch *batch, struct batch_cursor *cursor, uint32_t most,
		    struct submit_run *ret);
// Counts what the owner has refused by itself, and which is no record of the batch.
void batch_count_refused(struct batch *batch, const struct submit_run *run);

// The largest number of runs, as long as none is cut by `most`.
static inline size_t batch_runs_most(const struct batch *batch)
{
	size_t runs = 1;

	for (const struct batch_part *part = &batch->part; part; part = part->next)
		runs += part->submit.run_count;
	return runs;
}

// What waits for the quota is refused: the sender's topic is closed.
void batch_refuse_waiting(struct conn *conn, const struct sender_turn *turn, enum code code);
// The connection closes: what is under way is finished without an answer.
void batch_detach_all(struct conn *conn);
void batch_waiting_over(struct loop_timer *timer); // of tenant_clients: the quota lets more pass
