// The part of a source that deals with the group's retry store: what waits longer than a window
// should hold it, and what has a due time of its own.
//
// A message goes there by a put beside the cursor that passes its position; it comes back when it
// is due, is handed out under its own partition and offset, and its row is removed when it is
// acknowledged. Rows stay in the store while a message is out, so a restart finds them all.
//
// held_set holds every message whose row in the store is not the whole truth: out, or with a write
// that is not durable yet. What a look into the store returns and held_set knows is passed over.
//
// What was rejected is taken out for its dead-letter copy however much waits to be handed out: a
// consumer that waits for the answer to its reject may be the one who should take the rest.

#include "adapters/log/source_state.h"

#include <errno.h>

#define TAKE_MESSAGES 256u
#define TAKE_BYTES    (1u << 20)
#define READY_ENOUGH  128u  // do not look for more than are taken out
#define WRITES_MAX    4096u // not durable yet: nothing new is put beyond this

void retry_init(struct source *source)
{
	held_set_init(&source->held);
}

void retry_deinit(struct source *source)
{
	held_set_deinit(&source->held);
	free(source->retries.items);
}

bool retry_room(const struct source *source)
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

// A row that may lie before the point where the next look begins.
static void look_again(struct source *source, uint64_t due_ms)
{
	for (unsigned i = 0; i < LOOKS; ++i) {
		struct retry_look *look = &source->looks[i];

		if (source->taking && i == source->look)
			source->due_rewound = true; // the point is not known yet
		else if (due_ms <= look->after.due_ms)
			look->after = (struct log_retry){0};
		look->at_ms = MIN(look->at_ms, due_ms);
	}
}

void retry_look_anew(struct source *source)
{
	look_again(source, 0);
}

// The caller has reserved a place in the list.
static void write_add(struct part *part, struct held *held, uint64_t due_ms, bool put)
{
	struct retry_list *list = &part->source->retries;

	list->items[list->count++] = (struct log_retry){.offset = held->offset,
							.due_ms = MAX(due_ms, 1ull),
							.partition = held->partition,
							.attempts = held->attempts,
							.put = put};
	++held->pending;
	commit_dirty(part);
}

struct held *retry_put(struct part *part, uint64_t offset, uint32_t attempts, uint64_t due_ms,
		       bool in_flight)
{
	struct source *source = part->source;
	struct held *held = held_find(&source->held, part->number, offset);

	if (held)
		return held; // a copy is there already: the backend could not do both at once
	if (list_reserve(&source->retries))
		held = held_add(&source->held, part->number, offset);
	if (!held)
		return NULL;
	held->due_ms = due_ms;
	held->attempts = attempts;
	held->state = in_flight ? HELD_FLIGHT : HELD_MOVING;
	if (in_flight)
		++part->held_flight;
	else
		++*waiting_of(part, attempts);
	write_add(part, held, due_ms, true);
	return held;
}

// It waits in the store, under the row that is there; without one it is gone.
static void put_back(struct part *part, struct held *held)
{
	if (held->lost && !held->pending) {
		held_remove(&part->source->held, held);
		++part->window.counts.skipped;
		commit_dirty(part);
		return;
	}
	++*waiting_of(part, held->attempts);
	held->state = HELD_MOVING;
	if (held->pending)
		return; // retry_committed() goes on
	held_remove(&part->source->held, held);
	look_again(part->source, 0);
}

bool retry_settle(struct part *part, const struct settle *settle, uint64_t offset, uint64_t now_ms)
{
	struct source *source = part->source;
	struct held *held = held_find(&source->held, part->number, offset);

	if (!held || held->state != HELD_FLIGHT || held->attempts + 1 != settle->attempt ||
	    settle->verb == SETTLE_EXTEND || !list_reserve(&source->retries))
		return false;
	--part->held_flight;
	switch (settle->verb) {
	case SETTLE_ACK:
	case SETTLE_DEAD:
		held->state = HELD_LEAVING;
		write_add(part, held, 0, false);
		break;
	case SETTLE_NACK:
	case SETTLE_REJECT:
		held->state = HELD_MOVING;
		held->attempts = settle->attempt;
		held->rejected = settle->verb == SETTLE_REJECT;
		held->due_ms = now_ms + (held->rejected ? 0 : settle->delay_ms);
		++part->waiting_retry;
		write_add(part, held, held->due_ms, true);
		break;
	default: put_back(part, held);
	}
	return true;
}

static void settled(struct source *source, struct held *held)
{
	if (held->state == HELD_MOVING)
		look_again(source, held->due_ms);
	if (held->rejected) {
		list_unlink(&held->in_set);
		++source->held.copies;
	} else {
		held_remove(&source->held, held);
	}
}

static void make_ready(struct part *part, struct held *held)
{
	held->state = HELD_READY;
	++part->held_ready;
	++part->source->held.ready_count;
	list_push_back(&part->source->held.ready, &held->in_set);
}

static void write_durable(struct source *source, const struct log_retry *write)
{
	struct part *part = &source->parts[write->partition];
	struct held *held = held_find(&source->held, write->partition, write->offset);

	assert(held && held->pending);
	--held->pending;
	held->lost = write->put && write->missing;
	if (held->pending || held->state == HELD_FLIGHT || held->state == HELD_READY)
		return;
	if (held->state == HELD_MOVING && held->lost) {
		--*waiting_of(part, held->attempts);
		if (held->rejected) {
			make_ready(part, held); // comes without a record
			return;
		}
		held->state = HELD_LEAVING;
		++part->window.counts.skipped;
		commit_dirty(part);
	}
	// A look that began before may still bring the row as it was.
	if (source->taking)
		list_push_back(&source->held.settled, &held->in_set);
	else
		settled(source, held);
}

void retry_committed(struct source *source, const struct log_retry *retries, uint32_t count)
{
	for (uint32_t i = 0; i < count; ++i)
		write_durable(source, &retries[i]);
}

// ---- out of the store again

// Rejected, and its row is the truth.
static bool waits_for_copy(const struct held *held)
{
	return held->rejected && held->state == HELD_MOVING && !held->pending &&
	       list_empty(&held->in_set);
}

static void take(struct source *source, const struct log_waiting *waiting, struct buf *buf)
{
	struct part *part;
	struct held *held;

	if (waiting->partition >= source->part_count ||
	    (!source->look_both && (waiting->attempts > 0) != (source->look == LOOK_DELAYS)))
		return;
	held = held_find(&source->held, waiting->partition, waiting->entry.offset);
	if (held && !waits_for_copy(held))
		return;
	if (!held && source->due_for_copies) {
		source->due_passed = true;
		return;
	}
	if (held)
		--source->held.copies;
	else
		held = held_add(&source->held, waiting->partition, waiting->entry.offset);
	if (!held) {
		look_again(source, waiting->due_ms);
		return;
	}
	part = &source->parts[waiting->partition];
	held->attempts = waiting->attempts;
	held->entry = waiting->entry;
	held->buf = buf_ref(buf);
	--*waiting_of(part, waiting->attempts);
	make_ready(part, held);
}

static uint64_t look_time(struct source_time now, unsigned look)
{
	return look == LOOK_DELAYS ? now.steady_ms : now.wall_ms;
}

static void due_done(struct loop_task *task)
{
	struct source *source = CONTAINER_OF(task, struct source, due.task);
	struct log_due *due = &source->due;
	struct retry_look *look = &source->looks[source->look];

	source->taking = false;
	if (source->due_rewound) {
		look->after = (struct log_retry){0};
	} else if (due->code == CODE_OK && due->count) {
		const struct log_waiting *last = &due->entries[due->count - 1];

		look->after = (struct log_retry){.offset = last->entry.offset,
						 .due_ms = last->due_ms,
						 .partition = last->partition};
	}
	if (due->code == CODE_OK) {
		look->at_ms = MIN(look->at_ms, due->next_ms);
		for (uint32_t i = 0; i < due->count; ++i)
			take(source, &due->entries[i], due->buf);
	} else {
		look->at_ms =
			look_time(source_time(source), source->look) + SOURCE_RETRY_NS / MS_NS;
		source_state_set(source, SOURCE_DOWN, due->code, "reading the retry store failed");
	}
	due->buf = buf_unref(due->buf);
	while (!list_empty(&source->held.settled))
		settled(source, LIST_ENTRY(source->held.settled.next, struct held, in_set));
	source_pump_later(source);
}

static bool is_enough_ready(const struct source *source)
{
	return source->held.ready_count >= READY_ENOUGH;
}

static bool is_worth_a_look(const struct source *source)
{
	return !source->taking && (!is_enough_ready(source) ||
				   (source->held.copies && source_demand_allows(source, true)));
}

// How many looks there are while the clocks stand so.
static unsigned looks_count(const struct source *source)
{
	return source->clock.shift_ms ? LOOKS : 1;
}

// The next one in turn that is due. false: none is.
static bool look_choose(const struct source *source, struct source_time now, unsigned *ret_look)
{
	unsigned count = looks_count(source);

	for (unsigned i = 1; i <= count; ++i) {
		*ret_look = (source->look + i) % count;
		if (look_time(now, *ret_look) >= source->looks[*ret_look].at_ms)
			return true;
	}
	return false;
}

static void due_start(struct source *source, unsigned look, uint64_t until_ms)
{
	source->taking = true;
	source->look = (uint8_t)look;
	source->look_both = looks_count(source) == 1;
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

static void unready(struct source *source, struct held *held)
{
	--source->parts[held->partition].held_ready;
	--source->held.ready_count;
	list_unlink(&held->in_set);
}

// Expired ones go. One that held the window's head before its own due time was looked at waits on,
// until then. true: neither. *ret_room false: there is no place in the list for what must be
// written.
static bool is_to_be_had(struct source *source, struct held *held, uint64_t wall_ms, bool *ret_room)
{
	struct part *part = &source->parts[held->partition];
	uint64_t due_ms, expiry_ms;

	*ret_room = true;
	if (held->rejected)
		return true;
	source_record_times(&held->entry, &due_ms, &expiry_ms);
	if ((held->attempts || due_ms <= wall_ms) && wall_ms <= expiry_ms)
		return true;
	*ret_room = list_reserve(&source->retries);
	if (!*ret_room)
		return false;
	unready(source, held);
	if (wall_ms > expiry_ms) {
		++part->window.counts.expired;
		held->state = HELD_LEAVING;
		write_add(part, held, 0, false);
	} else {
		++*waiting_of(part, held->attempts);
		held->state = HELD_MOVING;
		held->due_ms = due_ms;
		write_add(part, held, due_ms, true);
	}
	return false;
}

// The next one that is taken out, or NULL: nothing, or no demand.
static struct held *next_ready(struct source *source, uint64_t wall_ms)
{
	bool room = true;

	LIST_FOREACH(pos, next, &source->held.ready)
	{
		struct held *held = LIST_ENTRY(pos, struct held, in_set);

		if (is_to_be_had(source, held, wall_ms, &room) &&
		    source_demand_allows(source, held->rejected))
			return held;
		if (!room)
			return NULL;
	}
	return NULL;
}

void retry_hand_out(struct source *source, struct source_time now)
{
	struct buf *bufs[SOURCE_BATCH];
	size_t count = 0;
	struct held *held;
	unsigned look;

	source_flush(source);
	while (count < SOURCE_BATCH && (held = next_ready(source, now.wall_ms))) {
		unready(source, held);
		held->state = HELD_FLIGHT;
		++source->parts[held->partition].held_flight;
		source_deliver(source, &(struct delivery){.offset = held->offset,
							  .stored_ms = held->entry.stored_ms,
							  .record = held->entry.record,
							  .size = held->entry.size,
							  .partition = held->partition,
							  .attempt = held->attempts + 1,
							  .rejected = held->rejected,
							  .buf = held->buf});
		held->rejected = false;
		bufs[count++] = held->buf;
		held->buf = NULL;
		held->entry.record = NULL; // rejected and gone, it comes without
		held->entry.size = 0;
	}
	source_flush(source);
	for (size_t i = 0; i < count; ++i)
		buf_unref(bufs[i]);
	if (count == SOURCE_BATCH)
		source_pump_later(source);
	if (source->due_passed && !source->taking && !is_enough_ready(source)) {
		source->due_passed = false;
		look_again(source, 0);
	}
	if (!source->closing && is_worth_a_look(source) && look_choose(source, now, &look))
		due_start(source, look, look_time(now, look));
}

uint64_t retry_next_in_ms(const struct source *source, struct source_time now)
{
	uint64_t in_ms = UINT64_MAX;

	for (unsigned i = 0; is_worth_a_look(source) && i < looks_count(source); ++i)
		in_ms = MIN(in_ms, source_until_ms(source->looks[i].at_ms, look_time(now, i)));
	return in_ms;
}
