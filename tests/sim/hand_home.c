// The proxy's side: the source of a group, and the real engine between it and the consumers. Judges
// whose loss has raised an attempt.
//
// The source is a log, or a queue: there what has failed comes again under another offset, and all
// that is out when the channel is lost comes again on the next one, where offsets are counted
// from 1.

#include "tests/sim/hand.h"

static void home_arm(struct home *home);

// ---- the source of a group

static struct message *message_at(struct home *home, uint64_t offset)
{
	SIM_MUST(offset < ARRIVALS);
	return &home->messages[home->queue ? home->by_offset[offset] : offset];
}

static uint64_t offset_of(struct home *home, struct message *message)
{
	uint32_t at = (uint32_t)(message - home->messages);

	if (!home->queue)
		return at;
	if (!message->offset) {
		message->offset = ++home->arrivals;
		SIM_MUST(message->offset < ARRIVALS);
		home->by_offset[message->offset] = (uint16_t)at;
	}
	return message->offset;
}

static void pump(struct event *event)
{
	struct home *home = event->home;

	home->pumping = false;
	for (unsigned pass = 0; pass < 3; ++pass) {
		for (uint32_t i = 0; i < home->written; ++i) {
			struct message *message = &home->messages[i];
			struct delivery delivery = {.epoch = home->epoch,
						    .size = 40,
						    .attempt = message->ended + 1,
						    .rejected = pass == 0,
						    .record = message->record};
			bool due = message->place == OPEN ||
				   (message->place == WAITING && message->due_ns <= m.now_ns);
			struct buf buf = {.refs = 1000};

			if (pass == 0 ? message->place != REJECTED || !home->rejected
				      : !home->demand || !(pass == 1 ? due : message->place == NEW))
				continue;
			--*(pass == 0 ? &home->rejected : &home->demand);
			message->place = OUT;
			delivery.offset = offset_of(home, message);
			delivery.buf = play_make(sizeof buf);
			*delivery.buf = buf;
			dispatch_arrived(home->dispatch, &delivery, 1, m.now_ns);
		}
	}
}

static void pump_later(struct home *home, uint64_t ns)
{
	if (home->pumping && ns == 0)
		return;
	home->pumping |= ns == 0;
	play_later(ns + (ns ? 0 : sim_below(MS_NS)), pump)->home = home;
}

// Whose doing is it that an attempt has ended without a word?
static void judge_loss(struct home *home, struct message *message, const struct member *member)
{
	SIM_MUST(member && !member->by_proxy); // what the proxy ends counts nothing
	SIM_MUST(message->losses > 0);         // nothing counts at its first loss
	if (message->kind == OK_KIND && member->killer)
		SIM_MUST(m.scenario == FAULTS || m.scenario == LONG_LATE ||
			 m.scenario == KEEP); // innocents never pay
}

static struct member *leaving;

// A copy with one attempt more takes its place in the queue; a rejection is known here alone.
static void failed(struct home *home, struct message *message)
{
	if (!home->queue || message->place == REJECTED)
		return;
	message->durable = message->ended;
	message->offset = 0;
}

static void on_settle(void *ctx, struct settle *settles, size_t count, void *request)
{
	struct home *home = ctx;

	for (size_t i = 0; i < count; ++i) {
		for (uint32_t k = 0; k < settles[i].count; ++k) {
			struct message *message = message_at(home, settles[i].offset + k);
			bool asked = request != NULL;

			SIM_EQUAL(settles[i].epoch, home->epoch);
			SIM_EQUAL(settles[i].attempt, message->ended + 1);
			SIM_MUST(message->place == FLIGHT || message->place == OUT);

			switch (settles[i].verb) {
			case SETTLE_ACK: message->place = DONE; break;
			case SETTLE_DEAD: message->place = DEAD; break;
			case SETTLE_RELEASE:
				message->losses += leaving != NULL && message->place == FLIGHT;
				message->place = OPEN;
				break;
			default:
				if (!asked)
					judge_loss(home, message, leaving);
				++message->ended;
				message->losses += leaving != NULL;
				message->place =
					settles[i].verb == SETTLE_REJECT ? REJECTED : WAITING;
				message->due_ns = m.now_ns + settles[i].delay_ms * MS_NS;
				failed(home, message);
				pump_later(home, settles[i].delay_ms * MS_NS + 1);
			}
		}
	}
	pump_later(home, 0);
}

void home_loses_channel(struct home *home)
{
	sim_trace("%10.3f the source of group %zu loses its channel", (double)m.now_ns / 1e9,
		  (size_t)(home - m.homes));
	for (uint32_t i = 0; i < home->written; ++i) {
		struct message *message = &home->messages[i];

		if (message->place == NEW || message->place == WAITING || message->place >= DONE)
			continue;
		message->forgotten +=
			message->place == FLIGHT || message->ended != message->durable;
		message->place = OPEN;
		message->offset = 0;
		message->ended = message->durable;
	}
	++home->epoch;
	home->arrivals = 0;
	dispatch_source_lost(home->dispatch, m.now_ns);
	pump_later(home, 0);
	home_arm(home);
}

// Another message is written, soon after the one before.
void home_write_next(struct event *event)
{
	struct home *home = event->home;

	if (home->written < home->count) {
		++home->written;
		pump_later(home, 0);
		play_later(sim_below(2 * S_NS), home_write_next)->home = home;
	}
}

// ---- the proxy's side

static void home_armed(struct event *event)
{
	struct home *home = event->home;

	if (event->a != home->next_tick_ns)
		return;
	home->next_tick_ns = 0;
	dispatch_tick(home->dispatch, m.now_ns);
	leaving = NULL;
	pump_later(home, 0);
	home_arm(home);
}

static void home_arm(struct home *home)
{
	uint64_t next_ns = MAX(dispatch_next_ns(home->dispatch), m.now_ns + MS_NS);
	struct event *event;

	if (next_ns > m.now_ns + HORIZON || (home->next_tick_ns && home->next_tick_ns <= next_ns))
		return;
	home->next_tick_ns = next_ns;
	event = play_later(next_ns - m.now_ns, home_armed);
	event->home = home;
	event->a = next_ns;
}

static void on_deliver(void *ctx, struct dispatch_consumer *consumer,
		       const struct delivery *deliveries, size_t count, uint32_t flags)
{
	struct member *member = CONTAINER_OF(consumer, struct member, consumer);
	struct home *home = ctx;

	for (size_t i = 0; i < count; ++i) {
		struct message *message = message_at(home, deliveries[i].offset);
		struct delivered *delivered = play_make(sizeof *delivered);

		message->place = FLIGHT;
		*delivered = (struct delivered){.message = (uint32_t)(message - home->messages),
						.epoch = deliveries[i].epoch,
						.offset = deliveries[i].offset,
						.attempt = deliveries[i].attempt,
						.member = member};
		delivered->item.suspect = flags & DISPATCH_FLAG_SUSPECT;
		delivered->item.last = flags & DISPATCH_FLAG_LAST;
		sim_trace("%10.3f     %u goes to process %zu, flags %u", (double)m.now_ns / 1e9,
			  delivered->message, (size_t)(member->cons->process - m.processes), flags);
		play_down(member, cons_came)->delivered = delivered;
	}
}

static void on_drained(void *ctx, struct dispatch_consumer *consumer, uint64_t number)
{
	play_down(CONTAINER_OF(consumer, struct member, consumer), cons_drained)->a = number;
}

void home_leave(struct member *member, enum dispatch_leave why, struct message *killer)
{
	if (!member->joined || member->ended)
		return;
	member->ended = true;
	member->by_proxy = why == DISPATCH_ENDED;
	member->killer = killer;
	leaving = member;
	sim_trace("%10.3f     process %zu %s, begun %llu of %llu", (double)m.now_ns / 1e9,
		  (size_t)(member->cons->process - m.processes), why ? "is ended" : "is lost",
		  (unsigned long long)member->consumer.begun,
		  (unsigned long long)member->consumer.given_messages);
	dispatch_leave(member->home->dispatch, &member->consumer, why, m.now_ns);
	leaving = NULL;
	home_arm(member->home);
}

static void leave_silent(struct event *event)
{
	home_leave(event->member, DISPATCH_ENDED, NULL);
	play_down(event->member, cons_closed);
}

static void on_silent(void *ctx, struct dispatch_consumer *consumer)
{
	struct member *member = CONTAINER_OF(consumer, struct member, consumer);

	leaving = member; // what it held is taken back now
	++member->home->losses;
	play_later(0, leave_silent)->member = member;
}

static void on_demand(void *ctx, uint32_t messages, uint64_t bytes, uint32_t rejected)
{
	struct home *home = ctx;

	home->demand = messages;
	home->rejected = rejected;
	pump_later(home, 0);
}

static void dead_letter_copied(struct event *event)
{
	dispatch_dead_letter_copied(event->home->dispatch, event->b, 0, event->a, m.now_ns);
}

static void on_copy_dead_letter(void *ctx, const struct delivery *delivery,
				enum dispatch_reason reason, uint32_t attempts)
{
	struct event *event = play_later(MS_NS, dead_letter_copied);

	event->home = ctx;
	event->a = delivery->offset;
	event->b = delivery->epoch;
}

static void on_release_request(void *ctx, void *request, bool lost)
{
}

static size_t on_charge(void *ctx, const struct delivery *deliveries, size_t count, uint64_t now_ns,
			uint64_t *ret_retry_ns)
{
	*ret_retry_ns = MAX(m.quota_until_ns, now_ns + MS_NS);
	if (now_ns < m.quota_until_ns)
		return 0;
	if (m.faults && m.scenario == ORDER && sim_one_in(20))
		m.quota_until_ns = now_ns + (sim_one_in(4) ? 20 * S_NS : 5 * MS_NS);
	return count;
}

static uint64_t on_ready(void *ctx)
{
	const struct home *home = ctx;
	uint64_t ready = 0;

	for (uint32_t i = 0; i < home->written; ++i)
		ready += home->messages[i].place == NEW || home->messages[i].place == OPEN;
	return ready;
}

const struct dispatch_ops home_ops = {.deliver = on_deliver,
				      .silent = on_silent,
				      .drained = on_drained,
				      .settle = on_settle,
				      .demand = on_demand,
				      .copy_dead_letter = on_copy_dead_letter,
				      .release_request = on_release_request,
				      .charge = on_charge,
				      .ready = on_ready};

void home_joins(struct event *event)
{
	struct member *member = event->member;

	if (member->ended)
		return;
	member->joined =
		dispatch_join(member->home->dispatch, &member->consumer, true, m.now_ns) == 0;
	home_arm(member->home);
}

void home_credit(struct event *event)
{
	struct member *member = event->member;
	struct home *home = member->home;

	if (!member->joined || member->ended)
		return;
	dispatch_heartbeat(home->dispatch, &member->consumer, event->c, m.now_ns);
	dispatch_credit(home->dispatch, &member->consumer, event->a, event->a ? 1u << 20 : 0,
			event->b, m.now_ns);
	home_arm(home);
}

void home_settles(struct event *event)
{
	struct member *member = event->member;
	static int request;

	for (uint64_t i = 0; member->joined && !member->ended && i < event->a; ++i) {
		const struct settle_of *one = &event->settles[i];
		struct settle settle = {.epoch = one->epoch,
					.offset = one->offset,
					.count = 1,
					.attempt = one->attempt,
					.number = (uint32_t)one->number,
					.delay_ms = V_NS / MS_NS,
					.verb = (uint8_t)one->verb};

		dispatch_settle(member->home->dispatch, &member->consumer, &settle, 1, &request,
				m.now_ns);
	}
	home_arm(member->home);
}

void home_lost(struct event *event)
{
	if (!event->delivered && event->member->joined && !event->member->ended)
		++event->member->home->losses;
	event->member->cons = event->cons;
	home_leave(event->member, DISPATCH_LOST,
		   event->delivered ? &event->home->messages[event->delivered->message] : NULL);
}
