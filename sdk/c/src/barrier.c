// Lets one suspect at a time begin, when nothing else runs in the process (a suspect is a delivery
// on which a consumer was lost before).
//
// The suspect that waits or runs owns the barrier. Its phases follow it from the head of a hand to
// the moment when its settle is in the socket. If the process ends before that, either the suspect
// ended it or nothing that this library began.
//
// A callback costs one atomic addition and one load. A thread that begins first counts itself, and
// then looks whether the barrier is up. A thread that raises the barrier first raises it, and then
// looks at the counts. So at least one of the two sees the other.
//
// Invariants: `up` is true exactly while the phase is not DOWN; the barrier comes down when its
// delivery leaves the hand for any reason.
//
// It cannot see what the application does outside of callbacks: messages that it keeps, or has
// pulled. Only the last attempt waits for these, for half of a visibility timeout.

#include "sdk/c/src/barrier.h"

#include "core/base/util.h"
#include "sdk/c/src/hand.h"

void barrier_init(struct barrier *barrier)
{
	*barrier = (struct barrier){.phase = BARRIER_DOWN};
	pthread_mutex_init(&barrier->lock, NULL);
	atomic_init(&barrier->up, false);
	list_init(&barrier->hands);
}

// ---- under the lock

static void wake_all(struct barrier *barrier)
{
	LIST_FOREACH(pos, next, &barrier->hands)
	{
		struct hand *hand = LIST_ENTRY(pos, struct hand, in_barrier);

		hand->wake(hand);
	}
}

static void come_down(struct barrier *barrier)
{
	barrier->phase = BARRIER_DOWN;
	barrier->owner = NULL;
	barrier->sub = NULL;
	barrier->calling = barrier->gone = false;
	atomic_store(&barrier->up, false);
	wake_all(barrier);
}

static void raise_for(struct barrier *barrier, const struct hand *hand,
		      const struct hand_item *item, uint64_t now_ns)
{
	barrier->phase = BARRIER_WAITS;
	barrier->owner = hand;
	barrier->sub = item->sub;
	barrier->number = item->number;
	barrier->last = item->last;
	barrier->since_ns = now_ns;
	atomic_store(&barrier->up, true);
}

static bool is_its(const struct barrier *barrier, const struct hand_sub *sub, uint64_t number)
{
	return barrier->phase != BARRIER_DOWN && barrier->sub == sub && barrier->number == number;
}

static bool nothing_runs(const struct barrier *barrier, bool kept_too)
{
	LIST_FOREACH(pos, next, &barrier->hands)
	{
		const struct hand *hand = LIST_ENTRY(pos, struct hand, in_barrier);

		if (atomic_load(&hand->running) > 0 || (kept_too && hand_kept(hand) > 0))
			return false;
	}
	return true;
}

// ---- hands

void barrier_join(struct barrier *barrier, struct hand *hand)
{
	pthread_mutex_lock(&barrier->lock);
	list_push_back(&barrier->hands, &hand->in_barrier);
	pthread_mutex_unlock(&barrier->lock);
}

void barrier_part(struct barrier *barrier, struct hand *hand)
{
	pthread_mutex_lock(&barrier->lock);
	list_unlink(&hand->in_barrier);
	if (barrier->owner == hand)
		come_down(barrier);
	else if (barrier->phase == BARRIER_WAITS)
		wake_all(barrier); // what it ran counts no more
	pthread_mutex_unlock(&barrier->lock);
}

// A callback has ended: the suspect may be waiting for that.
static void tell_waiter(struct barrier *barrier)
{
	pthread_mutex_lock(&barrier->lock);
	if (barrier->phase == BARRIER_WAITS)
		wake_all(barrier);
	pthread_mutex_unlock(&barrier->lock);
}

bool barrier_enter(struct barrier *barrier, struct hand *hand)
{
	// A thread that counted itself for nothing would wake all waiters, and each of them the
	// others.
	if (atomic_load(&barrier->up))
		return false;
	atomic_fetch_add(&hand->running, 1);
	if (!atomic_load(&barrier->up))
		return true;
	barrier_exit(barrier, hand);
	return false;
}

void barrier_exit(struct barrier *barrier, struct hand *hand)
{
	unsigned before = atomic_fetch_sub(&hand->running, 1);

	assert(before > 0);
	(void)before;
	if (atomic_load(&barrier->up))
		tell_waiter(barrier);
}

// ---- the suspect

enum barrier_answer barrier_ask(struct barrier *barrier, struct hand *hand,
				const struct hand_item *item, uint64_t now_ns)
{
	uint64_t half_ns = item->sub->visibility_ns / 2;
	enum barrier_answer answer = BARRIER_WAIT;

	pthread_mutex_lock(&barrier->lock);
	if (barrier->phase == BARRIER_DOWN)
		raise_for(barrier, hand, item, now_ns);
	if (is_its(barrier, item->sub, item->number)) {
		bool late = now_ns >= barrier->since_ns + half_ns;

		if (barrier->phase == BARRIER_WAITS && nothing_runs(barrier, item->last && !late))
			barrier->phase = BARRIER_GRANTED;
		if (barrier->phase == BARRIER_GRANTED) {
			answer = BARRIER_GO;
		} else if (late && !item->last) {
			come_down(barrier);
			answer = BARRIER_BESIDE;
		}
	}
	pthread_mutex_unlock(&barrier->lock);
	return answer;
}

bool barrier_start(struct barrier *barrier, const struct hand *hand, const struct hand_item *item,
		   bool calls, uint64_t now_ns, uint64_t limit_ns)
{
	bool mine;

	pthread_mutex_lock(&barrier->lock);
	mine = is_its(barrier, item->sub, item->number) && barrier->phase == BARRIER_GRANTED;
	if (mine) {
		barrier->phase = BARRIER_RUNS;
		barrier->calling = calls;
		barrier->until_ns = now_ns + (item->last ? limit_ns : BARRIER_ALONE_NS);
	}
	pthread_mutex_unlock(&barrier->lock);
	return mine;
}

void barrier_call_over(struct barrier *barrier, const struct hand *hand, const struct hand_sub *sub,
		       uint64_t number)
{
	pthread_mutex_lock(&barrier->lock);
	if (is_its(barrier, sub, number) && barrier->owner == hand) {
		barrier->calling = false;
		if (barrier->gone)
			come_down(barrier);
	}
	pthread_mutex_unlock(&barrier->lock);
}

void barrier_settled(struct barrier *barrier, const struct hand_item *item)
{
	if (!item->suspect)
		return;
	pthread_mutex_lock(&barrier->lock);
	if (is_its(barrier, item->sub, item->number) && barrier->phase == BARRIER_RUNS)
		barrier->phase = BARRIER_SETTLES;
	pthread_mutex_unlock(&barrier->lock);
}

void barrier_sent(struct barrier *barrier, const struct hand_sub *sub)
{
	if (!atomic_load(&barrier->up))
		return;
	pthread_mutex_lock(&barrier->lock);
	if (barrier->phase == BARRIER_SETTLES && barrier->sub == sub)
		barrier->phase = BARRIER_SENT;
	pthread_mutex_unlock(&barrier->lock);
}

void barrier_written(struct barrier *barrier, const struct hand_sub *sub)
{
	if (!atomic_load(&barrier->up))
		return;
	pthread_mutex_lock(&barrier->lock);
	if (barrier->phase == BARRIER_SENT && barrier->sub == sub)
		come_down(barrier);
	pthread_mutex_unlock(&barrier->lock);
}

void barrier_drop(struct barrier *barrier, const struct hand_item *item)
{
	if (!item->suspect)
		return;
	pthread_mutex_lock(&barrier->lock);
	if (is_its(barrier, item->sub, item->number) && barrier->phase <= BARRIER_GRANTED)
		come_down(barrier);
	pthread_mutex_unlock(&barrier->lock);
}

void barrier_drop_sub(struct barrier *barrier, const struct hand_sub *sub)
{
	pthread_mutex_lock(&barrier->lock);
	if (barrier->phase != BARRIER_DOWN && barrier->sub == sub) {
		barrier->gone = true;
		if (!barrier->calling)
			come_down(barrier);
	}
	pthread_mutex_unlock(&barrier->lock);
}

// Returns when to look again. A suspect that runs longer than it may alone (`until_ns`) gives the
// barrier up, so that one slow callback does not stop the process.
uint64_t barrier_tick(struct barrier *barrier, const struct hand *hand, uint64_t now_ns)
{
	uint64_t next_ns = UINT64_MAX;

	if (!atomic_load(&barrier->up))
		return UINT64_MAX;
	pthread_mutex_lock(&barrier->lock);
	if (barrier->owner == hand && barrier->phase == BARRIER_WAITS) {
		next_ns = barrier->since_ns + barrier->sub->visibility_ns / 2;
		if (next_ns <= now_ns)
			next_ns = now_ns + barrier->sub->visibility_ns / 2; // a last attempt
	} else if (barrier->owner == hand && barrier->phase == BARRIER_GRANTED) {
		next_ns = now_ns + BARRIER_ALONE_NS;
	} else if (barrier->owner == hand) {
		next_ns = barrier->until_ns;
		if (now_ns >= next_ns) {
			come_down(barrier);
			next_ns = UINT64_MAX;
		}
	}
	pthread_mutex_unlock(&barrier->lock);
	return next_ns;
}
