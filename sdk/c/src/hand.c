// The hand of a consumer: messages that are received and not settled, and which of them may begin.
//
// Begins are told to the proxy before they happen: exactly when callbacks take long, ahead when
// they are short, and never past a suspect, which begins alone (barrier.h). About HAND_AHEAD_NS of
// work is told ahead, by the average of the callbacks that have ended. A long callback counts for a
// fifth of that average, so the lead is small again when it ends. What was told before stays told;
// what was only planned does not.
//
// Invariants: nothing begins whose number is above the last one in the socket; the order of the
// queue is that of delivery, and only its first begins; `planned` is the ahead-th of the queue, and
// none up to it has to run alone.
//
// The hand sends nothing: its owner makes the frames, settles before begins, and says when they are
// in the socket.

#include "sdk/c/src/hand.h"

#include "core/base/util.h"

#define WORK_NS 200000000ull // work that the hand should hold

void hand_init(struct hand *hand, struct barrier *barrier, void (*wake)(struct hand *hand),
	       uint32_t workers)
{
	*hand = (struct hand){.barrier = barrier, .wake = wake, .workers = workers};
	list_init(&hand->in_barrier);
	atomic_init(&hand->running, 0);
	atomic_init(&hand->held, 0);
	atomic_init(&hand->queued, 0);
}

uint64_t hand_kept(const struct hand *hand)
{
	uint64_t known = atomic_load(&hand->queued) + atomic_load(&hand->running);
	uint64_t held = atomic_load(&hand->held);

	return held > known ? held - known : 0;
}

// ---- the queue

void hand_add(struct hand *hand, struct hand_item *item)
{
	item->next = NULL;
	if (hand->last)
		hand->last->next = item;
	else
		hand->first = item;
	hand->last = item;
	atomic_fetch_add(&hand->queued, 1);
}

static struct hand_item *take_first(struct hand *hand)
{
	struct hand_item *item = hand->first;

	assert(item);
	hand->first = item->next;
	if (!hand->first)
		hand->last = NULL;
	if (hand->ahead && --hand->ahead == 0)
		hand->planned = NULL;
	atomic_fetch_sub(&hand->queued, 1);
	return item;
}

struct hand_item *hand_pop(struct hand *hand)
{
	struct hand_item *item = hand->first;

	if (!item)
		return NULL;
	take_first(hand);
	barrier_drop(hand->barrier, item);
	return item;
}

struct hand_item *hand_remove(struct hand *hand, const struct hand_sub *sub)
{
	struct hand_item **link = &hand->first, *before = NULL, *item;

	for (; (item = *link) && item->sub != sub; link = &item->next)
		before = item;
	if (item)
		hand_take_behind(hand, before);
	return item;
}

void hand_take_behind(struct hand *hand, struct hand_item *before)
{
	struct hand_item *item = before ? before->next : hand->first;

	if (before)
		before->next = item->next;
	else
		hand->first = item->next;
	if (hand->last == item)
		hand->last = before;
	hand->planned = NULL; // counted again by the next plan
	hand->ahead = 0;
	atomic_fetch_sub(&hand->queued, 1);
	barrier_drop(hand->barrier, item);
}

// ---- telling

static bool goes_alone(const struct hand_item *item)
{
	return item->suspect && !item->beside && item->sub->tells;
}

static void want_begin(const struct hand_item *item)
{
	if (item->sub->tells)
		item->sub->want = MAX(item->sub->want, item->number);
}

// The suspect at the head; true: it is to be told.
static bool ask_for_first(struct hand *hand, uint64_t now_ns)
{
	struct hand_item *first = hand->first;
	enum barrier_answer answer = barrier_ask(hand->barrier, hand, first, now_ns);

	first->beside = answer == BARRIER_BESIDE;
	return answer == BARRIER_GO;
}

// Short callbacks: as many as fit into HAND_AHEAD_NS. Long ones: one for each free worker, so that
// each begin is told when it happens.
static uint32_t lead_of(const struct hand *hand)
{
	uint32_t running = atomic_load(&hand->running);
	uint64_t fit;

	if (hand->average_ns && hand->average_ns < HAND_SHORT) {
		fit = HAND_AHEAD_NS / hand->average_ns;
		return (uint32_t)MIN(MAX(fit, HAND_LEAD_MIN), HAND_LEAD_MAX);
	}
	return hand->workers > running ? hand->workers - running : 0;
}

// The lead is smaller, or a suspect waits: what is planned and not on its way to the socket is
// planned anew.
static void plan_again(struct hand *hand)
{
	struct hand_item *item = hand->first;

	for (; hand->ahead; item = item->next, --hand->ahead)
		item->sub->want = item->sub->telling;
	hand->planned = NULL;
}

void hand_plan(struct hand *hand, uint64_t now_ns)
{
	struct hand_item *item = hand->first;

	if (item && goes_alone(item)) {
		if (ask_for_first(hand, now_ns))
			want_begin(item);
		if (goes_alone(item))
			return;
	}
	hand->lead = atomic_load(&hand->barrier->up) ? 0 : lead_of(hand);
	if (hand->ahead > hand->lead)
		plan_again(hand);
	if (hand->planned)
		item = hand->planned->next;
	for (; item && hand->ahead < hand->lead && !goes_alone(item); item = item->next) {
		want_begin(item);
		hand->planned = item;
		++hand->ahead;
	}
}

uint32_t hand_report_at(const struct hand *hand)
{
	return MAX(hand->lead, HAND_LEAD_MIN) / 2;
}

// What is told ahead is topped up when half of it has begun, not one by one.
bool hand_due(const struct hand *hand, const struct hand_sub *sub)
{
	if (sub->want <= sub->telling)
		return false;
	return sub->want >= sub->telling + hand_report_at(hand) || !hand->first ||
	       hand->first->sub != sub || hand->first->number > sub->telling ||
	       hand->average_ns >= HAND_SHORT;
}

void hand_telling(struct hand_sub *sub)
{
	assert(sub->want >= sub->telling && sub->want <= sub->received);
	sub->telling = sub->want;
}

void hand_written(struct hand *hand, struct hand_sub *sub)
{
	sub->told = sub->telling;
	barrier_written(hand->barrier, sub);
}

// ---- beginning

static bool is_told(const struct hand_item *item)
{
	return !item->sub->tells || item->number <= item->sub->told;
}

bool hand_can_begin(const struct hand *hand)
{
	return hand->first && is_told(hand->first);
}

static void note_begin(struct hand *hand, uint64_t now_ns)
{
	++hand->begins;
	hand->begun_ns = now_ns;
}

struct hand_item *hand_begin(struct hand *hand, uint64_t now_ns, uint64_t limit_ns)
{
	struct hand_item *item = hand->first;

	if (!item || !is_told(item))
		return NULL;
	if (goes_alone(item)) {
		if (!barrier_start(hand->barrier, hand, item, true, now_ns, limit_ns))
			return NULL;
		atomic_fetch_add(&hand->running, 1);
	} else if (!barrier_enter(hand->barrier, hand)) {
		return NULL;
	}
	note_begin(hand, now_ns);
	return take_first(hand);
}

void hand_end(struct hand *hand, const struct hand_sub *sub, uint64_t number, bool hangs,
	      uint64_t took_ns)
{
	hand->average_ns = hand->average_ns ? (4 * hand->average_ns + took_ns) / 5 : took_ns;
	hand->average_ns = MAX(hand->average_ns, 1);
	if (!hangs)
		barrier_exit(hand->barrier, hand);
	if (atomic_load(&hand->barrier->up))
		barrier_call_over(hand->barrier, hand, sub, number);
}

size_t hand_plan_pull(struct hand *hand, size_t max, uint64_t now_ns)
{
	struct hand_item *item = hand->first;
	size_t count = 0;

	if (item && goes_alone(item)) {
		if (ask_for_first(hand, now_ns)) {
			want_begin(item);
			return 1;
		}
		if (goes_alone(item))
			return 0;
	}
	if (atomic_load(&hand->barrier->up))
		return 0;
	for (; item && count < max && !goes_alone(item); item = item->next, ++count)
		want_begin(item);
	return count;
}

bool hand_pull(struct hand *hand, size_t count, uint64_t now_ns, uint64_t limit_ns)
{
	struct hand_item *item = hand->first;

	for (size_t i = 0; i < count; ++i, item = item->next)
		if (!is_told(item))
			return false;
	if (goes_alone(hand->first)) {
		if (!barrier_start(hand->barrier, hand, hand->first, false, now_ns, limit_ns))
			return false;
	} else if (atomic_load(&hand->barrier->up)) {
		return false;
	}
	note_begin(hand, now_ns);
	return true;
}

// ---- how many

// As many messages as the workers need for WORK_NS, at least two for each worker. A callback that
// still runs counts with its time so far, so that the window shrinks before it ends.
uint64_t hand_window(const struct hand *hand, uint64_t oldest_ns, uint64_t now_ns)
{
	uint64_t low = MIN(2ull * hand->workers, hand->window_max), took_ns = hand->average_ns;

	if (hand->window_fixed)
		return hand->window_max;
	if (oldest_ns)
		took_ns = MAX(took_ns, now_ns - MIN(oldest_ns, now_ns));
	if (took_ns == 0)
		return low;
	return MIN(MAX(hand->workers * WORK_NS / took_ns, low), hand->window_max);
}

uint64_t hand_stuck_ns(const struct hand *hand)
{
	const struct hand_item *first = hand->first;

	if (!first)
		return UINT64_MAX;
	return MAX(hand->begun_ns, first->received_ns) + first->sub->visibility_ns / 2;
}
