// The ring of confirms.h.
//
// Tags from `base` up to `next` are in the ring, each at its tag modulo the size; those that have
// ended stay until all before them have. A tag that was answered twice is answered once. Returns
// come in the order in which messages were published, so the search for one goes on where the last
// ended.
//
// Invariants: each message gets one verdict; count and bytes are those of messages without one; the
// ring holds at most RABBITMQ_CONFIRMS_SPAN tags. A verdict may add no message to this ring.

#include "adapters/rabbitmq/send/confirms.h"

#include <errno.h>

#define SIZE_FIRST 256u

static struct rabbitmq_confirm *at(const struct rabbitmq_confirms *confirms, uint64_t tag)
{
	return &confirms->ring[tag & (confirms->size - 1)];
}

static void tags_reset(struct rabbitmq_confirms *confirms)
{
	confirms->base = confirms->next = confirms->hint = confirms->silent = 1;
}

void rabbitmq_confirms_init(struct rabbitmq_confirms *confirms, rabbitmq_verdict_fn tell, void *ctx)
{
	*confirms = (struct rabbitmq_confirms){.tell = tell, .ctx = ctx};
	tags_reset(confirms);
}

void rabbitmq_confirms_deinit(struct rabbitmq_confirms *confirms)
{
	assert(confirms->count == 0);
	free(confirms->ring);
	confirms->ring = NULL;
}

bool rabbitmq_confirms_have_room(const struct rabbitmq_confirms *confirms, bool *ret_stuck)
{
	bool stuck = confirms->next - confirms->base >= RABBITMQ_CONFIRMS_SPAN;

	if (ret_stuck)
		*ret_stuck = stuck;
	return !stuck && confirms->count < RABBITMQ_CONFIRMS_COUNT &&
	       confirms->bytes < RABBITMQ_CONFIRMS_BYTES;
}

int rabbitmq_confirms_reserve(struct rabbitmq_confirms *confirms)
{
	struct rabbitmq_confirms larger = *confirms;

	if (confirms->next - confirms->base < confirms->size)
		return 0;
	larger.size = confirms->size ? 2 * confirms->size : SIZE_FIRST;
	larger.ring = calloc(larger.size, sizeof *larger.ring);
	if (!larger.ring)
		return -ENOMEM;
	for (uint64_t tag = confirms->base; tag < confirms->next; ++tag)
		*at(&larger, tag) = *at(confirms, tag);
	free(confirms->ring);
	*confirms = larger;
	return 0;
}

void rabbitmq_confirms_add(struct rabbitmq_confirms *confirms,
			   const struct rabbitmq_confirm *confirm)
{
	struct rabbitmq_confirm *to = at(confirms, confirms->next);

	assert(confirms->next - confirms->base < confirms->size);
	*to = *confirm;
	to->returned = to->ended = false;
	++confirms->next;
	++confirms->count;
	confirms->bytes += confirm->bytes;
}

// ---- verdicts

static void end_one(struct rabbitmq_confirms *confirms, uint64_t tag, enum rabbitmq_verdict verdict)
{
	struct rabbitmq_confirm *confirm = at(confirms, tag);

	if (confirm->ended)
		return;
	assert(confirms->count > 0 && confirms->bytes >= confirm->bytes);
	confirm->ended = true;
	--confirms->count;
	confirms->bytes -= confirm->bytes;
	if (verdict == RABBITMQ_CONFIRMED && confirm->returned)
		verdict = RABBITMQ_RETURNED;
	confirms->tell(confirms->ctx, confirm, verdict);
}

bool rabbitmq_confirms_answer(struct rabbitmq_confirms *confirms, uint64_t tag, bool multiple,
			      bool ack)
{
	uint64_t last = multiple && tag == 0 ? confirms->next - 1 : tag; // 0: all so far

	if (last >= confirms->next || (tag == 0 && !multiple))
		return false;
	for (uint64_t next = multiple ? confirms->base : MAX(last, confirms->base); next <= last;
	     ++next)
		end_one(confirms, next, ack ? RABBITMQ_CONFIRMED : RABBITMQ_REFUSED);
	while (confirms->base < confirms->next && at(confirms, confirms->base)->ended)
		++confirms->base;
	return true;
}

bool rabbitmq_confirms_return(struct rabbitmq_confirms *confirms, const uint8_t id[RECORD_ID_SIZE])
{
	uint64_t from = MAX(confirms->hint, confirms->base), span = confirms->next - confirms->base;

	for (uint64_t i = 0; i < span; ++i) {
		uint64_t tag = from + i < confirms->next ? from + i : from + i - span;
		struct rabbitmq_confirm *confirm = at(confirms, tag);

		if (confirm->ended || confirm->returned ||
		    memcmp(confirm->id, id, RECORD_ID_SIZE) != 0)
			continue;
		confirm->returned = true;
		confirms->hint = tag + 1;
		return true;
	}
	return false;
}

// Messages stand in the order in which they were published.
void rabbitmq_confirms_expire(struct rabbitmq_confirms *confirms, uint64_t before_ns)
{
	uint64_t tag = MAX(confirms->silent, confirms->base);

	for (; tag < confirms->next && at(confirms, tag)->at_ns < before_ns; ++tag)
		end_one(confirms, tag, RABBITMQ_SILENT);
	confirms->silent = tag;
}

void rabbitmq_confirms_end(struct rabbitmq_confirms *confirms)
{
	for (uint64_t tag = confirms->base; tag < confirms->next; ++tag)
		end_one(confirms, tag, RABBITMQ_LOST);
	tags_reset(confirms);
}
