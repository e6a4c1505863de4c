// The client's side: what the I/O of a consumer does with the real hand, callbacks, processes that
// die. Judges what begins, and when.

#include "tests/sim/hand.h"

// ---- a consumer

static void io(struct event *event);
static void cons_work(struct cons *cons);

static void io_soon(struct cons *cons)
{
	if (cons->io_due || !cons->member)
		return;
	cons->io_due = true;
	play_later_at(cons->process, sim_below(m.lag_ns + 1), io)->cons = cons;
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
	cons->settles[cons->settle_count++] = (struct settle_of){.number = delivered->item.number,
								 .offset = delivered->offset,
								 .epoch = delivered->epoch,
								 .attempt = delivered->attempt,
								 .verb = verb};
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
		event = play_up(cons, home_settles);
		event->settles = play_make(cons->settle_count * sizeof cons->settles[0]);
		memcpy(event->settles, cons->settles, cons->settle_count * sizeof cons->settles[0]);
		event->a = cons->settle_count;
		cons->settle_count = 0;
	}
	barrier_sent(cons->hand.barrier, cons->sub);
}

// What is told now is at most about 1 ms of work, 64 deliveries in any case; behind a callback that
// took long, one for each thread. The average holds a fifth of the last callback.
static void judge_lead(const struct cons *cons)
{
	const struct hand_item *item = cons->hand.first;
	uint64_t most = cons->workers, told = 0;

	for (; item && item->number <= cons->sub->telling; item = item->next)
		++told;
	if (cons->took_ns && cons->took_ns < 5 * MS_NS)
		most = MIN(MAX(5 * MS_NS / cons->took_ns, 64), 1024);
	SIM_MUST(cons->pulls || told <= most);
}

static void credit_send(struct cons *cons)
{
	uint64_t before = cons->sub->telling;
	struct event *event;
	bool told = cons->credit.draining && cons->drain_told == cons->credit.drain;

	hand_telling(cons->sub);
	if (cons->sub->telling > before)
		judge_lead(cons);
	event = play_up(cons, home_credit);
	event->a = told ? 0 : cons->credit.granted_messages;
	event->b = cons->credit.drain;
	event->c = cons->sub->telling;
	cons->drain_told = cons->credit.drain;
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
	for (size_t i = 0; i < cons->kept_count; ++i)
		note(cons, cons->kept[i], SETTLE_EXTEND);
	for (struct hand_item *item = cons->hand.first; item; item = item->next)
		if (item->number <= cons->sub->told)
			note(cons, CONTAINER_OF(item, struct delivered, item), SETTLE_EXTEND);
}

static void stuck(struct cons *cons)
{
	if (cons->pulls || m.now_ns < hand_stuck_ns(&cons->hand) || cons->credit.draining)
		return;
	cons->stuck = true;
	cons->stuck_begins = cons->hand.begins;
	credit_totals_drain(&cons->credit);
	cons->credit_due = true;
}

static void top_up(struct cons *cons)
{
	uint64_t oldest_ns = 0, held = atomic_load(&cons->hand.held);

	for (unsigned i = 0; i < cons->workers; ++i)
		if (cons->running[i] && (!oldest_ns || cons->began_ns[i] < oldest_ns))
			oldest_ns = cons->began_ns[i];
	if (cons->pulls) {
		if (cons->asked || held || cons->credit.draining)
			return;
		credit_totals_ask(&cons->credit, PULL, 1u << 20);
		cons->asked = cons->credit_due = true;
	} else if (!(atomic_load(&cons->hand.running) >= cons->workers &&
		     m.now_ns >= cons->hand.begun_ns + V_NS / 2)) {
		cons->credit_due |= credit_totals_top_up(
			&cons->credit, hand_window(&cons->hand, oldest_ns, m.now_ns), 1u << 20,
			held, held * 40);
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
	if (!cons->pulls && !cons->credit.draining)
		next_ns = MIN(next_ns, MAX(hand_stuck_ns(&cons->hand), m.now_ns + MS_NS));
	if (next_ns == UINT64_MAX || (cons->io_ns > m.now_ns && cons->io_ns <= next_ns))
		return;
	cons->io_ns = MAX(next_ns, m.now_ns + 1);
	event = play_later_at(cons->process, cons->io_ns - m.now_ns, io_time);
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
	cons_work(cons);
}

// ---- callbacks

static void note_begin(struct cons *cons, struct delivered *delivered)
{
	struct home *home = cons->home;
	struct message *message = &home->messages[delivered->message];
	int *last = &home->last[delivered->message % KEYS];

	sim_trace("%10.3f process %zu begins %u of group %zu, attempt %u%s", (double)m.now_ns / 1e9,
		  (size_t)(cons->process - m.processes), delivered->message,
		  (size_t)(home - m.homes), delivered->attempt,
		  delivered->item.suspect ? ", alone" : "");
	SIM_MUST(delivered->item.number <= delivered->item.sub->told);
	if (m.scenario == ORDER && !message->begun)
		SIM_MUST((int)delivered->message > *last);
	if (!message->begun)
		*last = MAX(*last, (int)delivered->message);
	message->begun = true;
}

// What becomes of a message when the work on it has ended.
static bool worked(struct cons *cons, struct delivered *delivered)
{
	if (cons->home->messages[delivered->message].kind == KILLS_LATE) {
		process_die(cons->process, cons->home, delivered);
		return false;
	}
	note(cons, delivered, SETTLE_ACK);
	return true;
}

// The application has kept the message, and settles it itself.
static void kept_over(struct event *event)
{
	struct cons *cons = event->cons;
	size_t at = 0;

	if (!worked(cons, event->delivered))
		return;
	while (cons->kept[at] != event->delivered)
		++at;
	cons->kept[at] = cons->kept[--cons->kept_count];
	io_soon(cons);
}

static void keep(struct cons *cons, struct delivered *delivered)
{
	struct event *event = play_later_at(
		cons->process, cons->home->messages[delivered->message].took_ns, kept_over);

	SIM_MUST(cons->kept_count < ARRAY_SIZE(cons->kept));
	cons->kept[cons->kept_count++] = delivered;
	event->cons = cons;
	event->delivered = delivered;
}

static void call_over(struct event *event)
{
	struct cons *cons = event->cons;
	unsigned slot = (unsigned)event->a;
	struct delivered *delivered = event->delivered;

	if (cons->running[slot] != delivered)
		return;
	if (m.scenario == KEEP)
		keep(cons, delivered);
	else if (!worked(cons, delivered))
		return;
	cons->running[slot] = NULL;
	cons->took_ns = MAX(m.now_ns - cons->began_ns[slot], 1);
	hand_end(&cons->hand, delivered->item.sub, delivered->item.number, false, cons->took_ns);
	if (cons->member)
		io_soon(cons);
	cons_work(cons);
}

static void died_at_start(struct event *event)
{
	process_die(event->process, event->home, event->delivered);
}

static void begin(struct cons *cons, struct delivered *delivered, unsigned slot)
{
	struct message *message = &cons->home->messages[delivered->message];
	struct event *event;

	note_begin(cons, delivered);
	cons->running[slot] = delivered;
	cons->began_ns[slot] = m.now_ns;
	event = play_later_at(cons->process,
			      message->kind == KILLS || m.scenario == KEEP ? 1 : message->took_ns,
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

	if (event->home->messages[event->delivered->message].kind != OK_KIND) {
		process_die(cons->process, cons->home, event->delivered);
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
	message = &cons->home->messages[delivered->message];
	note_begin(cons, delivered);
	event = play_later_at(cons->process, message->kind == KILLS ? 1 : message->took_ns,
			      batch_over);
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

static void cons_work(struct cons *cons)
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

void cons_came(struct event *event)
{
	struct cons *cons = event->cons;
	struct delivered *delivered = event->delivered;

	if (event->member != cons->member)
		return;
	delivered->item.sub = cons->sub;
	delivered->item.number = ++cons->sub->received;
	delivered->item.received_ns = m.now_ns;
	SIM_MUST(credit_totals_delivered(&cons->credit, 1, 40));
	if (atomic_fetch_add(&cons->hand.held, 1) == 0)
		cons->tick_ns = m.now_ns;
	hand_add(&cons->hand, &delivered->item);
	SIM_MUST(atomic_load(&cons->hand.held) <= cons->hand.window_max + PULL);
	io_soon(cons);
}

void cons_drained(struct event *event)
{
	struct cons *cons = event->cons;

	if (event->member != cons->member)
		return;
	SIM_MUST(credit_totals_drained(&cons->credit, event->a));
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
	cons->member = play_make(sizeof *cons->member);
	cons->member->home = cons->home;
	cons->member->cons = cons;
	SIM_MUST(m.member_count < ARRAY_SIZE(m.members));
	m.members[m.member_count++] = cons->member;
	cons->sub = play_make(sizeof *cons->sub);
	*cons->sub = (struct hand_sub){.tells = true, .alive = true, .visibility_ns = V_NS};
	cons->credit = (struct credit_totals){0};
	cons->settle_count = 0;
	cons->asked = cons->stuck = cons->credit_due = false;
	cons->drain_told = 0;
	play_up(cons, home_joins);
	io_soon(cons);
}

// The end of a subscription: nothing that came over it can be settled.
void cons_unsubscribe(struct cons *cons)
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
	play_later_at(cons->process, 1 + sim_below(50 * MS_NS), subscribe)->cons = cons;
}

void cons_closed(struct event *event)
{
	if (event->member == event->cons->member)
		cons_unsubscribe(event->cons);
}

// ---- processes

void process_start(struct process *process)
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
		cons->hand.window_max = m.scenario == AHEAD ? MESSAGES : 16;
		barrier_join(cons->hand.barrier, &cons->hand);
		play_later_at(process, 1, subscribe)->cons = cons;
	}
}

static void process_again(struct event *event)
{
	if (event->process->dead)
		process_start(event->process);
}

void process_cut(struct process *process, struct home *home, struct delivered *killer)
{
	for (unsigned g = 0; g < m.groups; ++g) {
		struct cons *cons = &process->cons[g];
		struct event *event;

		if (!cons->member)
			continue;
		event = play_up(cons, home_lost);
		event->home = home;
		event->delivered = killer;
	}
	++process->wire;
}

void process_die(struct process *process, struct home *home, struct delivered *killer)
{
	if (process->dead)
		return;
	sim_trace("%10.3f process %zu dies%s", (double)m.now_ns / 1e9,
		  (size_t)(process - m.processes), killer ? " of it" : "");
	if (killer)
		++home->messages[killer->message].deaths;
	process_cut(process, home, killer);
	process->dead = true;
	process->frozen_ns = 0;
	play_later(1 + sim_below(50 * MS_NS), process_again)->process = process;
}
