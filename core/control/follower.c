// Follows one of several links and keeps what it holds a state that some registry had.
//
// The portal is followed whenever its link is up; else the peer that offers the highest revision of
// the same source. Only the portal may bring another source, because only it knows that a registry
// was restored; no one may take a source back, because keys that were revoked would work again.
//
// A request is answered in order on its link, so LINK_CURRENT comes behind all changes before it: a
// position in it that is not held means that something was lost. Each request has a new turn, and
// what carries another one is dropped.
//
// Invariants: a change is given to the caller only as a whole, and only if it continues what is
// held; `confirmed_ns` never is later than the time when the portal held `holds` for the last time.
//
// Not here: bytes of frames, sockets, when a link counts as gone.

#include "core/control/follower.h"

#include "core/base/util.h"

#include <errno.h>

#define CHANGE_MAX  (1ull << 30)
#define FIRST_BYTES 4096u

void follower_init(struct follower *follower, struct link_position holds)
{
	*follower =
		(struct follower){.holds = holds, .from = FOLLOWER_NONE, .stop_due = FOLLOWER_NONE};
}

static void drop_gathered(struct follower *follower)
{
	free(follower->data);
	follower->data = NULL;
	follower->got = follower->room = 0;
	follower->total = 0;
}

void follower_deinit(struct follower *follower)
{
	drop_gathered(follower);
}

// ---- which link

static bool may_feed(const struct follower *follower, const struct follower_link *link)
{
	if (!link->up || link->portal)
		return link->up;
	if (!link->offers.revision)
		return false;
	return !follower->holds.revision || (link->offers.source == follower->holds.source &&
					     link->offers.revision >= follower->holds.revision);
}

static bool is_better(const struct follower_link *link, const struct follower_link *than)
{
	if (link->portal != than->portal)
		return link->portal;
	return !link->portal && link->offers.source == than->offers.source &&
	       link->offers.revision > than->offers.revision;
}

// The link that is followed stays unless another one is better.
static unsigned choose_link(const struct follower *follower)
{
	const struct follower_link *links = follower->links;
	unsigned best = follower->from;

	if (best != FOLLOWER_NONE && !may_feed(follower, &links[best]))
		best = FOLLOWER_NONE;
	for (unsigned i = 0; i < FOLLOWER_LINKS; ++i)
		if (may_feed(follower, &links[i]) &&
		    (best == FOLLOWER_NONE || is_better(&links[i], &links[best])))
			best = i;
	return best;
}

static void ask_again(struct follower *follower, bool full)
{
	drop_gathered(follower);
	follower->wants_full = full;
	follower->request_due = true;
	follower->waits = false;
}

static void update_choice(struct follower *follower)
{
	unsigned best = choose_link(follower);

	if (best == follower->from)
		return;
	if (follower->from != FOLLOWER_NONE && follower->links[follower->from].up)
		follower->stop_due = follower->from;
	follower->from = best;
	ask_again(follower, false);
	follower->request_due = best != FOLLOWER_NONE;
}

void follower_up(struct follower *follower, unsigned link, bool portal)
{
	assert(link < FOLLOWER_LINKS && !follower->links[link].up);
	follower->links[link] = (struct follower_link){.up = true, .portal = portal};
	update_choice(follower);
}

void follower_down(struct follower *follower, unsigned link)
{
	assert(link < FOLLOWER_LINKS);
	follower->links[link] = (struct follower_link){0};
	if (follower->stop_due == link)
		follower->stop_due = FOLLOWER_NONE;
	update_choice(follower);
}

bool follower_next(struct follower *follower, struct follower_request *ret)
{
	if (follower->stop_due != FOLLOWER_NONE) {
		*ret = (struct follower_request){
			.link = follower->stop_due, .stop = true, .turn = ++follower->turn};
		follower->stop_due = FOLLOWER_NONE;
		return true;
	}
	if (!follower->request_due)
		return false;
	*ret = (struct follower_request){.link = follower->from,
					 .full = follower->wants_full,
					 .turn = ++follower->turn,
					 .position = follower->holds};
	follower->request_due = false;
	follower->waits = true;
	return true;
}

static bool is_of_turn(const struct follower *follower, unsigned link, uint32_t turn)
{
	return link == follower->from && turn == follower->turn && follower->waits;
}

// ---- what comes

static void confirm(struct follower *follower, uint64_t age_ns, uint64_t now_ns)
{
	if (age_ns < now_ns)
		follower->confirmed_ns = MAX(follower->confirmed_ns, now_ns - age_ns);
}

void follower_offered(struct follower *follower, unsigned link, const struct follower_offer *offer,
		      uint64_t now_ns)
{
	follower->links[link].offers = offer->position;
	if (link_position_same(offer->position, follower->holds) && !follower->wants_full)
		confirm(follower, offer->age_ns, now_ns);
	else if (is_of_turn(follower, link, offer->turn) &&
		 may_feed(follower, &follower->links[link]))
		ask_again(follower, follower->wants_full);
	update_choice(follower);
}

static int make_room(struct follower *follower, size_t size)
{
	size_t room = MAX(follower->room, FIRST_BYTES);
	uint8_t *grown;

	while (room < size)
		room *= 2;
	room = MIN(room, (size_t)follower->total);
	if (room <= follower->room)
		return 0;
	grown = realloc(follower->data, room);
	if (!grown)
		return -ENOMEM;
	follower->data = grown;
	follower->room = room;
	return 0;
}

int follower_slice(struct follower *follower, unsigned link, const struct follower_slice *slice)
{
	int r;

	if (!is_of_turn(follower, link, slice->turn))
		return 0;
	if (slice->offset != follower->got || slice->total > CHANGE_MAX || slice->size == 0 ||
	    slice->size > slice->total - slice->offset ||
	    (slice->offset && slice->total != follower->total))
		return -EPROTO;
	follower->total = slice->total;
	r = make_room(follower, follower->got + slice->size);
	if (r < 0)
		return r;
	memcpy(follower->data + follower->got, slice->data, slice->size);
	follower->got += slice->size;
	return follower->got == follower->total ? FOLLOWER_CHANGE : 0;
}

static bool is_allowed(const struct follower *follower, const struct change_head *head)
{
	if (head->source == follower->holds.source)
		return head->to >= follower->holds.revision;
	return follower->links[follower->from].portal || !follower->holds.revision;
}

enum follower_verdict follower_judge(struct follower *follower)
{
	struct change_head head;

	assert(follower->total && follower->got == follower->total);
	if (change_head_read(follower->data, follower->got, &head) < 0) {
		ask_again(follower, true);
		return FOLLOWER_GAP;
	}
	if (!is_allowed(follower, &head)) {
		drop_gathered(follower);
		return FOLLOWER_PASS;
	}
	if (head.full || (!follower->wants_full && head.source == follower->holds.source &&
			  head.from == follower->holds.revision))
		return FOLLOWER_APPLY;
	ask_again(follower, true);
	return FOLLOWER_GAP;
}

void follower_applied(struct follower *follower)
{
	struct change_head head;
	int r = change_head_read(follower->data, follower->got, &head);

	assert(r == 0);
	follower->holds = (struct link_position){head.source, head.to};
	follower->wants_full = false;
	drop_gathered(follower);
	update_choice(follower);
}

bool follower_refused(struct follower *follower)
{
	struct change_head head;
	bool full = change_head_read(follower->data, follower->got, &head) < 0 || head.full;

	if (full)
		drop_gathered(follower);
	else
		ask_again(follower, true);
	return full;
}
