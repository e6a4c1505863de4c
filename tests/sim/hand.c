// What lies in a consumer's hand: processes with several consumers each, over the real dispatch
// engine, with the real hand, barrier and credit of the C library; crashes at the start and at the
// end of a callback, kills, lost connections, frozen processes, ends by the proxy, quota waits.
//
// The model is the source of each group, the wire (in order, late; what was written arrives though
// the writer dies) and what the I/O of a consumer does with its hand. It judges at the line between
// engine and source whose loss has raised an attempt, and at the client what begins, and when.

#include "tests/sim/sim.h"

#include "proxy/dispatch.h"
#include "sdk/c/src/grants.h"
#include "sdk/c/src/hand.h"

enum { GROUPS = 2, PROCESSES = 3, MESSAGES = 48, WORKERS = 8, EVENTS = 4096, KEYS = 3, PULL = 10 };

#define V_NS      (30 * S_NS)
#define EXTEND_NS (600 * S_NS)
#define HORIZON   (3000 * S_NS)

enum kind { OK_KIND, KILLS, KILLS_LATE };
enum place { NEW, OPEN, OUT, FLIGHT, WAITING, REJECTED, DONE, DEAD };
enum scenario {
	POISON,
	LATE,
	LONG_LATE,
	TWO_GROUPS,
	PULLED,
	ORDER,
	FROZEN,
	ENDED,
	FAULTS,
	SCENARIOS
};

struct message {
	enum kind kind;
	enum place place;
	uint32_t ended, deaths, losses; // attempts; processes that died of it; losses from outside
	uint64_t due_ns, took_ns;
	bool begun;
};

struct home {
	struct dispatch *dispatch;
	struct dispatch_policy policy;
	struct message messages[MESSAGES];
	unsigned count, written; // of its messages, so many are in the log
	uint32_t demand, rejected;
	uint64_t next_tick_ns;
	uint32_t free_ends, losses;
	int last[KEYS]; // the highest that has begun first, by key
	bool pumping;
};

struct member { // at the proxy
	struct dispatch_consumer consumer;
	struct home *home;
	struct cons *cons;
	bool joined, ended;
	bool by_proxy;          // why it leaves just now
	struct message *killer; // what its process has died of
};

struct settle_of {
	uint64_t number;
	uint32_t offset, attempt;
	enum settle_verb verb;
};

struct delivered {
	struct hand_item item;
	uint32_t offset, attempt;
	struct member *member;
};

struct cons { // one consumer of one life of a process
	struct hand hand;
	struct hand_sub *sub;
	struct member *member;
	struct process *process;
	struct home *home;
	struct grants grants;
	struct delivered *running[WORKERS];
	uint64_t began_ns[WORKERS];
	struct delivered *batch[PULL];
	size_t batch_count, batch_at;
	struct settle_of settles[2 * MESSAGES];
	size_t settle_count;
	uint64_t tick_ns, io_ns;
	bool pulls, asked, io_due, credit_due, stuck;
	uint64_t stuck_begins, drain_told;
	unsigned workers;
};

struct process {
	struct barrier barriers[GROUPS]; // the first is the process's
	struct cons cons[GROUPS];
	unsigned life;
	bool dead;
	uint64_t frozen_ns, up_ns, down_ns; // frozen until; when the wire's last bytes arrive
	unsigned wire;                      // of its life: what is sent over an earlier one is lost
};

struct event {
	uint64_t at_ns, seq;
	void (*fn)(struct event *event);
	struct process *process;
	unsigned life, wire; // for events of a process that ends
	struct cons *cons;
	struct home *home;
	struct member *member;
	uint64_t a, b, c;
	struct settle_of *settles;
	struct delivered *delivered;
	bool at_client;
};

static struct {
	enum scenario scenario;
	struct home homes[GROUPS];
	struct process processes[PROCESSES];
	struct event events[EVENTS];
	unsigned event_count, groups, process_count;
	uint64_t now_ns, seq, rtt_ns, lag_ns, took_ns, quota_until_ns;
	void *garbage[65536];
	size_t garbage_count;
	bool faults;
	struct member *members[4096];
	unsigned member_count;
} m;

// Everything that a schedule makes goes at its end.
static void *make(size_t size)
{
	SIM_MUST(m.garbage_count < ARRAY_SIZE(m.garbage));
	return m.garbage[m.garbage_count++] = calloc(1, size);
}

// ---- events

static struct event *later(uint64_t ns, void (*fn)(struct event *event))
{
	struct event *event = &m.events[m.event_count++];

	SIM_MUST(m.event_count < EVENTS);
	*event = (struct event){.at_ns = m.now_ns + ns, .seq = ++m.seq, .fn = fn};
	return event;
}

static struct event *later_at(struct process *process, uint64_t ns, void (*fn)(struct event *))
{
	struct event *event = later(ns, fn);

	event->process = process;
	event->life = process->life;
	event->wire = process->wire;
	event->at_client = true;
	return event;
}

// In order, and late; what goes up arrives though its sender has died.
static struct event *up(struct cons *cons, void (*fn)(struct event *event))
{
	struct process *process = cons->process;
	struct event *event = later(0, fn);
	uint64_t late_ns = sim_below(m.rtt_ns);

	process->up_ns = MAX(process->up_ns, m.now_ns + late_ns) + 1;
	event->at_ns = process->up_ns;
	event->member = cons->member;
	event->cons = cons;
	return event;
}

static struct event *down(struct member *member, void (*fn)(struct event *event))
{
	struct process *process = member->cons->process;
	struct event *event = later_at(process, 0, fn);
	uint64_t late_ns = sim_below(m.rtt_ns);

	process->down_ns = MAX(process->down_ns, m.now_ns + late_ns) + 1;
	event->at_ns = process->down_ns;
	event->member = member;
	event->cons = member->cons;
	return event;
}

static void run_next(void)
{
	unsigned first = 0;
	struct event event;

	for (unsigned i = 1; i < m.event_count; ++i)
		if (m.events[i].at_ns < m.events[first].at_ns ||
		    (m.events[i].at_ns == m.events[first].at_ns &&
		     m.events[i].seq < m.events[first].seq))
			first = i;
	event = m.events[first];
	m.events[first] = m.events[--m.event_count];
	m.now_ns = MAX(m.now_ns, event.at_ns);
	if (event.at_client) {
		if (event.process->dead || event.life != event.process->life ||
		    (event.member && event.wire != event.process->wire))
			return;
		if (m.now_ns < event.process->frozen_ns) {
			event.at_ns = event.process->frozen_ns;
			m.events[m.event_count++] = event;
			return;
		}
	}
	event.fn(&event);
}

// ---- the source of a group

static void pump(struct event *event)
{
	struct home *home = event->home;

	home->pumping = false;
	for (unsigned pass = 0; pass < 3; ++pass) {
		for (uint32_t i = 0; i < home->written; ++i) {
			struct message *message = &home->messages[i];
			struct delivery delivery = {.offset = i,
						    .epoch = 1,
						    .size = 40,
						    .attempt = message->ended + 1,
						    .rejected = pass == 0,
						    .record = (const uint8_t *)message};
			bool due = message->place == OPEN ||
				   (message->place == WAITING && message->due_ns <= m.now_ns);
			struct buf buf = {.refs = 1000};

			if (pass == 0 ? message->place != REJECTED || !home->rejected
				      : !home->demand || !(pass == 1 ? due : message->place == NEW))
				continue;
			--*(pass == 0 ? &home->rejected : &home->demand);
			message->place = OUT;
			delivery.buf = make(sizeof buf);
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
	later(ns + (ns ? 0 : sim_below(MS_NS)), pump)->home = home;
}

// Whose doing is it that an attempt has ended without a word?
static void judge_loss(struct home *home, struct message *message, const struct member *member)
{
	SIM_MUST(member && !member->by_proxy); // what the proxy ends counts nothing
	SIM_MUST(message->losses > 0);         // nothing counts at its first loss
	if (message->kind == OK_KIND && member->killer)
		SIM_MUST(m.scenario == FAULTS || m.scenario == LONG_LATE); // innocents never pay
}

static struct member *leaving;

static void on_settle(void *ctx, struct settle *settles, size_t count, void *request)
{
	struct home *home = ctx;

	for (size_t i = 0; i < count; ++i) {
		for (uint32_t k = 0; k < settles[i].count; ++k) {
			struct message *message = &home->messages[settles[i].offset + k];
			bool asked = request != NULL;

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
				pump_later(home, settles[i].delay_ms * MS_NS + 1);
			}
		}
	}
	pump_later(home, 0);
}

// Another message is written, soon after the one before.
static void write_next(struct event *event)
{
	struct home *home = event->home;

	if (home->written < home->count) {
		++home->written;
		pump_later(home, 0);
		later(sim_below(2 * S_NS), write_next)->home = home;
	}
}

// ---- the proxy's side

static void home_arm(struct home *home);

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
	event = later(next_ns - m.now_ns, home_armed);
	event->home = home;
	event->a = next_ns;
}

static void came(struct event *event);
static void drained(struct event *event);
static void closed(struct event *event);

static void on_deliver(void *ctx, struct dispatch_consumer *consumer,
		       const struct delivery *deliveries, size_t count, uint32_t flags)
{
	struct member *member = CONTAINER_OF(consumer, struct member, consumer);
	struct home *home = ctx;

	for (size_t i = 0; i < count; ++i) {
		struct delivered *delivered = make(sizeof *delivered);

		home->messages[deliveries[i].offset].place = FLIGHT;
		*delivered = (struct delivered){.offset = (uint32_t)deliveries[i].offset,
						.attempt = deliveries[i].attempt,
						.member = member};
		delivered->item.suspect = flags & DISPATCH_FLAG_SUSPECT;
		delivered->item.last = flags & DISPATCH_FLAG_LAST;
		sim_trace("%10.3f     %u goes to process %zu, flags %u", (double)m.now_ns / 1e9,
			  delivered->offset, (size_t)(member->cons->process - m.processes), flags);
		down(member, came)->delivered = delivered;
	}
}

static void on_drained(void *ctx, struct dispatch_consumer *consumer, uint64_t number)
{
	down(CONTAINER_OF(consumer, struct member, consumer), drained)->a = number;
}

static void leave(struct member *member, enum dispatch_leave why, struct message *killer)
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
	leave(event->member, DISPATCH_ENDED, NULL);
	down(event->member, closed);
}

static void on_silent(void *ctx, struct dispatch_consumer *consumer)
{
	struct member *member = CONTAINER_OF(consumer, struct member, consumer);

	leaving = member; // what it held is taken back now
	++member->home->losses;
	later(0, leave_silent)->member = member;
}

static void on_demand(void *ctx, uint32_t messages, uint64_t bytes, uint32_t rejected)
{
	struct home *home = ctx;

	home->demand = messages;
	home->rejected = rejected;
	pump_later(home, 0);
}

static void buried(struct event *event)
{
	dispatch_buried(event->home->dispatch, 0, event->a, m.now_ns);
}

static void on_bury(void *ctx, const struct delivery *delivery, enum dispatch_reason reason,
		    uint32_t attempts)
{
	struct event *event = later(MS_NS, buried);

	event->home = ctx;
	event->a = delivery->offset;
}

static void on_unhold(void *ctx, void *request, bool lost)
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

static const struct dispatch_ops ops = {.deliver = on_deliver,
					.silent = on_silent,
					.drained = on_drained,
					.settle = on_settle,
					.demand = on_demand,
					.bury = on_bury,
					.unhold = on_unhold,
					.charge = on_charge,
					.ready = on_ready};

static void member_joins(struct event *event)
{
	struct member *member = event->member;

	if (member->ended)
		return;
	member->joined =
		dispatch_join(member->home->dispatch, &member->consumer, true, m.now_ns) == 0;
	home_arm(member->home);
}

static void member_credit(struct event *event)
{
	struct member *member = event->member;
	struct home *home = member->home;

	if (!member->joined || member->ended)
		return;
	dispatch_heard(home->dispatch, &member->consumer, event->c, m.now_ns);
	dispatch_credit(home->dispatch, &member->consumer, event->a, event->a ? 1u << 20 : 0,
			event->b, m.now_ns);
	home_arm(home);
}

static void member_settles(struct event *event)
{
	struct member *member = event->member;
	static int request;

	for (uint64_t i = 0; member->joined && !member->ended && i < event->a; ++i) {
		const struct settle_of *one = &event->settles[i];
		struct settle settle = {.epoch = 1,
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

static void member_lost(struct event *event)
{
	if (!event->delivered && event->member->joined && !event->member->ended)
		++event->member->home->losses;
	event->member->cons = event->cons;
	leave(event->member, DISPATCH_LOST,
	      event->delivered ? &event->home->messages[event->delivered->offset] : NULL);
}

// ---- a consumer

static void io(struct event *event);
static void work(struct cons *cons);

static void io_soon(struct cons *cons)
{
	if (cons->io_due || !cons->member)
		return;
	cons->io_due = true;
	later_at(cons->process, sim_below(m.lag_ns + 1), io)->cons = cons;
}

static void hand_woken(struct hand *hand)
{
	io_soon(CONTAINER_OF(hand, struct cons, hand));
}

static void note(struct cons *cons, const struct delivered *delivered, enum settle_verb verb)
{
	if (delivered->member != cons->member)
		return;
	SIM_MUST(cons->settle_count < ARRAY_SIZE(cons->settles));
	cons->settles[cons->settle_count++] = (struct settle_of){
		delivered->item.number, delivered->offset, delivered->attempt, verb};
	if (verb != SETTLE_EXTEND) {
		atomic_fetch_sub(&cons->hand.held, 1);
		barrier_settled(cons->hand.barrier, &delivered->item);
	}
}

static void give_back(struct cons *cons)
{
	struct hand_item *item;

	while ((item = hand_remove(&cons->hand, cons->sub)))
		note(cons, CONTAINER_OF(item, struct delivered, item), SETTLE_RELEASE);
}

static void settles_send(struct cons *cons)
{
	struct event *event;

	if (cons->settle_count) {
		event = up(cons, member_settles);
		event->settles = make(cons->settle_count * sizeof cons->settles[0]);
		memcpy(event->settles, cons->settles, cons->settle_count * sizeof cons->settles[0]);
		event->a = cons->settle_count;
		cons->settle_count = 0;
	}
	barrier_sent(cons->hand.barrier, cons->sub);
}

static void credit_send(struct cons *cons)
{
	struct event *event;
	bool told = cons->grants.draining && cons->drain_told == cons->grants.drain;

	hand_telling(cons->sub);
	event = up(cons, member_credit);
	event->a = told ? 0 : cons->grants.granted_messages;
	event->b = cons->grants.drain;
	event->c = cons->sub->telling;
	cons->drain_told = cons->grants.drain;
	cons->credit_due = false;
}

static void tick(struct cons *cons)
{
	if (m.now_ns < cons->tick_ns + V_NS / 4 || atomic_load(&cons->hand.held) == 0)
		return;
	cons->tick_ns = m.now_ns;
	cons->credit_due = true;
	for (unsigned i = 0; i < cons->workers; ++i)
		if (cons->running[i] && m.now_ns < cons->began_ns[i] + EXTEND_NS)
			note(cons, cons->running[i], SETTLE_EXTEND);
	for (size_t i = cons->batch_at; i < cons->batch_count; ++i)
		note(cons, cons->batch[i], SETTLE_EXTEND);
	for (struct hand_item *item = cons->hand.first; item; item = item->next)
		if (item->number <= cons->sub->told)
			note(cons, CONTAINER_OF(item, struct delivered, item), SETTLE_EXTEND);
}

static void stuck(struct cons *cons)
{
	if (cons->pulls || m.now_ns < hand_stuck_ns(&cons->hand) || cons->grants.draining)
		return;
	cons->stuck = true;
	cons->stuck_begins = cons->hand.begins;
	grants_drain(&cons->grants);
	cons->credit_due = true;
}

static void top_up(struct cons *cons)
{
	uint64_t oldest_ns = 0, held = atomic_load(&cons->hand.held);

	for (unsigned i = 0; i < cons->workers; ++i)
		if (cons->running[i] && (!oldest_ns || cons->began_ns[i] < oldest_ns))
			oldest_ns = cons->began_ns[i];
	if (cons->pulls) {
		if (cons->asked || held || cons->grants.draining)
			return;
		grants_ask(&cons->grants, PULL, 1u << 20);
		cons->asked = cons->credit_due = true;
	} else if (!(atomic_load(&cons->hand.running) >= cons->workers &&
		     m.now_ns >= cons->hand.begun_ns + V_NS / 2)) {
		cons->credit_due |=
			grants_top_up(&cons->grants, hand_window(&cons->hand, oldest_ns, m.now_ns),
				      1u << 20, held, held * 40);
	}
}

static void io_time(struct event *event)
{
	if (event->member == event->cons->member)
		io_soon(event->cons);
}

static void arm(struct cons *cons)
{
	uint64_t next_ns = barrier_tick(cons->hand.barrier, &cons->hand, m.now_ns);
	struct event *event;

	if (atomic_load(&cons->hand.held))
		next_ns = MIN(next_ns, cons->tick_ns + V_NS / 4);
	if (!cons->pulls && !cons->grants.draining)
		next_ns = MIN(next_ns, MAX(hand_stuck_ns(&cons->hand), m.now_ns + MS_NS));
	if (next_ns == UINT64_MAX || (cons->io_ns > m.now_ns && cons->io_ns <= next_ns))
		return;
	cons->io_ns = MAX(next_ns, m.now_ns + 1);
	event = later_at(cons->process, cons->io_ns - m.now_ns, io_time);
	event->cons = cons;
	event->member = cons->member;
}

// Settles first, then what begins; when both are in the socket it may.
static void io(struct event *event)
{
	struct cons *cons = event->cons;

	cons->io_due = false;
	if (!cons->member)
		return;
	tick(cons);
	stuck(cons);
	top_up(cons);
	if (cons->pulls)
		cons->batch_count == cons->batch_at ? hand_plan_pull(&cons->hand, PULL, m.now_ns)
						    : 0;
	else
		hand_plan(&cons->hand, m.now_ns);
	settles_send(cons);
	if (cons->credit_due || hand_due(&cons->hand, cons->sub))
		credit_send(cons);
	hand_written(&cons->hand, cons->sub);
	arm(cons);
	work(cons);
}

// ---- callbacks

static void die(struct process *process, struct home *home, struct delivered *killer);

static void note_begin(struct cons *cons, struct delivered *delivered)
{
	struct home *home = cons->home;
	struct message *message = &home->messages[delivered->offset];
	int *last = &home->last[delivered->offset % KEYS];

	sim_trace("%10.3f process %zu begins %u of group %zu, attempt %u%s", (double)m.now_ns / 1e9,
		  (size_t)(cons->process - m.processes), delivered->offset,
		  (size_t)(home - m.homes), delivered->attempt,
		  delivered->item.suspect ? ", alone" : "");
	SIM_MUST(delivered->item.number <= delivered->item.sub->told);
	if (m.scenario == ORDER && !message->begun)
		SIM_MUST((int)delivered->offset > *last);
	if (!message->begun)
		*last = MAX(*last, (int)delivered->offset);
	message->begun = true;
}

static void call_over(struct event *event)
{
	struct cons *cons = event->cons;
	unsigned slot = (unsigned)event->a;
	struct delivered *delivered = event->delivered;

	if (cons->running[slot] != delivered)
		return;
	if (event->home->messages[delivered->offset].kind == KILLS_LATE) {
		die(cons->process, cons->home, delivered);
		return;
	}
	note(cons, delivered, SETTLE_ACK);
	cons->running[slot] = NULL;
	hand_end(&cons->hand, delivered->item.sub, delivered->item.number, false,
		 m.now_ns - cons->began_ns[slot]);
	if (cons->member)
		io_soon(cons);
	work(cons);
}

static void died_at_start(struct event *event)
{
	die(event->process, event->home, event->delivered);
}

static void begin(struct cons *cons, struct delivered *delivered, unsigned slot)
{
	struct message *message = &cons->home->messages[delivered->offset];
	struct event *event;

	note_begin(cons, delivered);
	cons->running[slot] = delivered;
	cons->began_ns[slot] = m.now_ns;
	event = later_at(cons->process, message->kind == KILLS ? 1 : message->took_ns,
			 message->kind == KILLS ? died_at_start : call_over);
	event->cons = cons;
	event->home = cons->home;
	event->delivered = delivered;
	event->a = slot;
}

static void batch_next(struct cons *cons);

static void batch_over(struct event *event)
{
	struct cons *cons = event->cons;

	if (event->home->messages[event->delivered->offset].kind != OK_KIND) {
		die(cons->process, cons->home, event->delivered);
		return;
	}
	if (cons->batch_at == cons->batch_count || cons->batch[cons->batch_at] != event->delivered)
		return;
	++cons->batch_at;
	note(cons, event->delivered, SETTLE_ACK);
	io_soon(cons);
	batch_next(cons);
}

static void batch_next(struct cons *cons)
{
	struct delivered *delivered;
	struct message *message;
	struct event *event;

	if (cons->batch_at == cons->batch_count) {
		io_soon(cons);
		return;
	}
	delivered = cons->batch[cons->batch_at];
	message = &cons->home->messages[delivered->offset];
	note_begin(cons, delivered);
	event = later_at(cons->process, message->kind == KILLS ? 1 : message->took_ns, batch_over);
	event->cons = cons;
	event->home = cons->home;
	event->delivered = delivered;
}

static void pull(struct cons *cons)
{
	size_t count;

	if (cons->batch_at < cons->batch_count || !cons->hand.first)
		return;
	count = hand_plan_pull(&cons->hand, PULL, m.now_ns);
	if (count == 0 || !hand_pull(&cons->hand, count, m.now_ns, EXTEND_NS)) {
		if (count && cons->sub->want > cons->sub->telling)
			io_soon(cons);
		return;
	}
	cons->batch_count = cons->batch_at = 0;
	while (cons->batch_count < count)
		cons->batch[cons->batch_count++] =
			CONTAINER_OF(hand_pop(&cons->hand), struct delivered, item);
	give_back(cons);
	cons->asked = false;
	batch_next(cons);
}

static void work(struct cons *cons)
{
	if (!cons->member)
		return;
	if (cons->pulls) {
		pull(cons);
		return;
	}
	for (unsigned i = 0; i < cons->workers; ++i) {
		struct hand_item *item;

		if (cons->running[i])
			continue;
		item = hand_begin(&cons->hand, m.now_ns, EXTEND_NS);
		if (!item)
			break;
		begin(cons, CONTAINER_OF(item, struct delivered, item), i);
	}
}

// ---- what comes to a client

static void came(struct event *event)
{
	struct cons *cons = event->cons;
	struct delivered *delivered = event->delivered;

	if (event->member != cons->member)
		return;
	delivered->item.sub = cons->sub;
	delivered->item.number = ++cons->sub->received;
	delivered->item.received_ns = m.now_ns;
	SIM_MUST(grants_delivered(&cons->grants, 1, 40));
	if (atomic_fetch_add(&cons->hand.held, 1) == 0)
		cons->tick_ns = m.now_ns;
	hand_add(&cons->hand, &delivered->item);
	SIM_MUST(atomic_load(&cons->hand.held) <= cons->hand.window_max + PULL);
	io_soon(cons);
}

static void drained(struct event *event)
{
	struct cons *cons = event->cons;

	if (event->member != cons->member)
		return;
	SIM_MUST(grants_drained(&cons->grants, event->a));
	if (cons->stuck && cons->hand.begins == cons->stuck_begins)
		give_back(cons);
	cons->stuck = false;
	io_soon(cons);
}

static void subscribe(struct event *event)
{
	struct cons *cons = event->cons;

	if (cons->member)
		return;
	cons->member = make(sizeof *cons->member);
	cons->member->home = cons->home;
	cons->member->cons = cons;
	SIM_MUST(m.member_count < ARRAY_SIZE(m.members));
	m.members[m.member_count++] = cons->member;
	cons->sub = make(sizeof *cons->sub);
	*cons->sub = (struct hand_sub){.tells = true, .alive = true, .visibility_ns = V_NS};
	cons->grants = (struct grants){0};
	cons->settle_count = 0;
	cons->asked = cons->stuck = cons->credit_due = false;
	cons->drain_told = 0;
	up(cons, member_joins);
	io_soon(cons);
}

// The end of a subscription: nothing that came over it can be settled.
static void subscription_end(struct cons *cons)
{
	struct hand_item *item;

	if (!cons->member)
		return;
	cons->sub->alive = false;
	while ((item = hand_remove(&cons->hand, cons->sub)))
		;
	atomic_store(&cons->hand.held, 0);
	barrier_drop_sub(cons->hand.barrier, cons->sub);
	cons->member = NULL;
	cons->batch_at = cons->batch_count = 0;
	later_at(cons->process, 1 + sim_below(50 * MS_NS), subscribe)->cons = cons;
}

static void closed(struct event *event)
{
	if (event->member == event->cons->member)
		subscription_end(event->cons);
}

// ---- processes

static void process_start(struct process *process)
{
	++process->life;
	process->dead = false;
	for (unsigned g = 0; g < m.groups; ++g) {
		struct cons *cons = &process->cons[g];
		bool pulls = cons->pulls;
		unsigned workers = cons->workers;

		*cons = (struct cons){.process = process,
				      .home = &m.homes[g],
				      .pulls = pulls,
				      .workers = workers};
		barrier_init(&process->barriers[g]);
		hand_init(&cons->hand, &process->barriers[0], hand_woken, workers);
		cons->hand.window_max = 16;
		barrier_join(cons->hand.barrier, &cons->hand);
		later_at(process, 1, subscribe)->cons = cons;
	}
}

static void process_again(struct event *event)
{
	if (event->process->dead)
		process_start(event->process);
}

static void connection_lost(struct process *process, struct home *home, struct delivered *killer)
{
	for (unsigned g = 0; g < m.groups; ++g) {
		struct cons *cons = &process->cons[g];
		struct event *event;

		if (!cons->member)
			continue;
		event = up(cons, member_lost);
		event->home = home;
		event->delivered = killer;
	}
	++process->wire;
}

static void die(struct process *process, struct home *home, struct delivered *killer)
{
	if (process->dead)
		return;
	sim_trace("%10.3f process %zu dies%s", (double)m.now_ns / 1e9,
		  (size_t)(process - m.processes), killer ? " of it" : "");
	if (killer)
		++home->messages[killer->offset].deaths;
	connection_lost(process, home, killer);
	process->dead = true;
	process->frozen_ns = 0;
	later(1 + sim_below(50 * MS_NS), process_again)->process = process;
}

static void fault(void)
{
	struct process *process = &m.processes[sim_below(m.process_count)];
	uint64_t what = m.scenario == FROZEN ? 1 : m.scenario == ENDED ? 2 : sim_below(4);

	if (process->dead)
		return;
	sim_trace("%10.3f fault %llu of process %zu", (double)m.now_ns / 1e9,
		  (unsigned long long)what, (size_t)(process - m.processes));
	if (what == 0) {
		die(process, NULL, NULL);
	} else if (what == 1) {
		uint64_t until_ns = m.now_ns + (sim_one_in(2) ? S_NS : 70 * S_NS);

		process->frozen_ns = MAX(process->frozen_ns, until_ns);
	} else if (what == 2) {
		for (unsigned g = 0; g < m.groups; ++g) {
			struct member *member = process->cons[g].member;

			if (!member || !member->joined || member->ended)
				continue;
			++member->home->free_ends;
			leave(member, DISPATCH_ENDED, NULL);
			down(member, closed);
		}
	} else {
		connection_lost(process, NULL, NULL);
		for (unsigned g = 0; g < m.groups; ++g)
			subscription_end(&process->cons[g]);
	}
}

// ---- the schedule

static void start(void)
{
	static const uint64_t times_ns[] = {10000, 10000, MS_NS, 50 * MS_NS, 900 * MS_NS};
	unsigned poison, max = 1 + (unsigned)sim_below(4);

	memset(&m, 0, sizeof m);
	m.scenario = (enum scenario)sim_below(SCENARIOS);
	m.now_ns = S_NS;
	m.faults = true;
	m.rtt_ns = sim_one_in(2) ? 200000 : 2 * MS_NS;
	if (m.scenario == ORDER && sim_one_in(2))
		m.rtt_ns = 300 * MS_NS;
	m.lag_ns = sim_one_in(3) ? 5 * MS_NS : sim_one_in(3) ? 0 : sim_below(200000);
	m.groups = m.scenario == TWO_GROUPS ? 2 : 1;
	m.process_count = m.scenario == ORDER ? 1 : 1 + (unsigned)sim_below(PROCESSES);
	m.took_ns = m.scenario == ORDER && sim_one_in(4)
			    ? 20 * S_NS
			    : times_ns[sim_below(ARRAY_SIZE(times_ns))];
	if (m.scenario == LATE)
		m.took_ns = 50 * MS_NS + sim_below(850) * MS_NS;
	if (m.scenario == LONG_LATE)
		m.took_ns = 1500 * MS_NS + sim_below(3000) * MS_NS;
	poison = m.scenario == ORDER || m.scenario == FROZEN || m.scenario == ENDED
			 ? 0
			 : 1 + (unsigned)sim_below(3);
	for (unsigned g = 0; g < m.groups; ++g) {
		struct home *home = &m.homes[g];

		*home = (struct home){.count = 12 + (unsigned)sim_below(MESSAGES - 12),
				      .policy = {.visibility_ns = V_NS,
						 .max_attempts = max,
						 .retry_delay_ms = 100,
						 .retry_delay_max_ms = 1000,
						 .in_flight_max = 10000,
						 .dead_letter = true}};
		for (unsigned k = 0; k < KEYS; ++k)
			home->last[k] = -1;
		for (unsigned i = 0; i < home->count; ++i)
			home->messages[i].took_ns =
				m.scenario == ORDER && sim_one_in(10) ? 20 * S_NS
				: sim_one_in(5) ? times_ns[sim_below(ARRAY_SIZE(times_ns))]
						: m.took_ns;
		for (unsigned i = 0; i < poison && !(g && sim_one_in(2)); ++i)
			home->messages[sim_below(home->count)].kind =
				m.scenario == LATE || m.scenario == LONG_LATE ? KILLS_LATE : KILLS;
		home->written =
			m.scenario == ORDER ? 1 + (unsigned)sim_below(home->count) : home->count;
		later(0, write_next)->home = home;
		SIM_EQUAL(dispatch_new(&home->policy, &ops, home, &home->dispatch), 0);
	}
	for (unsigned p = 0; p < m.process_count; ++p) {
		static const unsigned workers[] = {1, 1, 2, 8};

		for (unsigned g = 0; g < m.groups; ++g) {
			m.processes[p].cons[g].pulls =
				m.scenario == PULLED || (m.scenario == FAULTS && sim_one_in(3));
			m.processes[p].cons[g].workers =
				m.processes[p].cons[g].pulls ? 1 : workers[sim_below(4)];
		}
		process_start(&m.processes[p]);
	}
}

static bool over(void)
{
	for (unsigned g = 0; g < m.groups; ++g)
		for (unsigned i = 0; i < m.homes[g].count; ++i)
			if (m.homes[g].messages[i].place < DONE)
				return false;
	return true;
}

static void step(void)
{
	uint64_t events = 1 + sim_below(60);

	while (events-- && m.event_count && !over())
		run_next();
	if ((m.scenario == FROZEN || m.scenario == ENDED || m.scenario == FAULTS) && sim_one_in(6))
		fault();
}

static void judge(const struct home *home, const struct message *message)
{
	uint32_t slack = 1 + home->free_ends + home->losses;

	SIM_MUST(message->place >= DONE);
	if (message->kind != OK_KIND) {
		SIM_MUST(message->place == DEAD);
		SIM_MUST(message->deaths <= home->policy.max_attempts + slack);
	} else if (m.scenario != FAULTS && m.scenario != FROZEN) {
		SIM_EQUAL(message->place,
			  DONE); // beside long callbacks a loss may count, never the last
		SIM_MUST(message->ended == 0 || m.scenario == LONG_LATE);
	}
}

static void finish(void)
{
	unsigned rounds = 0;

	m.faults = false;
	while (m.event_count && !over()) {
		SIM_MUST(++rounds < 400000 && m.now_ns < 40 * HORIZON);
		run_next();
	}
	for (unsigned g = 0; g < m.groups; ++g)
		for (unsigned i = 0; i < m.homes[g].count; ++i)
			judge(&m.homes[g], &m.homes[g].messages[i]);
	for (unsigned i = 0; i < m.member_count; ++i)
		leave(m.members[i], DISPATCH_ENDED, NULL);
	for (unsigned g = 0; g < m.groups; ++g)
		dispatch_free(m.homes[g].dispatch);
	while (m.garbage_count)
		free(m.garbage[--m.garbage_count]);
}

const struct sim_engine sim_hand = {"hand", 40, start, step, finish};
