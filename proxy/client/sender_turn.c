// Who is refused under a quota in mode `reject` gets a turn of its own: messages that are charged
// in advance, so that nobody else can take them, and the time when they pass. Everybody then sends
// what fits when it fits: no message is refused again and again, and what the quota allows is used.
//
// A stream is told its first turn when it opens and the next one when it has used up the last (the
// THROTTLE goes out when the batch is read, before its answer). While nobody waits for a turn no
// message is promised: the stream is told what will pass and when, and that is all; half of a
// burst, so that nothing is lost when it comes late. A promise is its stream's share of the burst,
// so turns go round in about 0.2 s.
//
// What is promised and not taken within GRACE_NS of its time is given back: its sender has no more
// to send. Belongs to the connection's loop; the ledger is shared by all.

#include "proxy/client/sender_turn.h"

#include "adapters/adapter.h"
#include "core/wire/fields.h"
#include "proxy/client/native/native.h"
#include "proxy/client/native/produce.h"
#include "proxy/client/native/send.h"
#include "proxy/client/tenant_clients.h"
#include "proxy/resource/shared.h"
#include "proxy/resource/topic.h"

#define GRACE_NS   S_NS
#define SIZE_GUESS 1024u // of a message, before any has come

static struct tenant_view *tenant_of(const struct topic_stream *stream)
{
	return stream->stream.conn->session.tenant;
}

static bool takes_turns(const struct tenant_view *tenant)
{
	return tenant->model->limits.over == QUOTA_OVER_REJECT &&
	       quota_produce_limited(tenant->ledger);
}

void sender_turn_join(struct topic_stream *stream)
{
	struct sender_turn *turn = &stream->quota_turn;

	*turn = (struct sender_turn){.size = SIZE_GUESS, .joined = true};
	list_init(&turn->in_tenant);
	quota_sender_joins(tenant_of(stream)->ledger);
}

static void turn_end(struct sender_turn *turn)
{
	list_unlink(&turn->in_tenant);
	quota_turn_end(&turn->quota);
}

void sender_turn_leave(struct topic_stream *stream)
{
	if (!stream->quota_turn.joined)
		return;
	stream->quota_turn.joined = false;
	turn_end(&stream->quota_turn);
	quota_sender_leaves(tenant_of(stream)->ledger);
}

void sender_turns_give_back(struct tenant_clients *clients)
{
	while (!list_empty(&clients->turns))
		turn_end(LIST_ENTRY(clients->turns.next, struct sender_turn, in_tenant));
}

void sender_turns_expire(struct loop_timer *timer)
{
	struct tenant_clients *clients = CONTAINER_OF(timer, struct tenant_clients, turns_timer);
	uint64_t now_ns = loop_now_ns(timer->loop);

	LIST_FOREACH(pos, next, &clients->turns)
	{
		struct sender_turn *turn = LIST_ENTRY(pos, struct sender_turn, in_tenant);

		if (now_ns >= turn->quota.at_ns + GRACE_NS)
			turn_end(turn);
	}
	if (!list_empty(&clients->turns))
		loop_timer_set(timer, now_ns + GRACE_NS);
}

static void send_turn(struct topic_stream *stream, enum code code, uint64_t messages,
		      uint64_t wait_ns)
{
	struct quota_answer why;
	struct field_writer fields;
	uint8_t room[96];

	quota_explain(tenant_of(stream)->ledger, QUOTA_PRODUCE, stream->quota_turn.size,
		      loop_now_ns(stream->stream.conn->worker->loop), &why);
	stream->quota_turn.told = messages;
	field_writer_init(&fields, room, sizeof room);
	field_put_int(&fields, FIELD_CODE, code);
	field_put_int(&fields, FIELD_DIRECTION, QUOTA_PRODUCE);
	field_put_int(&fields, FIELD_UNIT, why.bytes);
	field_put_int(&fields, FIELD_LIMIT, why.limit);
	field_put_int(&fields, FIELD_REMAINING, messages);
	field_put_int(&fields, FIELD_RETRY_AFTER_MS, wait_ms_of(wait_ns));
	native_send(stream->stream.conn, FRAME_THROTTLE, stream_id(&stream->stream), room,
		    (uint32_t)fields.size);
}

// False: nothing ever passes.
static bool promise(struct topic_stream *stream, uint64_t messages, uint64_t now_ns)
{
	struct tenant_view *tenant = tenant_of(stream);
	struct sender_turn *turn = &stream->quota_turn;

	if (!quota_turn_promise(tenant->ledger, messages, turn->size, now_ns, &turn->quota))
		return false;
	list_push_back(&tenant->clients->turns, &turn->in_tenant);
	if (!tenant->clients->turns_timer.at_ns)
		loop_timer_set(&tenant->clients->turns_timer, now_ns + GRACE_NS);
	return true;
}

// What the stream may send next, and the wait for it. False: nothing ever passes.
static bool next_turn(struct topic_stream *stream, bool first, size_t refused, uint64_t now_ns,
		      uint64_t *ret_messages, uint64_t *ret_wait_ns)
{
	struct quota_ledger *ledger = tenant_of(stream)->ledger;
	struct quota_turn *quota = &stream->quota_turn.quota;
	uint64_t share = quota_turn_share(ledger, stream->quota_turn.size, first);

	*ret_messages = 0;
	*ret_wait_ns = UINT64_MAX;
	if (!refused && !quota->ledger && !quota_turn_contended(ledger)) {
		share = MAX(share / 2, 1);
		*ret_wait_ns = quota_turn_wait_ns(ledger, share, stream->quota_turn.size, now_ns);
		*ret_messages = *ret_wait_ns == UINT64_MAX ? 0 : share;
		return *ret_messages > 0;
	}
	if (!quota->ledger && !promise(stream, refused ? MIN(refused, share) : share, now_ns))
		return false;
	*ret_messages = quota->messages;
	*ret_wait_ns = quota->at_ns > now_ns ? quota->at_ns - now_ns : 0;
	return true;
}

bool sender_turn_open(struct topic_stream *stream, uint64_t *ret_messages, uint64_t *ret_wait_ns)
{
	uint64_t now_ns = loop_now_ns(stream->stream.conn->worker->loop);

	if (!takes_turns(tenant_of(stream)))
		return false;
	next_turn(stream, true, 0, now_ns, ret_messages, ret_wait_ns);
	stream->quota_turn.told = *ret_messages;
	stream->quota_turn.limited = true;
	return true;
}

// Tells that it may send what it likes, if it was told otherwise.
static void tell_unlimited(struct topic_stream *stream)
{
	bool limited = stream->quota_turn.limited;

	stream->quota_turn.limited = false;
	if (limited)
		send_turn(stream, CODE_OK, UINT64_MAX, 0); // the stream may be gone
}

void sender_turn_changed(struct topic_stream *stream)
{
	uint64_t messages, wait_ns;

	if (!takes_turns(tenant_of(stream))) {
		tell_unlimited(stream);
		return;
	}
	if (sender_turn_open(stream, &messages, &wait_ns))
		send_turn(stream, wait_ns ? CODE_THROTTLED : CODE_OK, messages, wait_ns);
}

size_t sender_turn_charge(struct topic_stream *stream, const struct submit_record *records,
			  size_t count, uint64_t total, uint64_t now_ns,
			  struct quota_charge *charge)
{
	struct sender_turn *turn = &stream->quota_turn;
	size_t passed = quota_turn_charge(tenant_of(stream)->ledger, &turn->quota, &records->size,
					  sizeof *records, count, total, now_ns, charge);

	turn->size = MAX(total / count, 1);
	if (!turn->quota.ledger)
		list_unlink(&turn->in_tenant);
	return passed;
}

uint64_t sender_turn_tell(struct topic_stream *stream, size_t count, size_t refused,
			  uint64_t now_ns)
{
	struct sender_turn *turn = &stream->quota_turn;
	uint64_t messages, wait_ns;

	if (!takes_turns(tenant_of(stream))) {
		tell_unlimited(stream);
		return 0;
	}
	turn->limited = true;
	turn->told -= MIN(turn->told, count);
	if (!refused && turn->told > 0)
		return 0;
	if (next_turn(stream, false, refused, now_ns, &messages, &wait_ns))
		send_turn(stream, wait_ns ? CODE_THROTTLED : CODE_OK, messages, wait_ns);
	return wait_ns;
}
