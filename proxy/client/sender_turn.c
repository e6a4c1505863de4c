// A sender that is refused under a quota in mode `reject` gets a turn of its own: messages that are
// charged in advance, so that no other sender can take them, and the time when they pass. Each then
// sends what fits when it fits: no message is refused again and again, and what the quota allows is
// used.
//
// A stream is told its first turn when it opens and the next one when it has used up the last (the
// notice goes out when the batch is read, before its answer). While no sender waits for a turn no
// message is promised: the stream is only told how much will pass and when. That is half of a
// burst, so that no quota is lost when the sender comes late. A promise is its stream's share of
// the burst, so turns go round in about 0.2 s.
//
// A promise that is not used within GRACE_NS of its time is given back: its sender has no more to
// send. A turn belongs to the connection's loop; the ledger is shared by all.

#include "proxy/client/sender_turn.h"

#include "adapters/adapter.h"
#include "proxy/client/conn.h"
#include "proxy/client/tenant_clients.h"

#define GRACE_NS   S_NS
#define SIZE_GUESS 1024u // of a message, before any has come

static struct tenant_view *tenant_of(const struct sender_turn *turn)
{
	return turn->conn->session.tenant;
}

static bool takes_turns(const struct tenant_view *tenant)
{
	return tenant->model->limits.over == QUOTA_OVER_REJECT &&
	       quota_produce_limited(tenant->ledger);
}

void sender_turn_join(struct sender_turn *turn, struct conn *conn, sender_turn_tell_fn tell)
{
	*turn = (struct sender_turn){
		.tell = tell, .conn = conn, .size = SIZE_GUESS, .joined = true};
	list_init(&turn->in_tenant);
	quota_sender_joins(tenant_of(turn)->ledger);
}

static void end_turn(struct sender_turn *turn)
{
	list_unlink(&turn->in_tenant);
	quota_turn_end(&turn->quota);
}

void sender_turn_leave(struct sender_turn *turn)
{
	if (!turn->joined)
		return;
	turn->joined = false;
	end_turn(turn);
	quota_sender_leaves(tenant_of(turn)->ledger);
}

void sender_turns_give_back(struct tenant_clients *clients)
{
	while (!list_empty(&clients->turns))
		end_turn(LIST_ENTRY(clients->turns.next, struct sender_turn, in_tenant));
}

void sender_turns_expire(struct loop_timer *timer)
{
	struct tenant_clients *clients = CONTAINER_OF(timer, struct tenant_clients, turns_timer);
	uint64_t now_ns = loop_now_ns(timer->loop);

	LIST_FOREACH(pos, next, &clients->turns)
	{
		struct sender_turn *turn = LIST_ENTRY(pos, struct sender_turn, in_tenant);

		if (now_ns >= turn->quota.at_ns + GRACE_NS)
			end_turn(turn);
	}
	if (!list_empty(&clients->turns))
		loop_timer_set(timer, now_ns + GRACE_NS);
}

static void tell_turn(struct sender_turn *turn, enum code code, uint64_t messages, uint64_t wait_ns)
{
	struct sender_turn_notice notice = {.code = code, .messages = messages, .wait_ns = wait_ns};

	quota_explain(tenant_of(turn)->ledger, QUOTA_PRODUCE, turn->size,
		      loop_now_ns(turn->conn->worker->loop), &notice.quota);
	turn->told = messages;
	turn->tell(turn, &notice);
}

// False: nothing ever passes.
static bool promise_turn(struct sender_turn *turn, uint64_t messages, uint64_t now_ns)
{
	struct tenant_view *tenant = tenant_of(turn);

	if (!quota_turn_promise(tenant->ledger, messages, turn->size, now_ns, &turn->quota))
		return false;
	list_push_back(&tenant->clients->turns, &turn->in_tenant);
	if (!tenant->clients->turns_timer.at_ns)
		loop_timer_set(&tenant->clients->turns_timer, now_ns + GRACE_NS);
	return true;
}

// What the stream may send next, and the wait for it. False: nothing ever passes.
static bool next_turn(struct sender_turn *turn, bool first, size_t refused, uint64_t now_ns,
		      uint64_t *ret_messages, uint64_t *ret_wait_ns)
{
	struct quota_ledger *ledger = tenant_of(turn)->ledger;
	struct quota_turn *quota = &turn->quota;
	uint64_t share = quota_turn_share(ledger, turn->size, first);

	*ret_messages = 0;
	*ret_wait_ns = UINT64_MAX;
	if (!refused && !quota->ledger && !quota_turn_contended(ledger)) {
		share = MAX(share / 2, 1);
		*ret_wait_ns = quota_turn_wait_ns(ledger, share, turn->size, now_ns);
		*ret_messages = *ret_wait_ns == UINT64_MAX ? 0 : share;
		return *ret_messages > 0;
	}
	if (!quota->ledger && !promise_turn(turn, refused ? MIN(refused, share) : share, now_ns))
		return false;
	*ret_messages = quota->messages;
	*ret_wait_ns = quota->at_ns > now_ns ? quota->at_ns - now_ns : 0;
	return true;
}

bool sender_turn_open(struct sender_turn *turn, uint64_t *ret_messages, uint64_t *ret_wait_ns)
{
	uint64_t now_ns = loop_now_ns(turn->conn->worker->loop);

	if (!takes_turns(tenant_of(turn)))
		return false;
	next_turn(turn, true, 0, now_ns, ret_messages, ret_wait_ns);
	turn->told = *ret_messages;
	turn->limited = true;
	return true;
}

// Tells that it may send what it likes, if it was told otherwise.
static void tell_unlimited(struct sender_turn *turn)
{
	bool limited = turn->limited;

	turn->limited = false;
	if (limited)
		tell_turn(turn, CODE_OK, UINT64_MAX, 0); // the stream may be gone
}

void sender_turn_changed(struct sender_turn *turn)
{
	uint64_t messages, wait_ns;

	if (!takes_turns(tenant_of(turn))) {
		tell_unlimited(turn);
		return;
	}
	if (sender_turn_open(turn, &messages, &wait_ns))
		tell_turn(turn, wait_ns ? CODE_THROTTLED : CODE_OK, messages, wait_ns);
}

size_t sender_turn_charge(struct sender_turn *turn, const struct submit_record *records,
			  size_t count, uint64_t total, uint64_t now_ns,
			  struct quota_charge *charge)
{
	size_t passed = quota_turn_charge(tenant_of(turn)->ledger, &turn->quota, &records->size,
					  sizeof *records, count, total, now_ns, charge);

	turn->size = MAX(total / count, 1);
	if (!turn->quota.ledger)
		list_unlink(&turn->in_tenant);
	return passed;
}

uint64_t sender_turn_tell(struct sender_turn *turn, size_t count, size_t refused, uint64_t now_ns)
{
	uint64_t messages, wait_ns;

	if (!takes_turns(tenant_of(turn))) {
		tell_unlimited(turn);
		return 0;
	}
	turn->limited = true;
	turn->told -= MIN(turn->told, count);
	if (!refused && turn->told > 0)
		return 0;
	if (next_turn(turn, false, refused, now_ns, &messages, &wait_ns))
		tell_turn(turn, wait_ns ? CODE_THROTTLED : CODE_OK, messages, wait_ns);
	return wait_ns;
}
