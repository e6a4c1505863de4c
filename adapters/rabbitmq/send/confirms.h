// What a channel in confirm mode has published and the broker has not answered: a ring by tag. Pure
// but for memory.
//
// The broker names tags from 1 on, one at a time or all up to one; a message without a route comes
// back with its id before its confirm does.
#pragma once

#include "core/wire/record.h"

#define RABBITMQ_CONFIRMS_COUNT 4096u      // messages that wait for their confirm
#define RABBITMQ_CONFIRMS_BYTES (8u << 20) // of them; one message may be larger
#define RABBITMQ_CONFIRMS_SPAN  (4 * RABBITMQ_CONFIRMS_COUNT) // of tags from the oldest on

enum rabbitmq_verdict {
	RABBITMQ_CONFIRMED,
	RABBITMQ_REFUSED,  // basic.nack
	RABBITMQ_RETURNED, // confirmed, and it had no route
	RABBITMQ_SILENT,   // no confirm in time; one that comes later is ignored
	RABBITMQ_LOST,     // the channel has ended
};

struct rabbitmq_confirm {
	void *owner;       // the batch or post; not looked at
	const uint8_t *id; // RECORD_ID_SIZE bytes, good until the verdict
	uint64_t at_ns;    // when it was published
	uint32_t index;    // in the batch
	uint32_t bytes;
	bool returned, ended; // confirms.c's
};

typedef void (*rabbitmq_verdict_fn)(void *ctx, const struct rabbitmq_confirm *confirm,
				    enum rabbitmq_verdict verdict);

struct rabbitmq_confirms {
	struct rabbitmq_confirm *ring;
	uint64_t size;       // of the ring, a power of two
	uint64_t base, next; // tags: the oldest that is kept, and that of the next message
	uint64_t hint;       // where to look for the next return
	uint64_t silent;     // all before it have ended
	uint32_t count;      // that have not ended
	uint64_t bytes;      // of those
	rabbitmq_verdict_fn tell;
	void *ctx;
};

// `tell` gets one verdict for each message. It may be NULL only for deinit.
void rabbitmq_confirms_init(struct rabbitmq_confirms *confirms, rabbitmq_verdict_fn tell,
			    void *ctx);
void rabbitmq_confirms_deinit(struct rabbitmq_confirms *confirms); // nothing waits

// May a message be published now? *ret_stuck (may be NULL): not, because the oldest tag has no
// answer, however many others have.
bool rabbitmq_confirms_have_room(const struct rabbitmq_confirms *confirms, bool *ret_stuck);
int rabbitmq_confirms_reserve(struct rabbitmq_confirms *confirms); // for one more; -ENOMEM
// After a reserve. The message has the next tag.
void rabbitmq_confirms_add(struct rabbitmq_confirms *confirms,
			   const struct rabbitmq_confirm *confirm);

// basic.ack and basic.nack. False: no such tag was given.
bool rabbitmq_confirms_answer(struct rabbitmq_confirms *confirms, uint64_t tag, bool multiple,
			      bool ack);
// basic.return: the oldest message of this id that is not returned yet. False: there is none.
bool rabbitmq_confirms_return(struct rabbitmq_confirms *confirms, const uint8_t id[RECORD_ID_SIZE]);
// What was published before then ends SILENT.
void rabbitmq_confirms_expire(struct rabbitmq_confirms *confirms, uint64_t before_ns);
// Everything ends LOST, in order; tags begin with 1 again.
void rabbitmq_confirms_end(struct rabbitmq_confirms *confirms);
