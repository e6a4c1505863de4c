// The part of a source that deals with the group's retry store: messages that wait longer than a
// window should hold them, and messages with a due time of their own.
//
// A message goes there by a put beside the cursor that passes its position; it comes back when it
// is due, is handed out under its own partition and offset, and its row is removed when it is
// acknowledged. Rows stay in the store while a message is out, so a restart finds them all.
//
// Invariants: retry_inflight_set holds every message whose row in the store is not the whole truth:
// out, or with a write that is not durable yet; what a look into the store returns and the set
// knows is passed over. Each message here is in one of its partition's counts (waiting_retry,
// waiting_delay, inflight_ready, inflight_delivered), one that leaves in none.
//
// What was rejected is taken out for its dead-letter copy however much waits to be handed out: a
// consumer that waits for the answer to its reject may be the one that should take the rest.
//
// Where a look begins is source_look.c's; when writes become durable, source_commit.c's.

#include "adapters/log/source_retry.h"

#include "adapters/log/source_clock.h"
#include "adapters/log/source_delivery.h"
#include "adapters/log/source_look.h"

#include <errno.h>

#define TAKE_MESSAGES 256u
#define TAKE_BYTES    (1u << 20)
#define READY_ENOUGH  128u  // do not look for more than are taken out
#define WRITES_MAX    4096u // not durable yet: nothing new is put beyond this

void source_retry_init(struct source *source)
{
	retry_inflight_set_init(&source->inflight);
}

void source_retry_deinit(struct source *source)
{
	retry_inflight_set_deinit(&source->inflight);
	free(source->retries.items);
}

bool source_retry_has_room(const struct source *source)
{
	return source->retries.count + source->cursors.retry_count < WRITES_MAX;
}

static bool list_reserve(struct retry_list *list)
{
	uint32_t room = MAX(2 * list->room, 64u);
	struct log_retry *items;

	if (list->count < list->room)
		return true;
	items = realloc(list->items, room * sizeof *items);
	if (!items)
		return false;
	list->items = items;
	list->room = room;
	return true;
}

static uint64_t *waiting_of(struct part *part, uint32_t attempts)
{
	return attempts ? &part->waiting_retry : &part->waiting_delay;
}

// The caller has reserved a place in the list.
static void write_add(struct part *part, struct retry_inflight *inflight, uint64_t due_ms, bool put)
{
	struct retry_list *list = &part->source->retries;

	list->items[list->count++] = (struct log_retry){.offset = inflight->offset,
							.due_ms = MAX(due_ms, 1ull),
							.partition = inflight->partition,
							.attempts = inflight->attempts,
							.put = put};
	++inflight->pending;
	source_state_mark_dirty(part);
}

struct retry_inflight *source_retry_put(struct part *part, uint64_t offset, uint32_t attempts,
					uint64_t due_ms, bool in_flight)
{
	struct source *source = part->source;
	struct retry_inflight *inflight =
		retry_inflight_find(&source->inflight, part->number, offset);

	if (inflight)
		return inflight; // a copy is there already: the backend could not do both at once
	if (list_reserve(&source->retries))
		inflight = retry_inflight_add(&source->inflight, part->number, offset);
	if (!inflight)
		return NULL;
	inflight->due_ms = due_ms;
	inflight->attempts = attempts;
	inflight->state = in_flight ? INFLIGHT_DELIVERED : INFLIGHT_MOVING;
	if (in_flight)
		++part->inflight_delivered;
	else
		++*waiting_of(part, attempts);
	write_add(part, inflight, due_ms, true);
	return inflight;
}

// It waits in the store, under the row that is there; without one it is gone.
static void put_back(struct part *part, struct retry_inflight *inflight)
{
	if (inflight->lost && !inflight->pending) {
		retry_inflight_remove(&part->source->inflight, inflight);
		++part->window.counts.skipped;
		source_state_mark_dirty(part);
		return;
	}
	++*waiting_of(part, inflight->attempts);
	inflight->state = INFLIGHT_MOVING;
	if (inflight->pending)
		return; // source_retry_committed() goes on
	retry_inflight_remove(&part->source->inflight, inflight);
	source_look_rewind(part->source, 0);
}

bool source_retry_settle(struct part *part, const struct settle *settle, uint64_t offset,
			 uint64_t now_ms)
{
	struct source *source = part->source;
	struct retry_inflight *inflight =
		retry_inflight_find(&source->inflight, part->number, offset);

	if (!inflight || inflight->state != INFLIGHT_DELIVERED ||
	    inflight->attempts + 1 != settle->attempt || settle->verb == SETTLE_EXTEND ||
	    !list_reserve(&source->retries))
		return false;
	assert(part->inflight_delivered > 0);
	--part->inflight_delivered;
	switch (settle->verb) {
	case SETTLE_ACK:
	case SETTLE_DEAD:
		inflight->state = INFLIGHT_LEAVING;
		write_add(part, inflight, 0, false);
		break;
	case SETTLE_NACK:
	case SETTLE_REJECT:
		inflight->state = INFLIGHT_MOVING;
		inflight->attempts = settle->attempt;
		inflight->rejected = settle->verb == SETTLE_REJECT;
		inflight->due_ms = now_ms + (inflight->rejected ? 0 : settle->delay_ms);
		++part->waiting_retry;
		write_add(part, inflight, inflight->due_ms, true);
		break;
	default: put_back(part, inflight);
	}
	return true;
}

static void end_write(struct source *source, struct retry_inflight *inflight)
{
	if (inflight->state == INFLIGHT_MOVING)
		source_look_rewind(source, inflight->due_ms);
	if (inflight->rejected) {
		list_unlink(&inflight->in_set);
		++source->inflight.copies;
	} else {
		retry_inflight_remove(&source->inflight, inflight);
	}
}

static void make_ready(struct part *part, struct retry_inflight *inflight)
{
	inflight->state = INFLIGHT_READY;
	++part->inflight_ready;
	++part->source->inflight.ready_count;
	list_push_back(&part->source->inflight.ready, &inflight->in_set);
}

static void write_durable(struct source *source, const struct log_retry *write)
{
	struct part *part = &source->parts[write->partition];
	struct retry_inflight *inflight =
		retry_inflight_find(&source->inflight, write->partition, write->offset);

	assert(inflight && inflight->pending);
	--inflight->pending;
	inflight->lost = write->put && write->missing;
	if (inflight->pending || inflight->state == INFLIGHT_DELIVERED ||
	    inflight->state == INFLIGHT_READY)
		return;
	if (inflight->state == INFLIGHT_MOVING && inflight->lost) {
		--*waiting_of(part, inflight->attempts);
		if (inflight->rejected) {
			make_ready(part, inflight); // comes without a record
			return;
		}
		inflight->state = INFLIGHT_LEAVING;
		++part->window.counts.skipped;
		source_state_mark_dirty(part);
	}
	// A look that began before may still bring the row as it was.
	if (source->taking)
		list_push_back(&source->inflight.settled, &inflight->in_set);
	else
		end_write(source, inflight);
}

void source_retry_committed(struct source *source, const struct log_retry *retries, uint32_t count)
{
	for (uint32_t i = 0; i < count; ++i)
		write_durable(source, &retries[i]);
}

// ---- out of the store again

// Rejected, and its row is the truth.
static bool waits_for_copy(const struct retry_inflight *inflight)
{
	return inflight->rejected && inflight->state == INFLIGHT_MOVING && !inflight->pending &&
	       list_empty(&inflight->in_set);
}

static void take_row(struct source *source, const struct log_waiting *waiting, struct buf *buf)
{
	struct part *part;
	struct retry_inflight *inflight;

	if (waiting->partition >= source->part_count ||
	    (!source->look_both && (waiting->attempts > 0) != (source->look == LOOK_DELAYS)))
		return;
	inflight =
		retry_inflight_find(&source->inflight, waiting->partition, waiting->entry.offset);
	if (inflight && !waits_for_copy(inflight))
		return;
	if (!inflight && source->due_for_copies) {
		source->due_passed = true;
		return;
	}
	if (inflight)
		--source->inflight.copies;
	else
		inflight = retry_inflight_add(&source->inflight, waiting->partition,
					      waiting->entry.offset);
	if (!inflight) {
		source_look_rewind(source, waiting->due_ms);
		return;
	}
	part = &source->parts[waiting->partition];
	inflight->attempts = waiting->attempts;
	inflight->entry = waiting->entry;
	inflight->buf = buf_ref(buf);
	--*waiting_of(part, waiting->attempts);
	make_ready(part, inflight);
}

static void due_done(struct loop_task *task)
{
	struct source *source = CONTAINER_OF(task, struct source, due.task);
	struct log_due *due = &source->due;
	struct retry_look *look = &source->looks[source->look];

	source->taking = false;
	source_look_advance(source);
	if (due->code == CODE_OK) {
		look->at_ms = MIN(look->at_ms, due->next_ms);
		for (uint32_t i = 0; i < due->count; ++i)
			take_row(source, &due->entries[i], due->buf);
	} else {
		look->at_ms = source_look_time(source_clock_read(source), source->look) +
			      SOURCE_RETRY_NS / MS_NS;
		source_state_set_down(source, due->code, "reading the retry store failed");
	}
	due->buf = buf_unref(due->buf);
	while (!list_empty(&source->inflight.settled))
		end_write(source,
			  LIST_ENTRY(source->inflight.settled.next, struct retry_inflight, in_set));
	source_state_pump_later(source);
}

static bool is_enough_ready(const struct source *source)
{
	return source->inflight.ready_count >= READY_ENOUGH;
}

static bool is_worth_a_look(const struct source *source)
{
	return !source->taking &&
	       (!is_enough_ready(source) ||
		(source->inflight.copies && source_delivery_allowed(source, true)));
}

static void due_start(struct source *source, unsigned look, uint64_t until_ms)
{
	source->taking = true;
	source->look = (uint8_t)look;
	source->look_both = source_look_count(source) == 1;
	source->due_rewound = false;
	source->due_for_copies = is_enough_ready(source);
	source->looks[look].at_ms = UINT64_MAX;
	source->due = (struct log_due){
		.task = {.fn = due_done},
		.loop = source->config.loop,
		.topic = source->config.adapter_topic,
		.group = source->config.group,
		.after = source->looks[look].after,
		.until_ms = until_ms,
		.max_messages = TAKE_MESSAGES,
		.max_bytes = TAKE_BYTES,
	};
	source->ops->due(source->adapter, &source->due);
}

static void leave_ready(struct source *source, struct retry_inflight *inflight)
{
	assert(inflight->state == INFLIGHT_READY && source->inflight.ready_count > 0);
	--source->parts[inflight->partition].inflight_ready;
	--source->inflight.ready_count;
	list_unlink(&inflight->in_set);
}

// Expired ones go. One that held the window's head before its own due time was looked at waits on,
// until then. true: neither. *ret_room false: there is no place in the list for what must be
// written.
static bool is_to_be_had(struct source *source, struct retry_inflight *inflight, uint64_t wall_ms,
			 bool *ret_room)
{
	struct part *part = &source->parts[inflight->partition];
	uint64_t due_ms, expiry_ms;

	*ret_room = true;
	if (inflight->rejected)
		return true;
	source_delivery_times(&inflight->entry, &due_ms, &expiry_ms);
	if ((inflight->attempts || due_ms <= wall_ms) && wall_ms <= expiry_ms)
		return true;
	*ret_room = list_reserve(&source->retries);
	if (!*ret_room)
		return false;
	leave_ready(source, inflight);
	if (wall_ms > expiry_ms) {
		++part->window.counts.expired;
		inflight->state = INFLIGHT_LEAVING;
		write_add(part, inflight, 0, false);
	} else {
		++*waiting_of(part, inflight->attempts);
		inflight->state = INFLIGHT_MOVING;
		inflight->due_ms = due_ms;
		write_add(part, inflight, due_ms, true);
	}
	return false;
}

// The next one that is taken out, or NULL: nothing, or no demand.
static struct retry_inflight *next_ready(struct source *source, uint64_t wall_ms)
{
	bool room = true;

	LIST_FOREACH(pos, next, &source->inflight.ready)
	{
		struct retry_inflight *inflight = LIST_ENTRY(pos, struct retry_inflight, in_set);

		if (is_to_be_had(source, inflight, wall_ms, &room) &&
		    source_delivery_allowed(source, inflight->rejected))
			return inflight;
		if (!room)
			return NULL;
	}
	return NULL;
}

void source_retry_hand_out(struct source *source, struct source_time now)
{
	struct buf *bufs[SOURCE_BATCH];
	size_t count = 0;
	struct retry_inflight *inflight;
	unsigned look;

	source_delivery_flush(source);
	while (count < SOURCE_BATCH && (inflight = next_ready(source, now.wall_ms))) {
		leave_ready(source, inflight);
		inflight->state = INFLIGHT_DELIVERED;
		++source->parts[inflight->partition].inflight_delivered;
		source_delivery_add(source,
				    &(struct delivery){.offset = inflight->offset,
						       .stored_ms = inflight->entry.stored_ms,
						       .record = inflight->entry.record,
						       .size = inflight->entry.size,
						       .partition = inflight->partition,
						       .attempt = inflight->attempts + 1,
						       .rejected = inflight->rejected,
						       .buf = inflight->buf});
		inflight->rejected = false;
		bufs[count++] = inflight->buf;
		inflight->buf = NULL;
		inflight->entry.record = NULL; // rejected and gone, it comes without
		inflight->entry.size = 0;
	}
	source_delivery_flush(source);
	for (size_t i = 0; i < count; ++i)
		buf_unref(bufs[i]);
	if (count == SOURCE_BATCH)
		source_state_pump_later(source);
	if (source->due_passed && !source->taking && !is_enough_ready(source)) {
		source->due_passed = false;
		source_look_rewind(source, 0);
	}
	if (!source->closing && is_worth_a_look(source) && source_look_choose(source, now, &look))
		due_start(source, look, source_look_time(now, look));
}

uint64_t source_retry_next_in_ms(const struct source *source, struct source_time now)
{
	return is_worth_a_look(source) ? source_look_next_in_ms(source, now) : UINT64_MAX;
}
