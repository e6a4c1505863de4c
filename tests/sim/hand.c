// What lies in a consumer's hand: processes with several consumers each, over the real dispatch
// engine, with the real hand, barrier and credit of the C library; crashes at the start and at the
// end of a callback, kills, lost connections, frozen processes, ends by the proxy, quota waits.
//
// The model is the source of each group (a log, or a queue, which may lose its channel), the wire
// (in order, late; what was written arrives though the writer dies) and what the I/O of a consumer
// does with its hand. It judges at the line between engine and source whose loss has raised an
// attempt, and at the client what begins, and when.

#include "tests/sim/hand.h"

// ---- faults

static void fault(void)
{
	struct process *process = &m.processes[sim_below(m.process_count)];
	uint64_t what = m.scenario == FROZEN ? 1 : m.scenario == ENDED ? 2 : sim_below(4);

	if (process->dead)
		return;
	sim_trace("%10.3f fault %llu of process %zu", (double)m.now_ns / 1e9,
		  (unsigned long long)what, (size_t)(process - m.processes));
	if (what == 0) {
		process_die(process, NULL, NULL);
	} else if (what == 1) {
		uint64_t until_ns = m.now_ns + (sim_one_in(2) ? S_NS : 70 * S_NS);

		process->frozen_ns = MAX(process->frozen_ns, until_ns);
	} else if (what == 2) {
		for (unsigned g = 0; g < m.groups; ++g) {
			struct member *member = process->cons[g].member;

			if (!member || !member->joined || member->ended)
				continue;
			++member->home->free_ends;
			home_leave(member, DISPATCH_ENDED, NULL);
			play_down(member, cons_closed);
		}
	} else {
		process_cut(process, NULL, NULL);
		for (unsigned g = 0; g < m.groups; ++g)
			cons_unsubscribe(&process->cons[g]);
	}
}

// ---- the schedule

static const uint64_t times_ns[] = {10000, 10000, MS_NS, 50 * MS_NS, 900 * MS_NS};

static uint64_t draw_time(void)
{
	static const uint64_t kept_ns[] = {MS_NS, 50 * MS_NS, 900 * MS_NS, 5 * S_NS},
			      ahead_ns[] = {1000, 3000, 10000, 40000, 300000};

	switch (m.scenario) {
	case LATE: return 50 * MS_NS + sim_below(850) * MS_NS;
	case LONG_LATE: return 1500 * MS_NS + sim_below(3000) * MS_NS;
	case KEEP: return kept_ns[sim_below(ARRAY_SIZE(kept_ns))];
	case AHEAD: return ahead_ns[sim_below(ARRAY_SIZE(ahead_ns))];
	default:
		return m.scenario == ORDER && sim_one_in(4)
			       ? 20 * S_NS
			       : times_ns[sim_below(ARRAY_SIZE(times_ns))];
	}
}

// Of one message: most take what is usual in the schedule.
static uint64_t draw_took(void)
{
	if (m.scenario == ORDER && sim_one_in(10))
		return 20 * S_NS;
	if (m.scenario == AHEAD)
		return sim_one_in(40) ? 20 * MS_NS : m.took_ns;
	return sim_one_in(5) ? times_ns[sim_below(ARRAY_SIZE(times_ns))] : m.took_ns;
}

static enum kind draw_kind(void)
{
	if (m.scenario == KEEP)
		return sim_one_in(2) ? KILLS : KILLS_LATE;
	return m.scenario == LATE || m.scenario == LONG_LATE ? KILLS_LATE : KILLS;
}

static void draw_home(struct home *home, unsigned poison)
{
	*home = (struct home){.count = 12 + (unsigned)sim_below(FEW - 12),
			      .policy = {.visibility_ns = V_NS,
					 .max_attempts = 1 + (unsigned)sim_below(4),
					 .retry_delay_ms = 100,
					 .retry_delay_max_ms = 1000,
					 .in_flight_max = 10000,
					 .dead_letter = true,
					 .marks_by_id = sim_one_in(2)},
			      .epoch = 1};
	home->queue = home->policy.marks_by_id;
	home->loses = home->queue && m.scenario != AHEAD && sim_one_in(2);
	if (m.scenario == AHEAD)
		home->count = MESSAGES / 2 + (unsigned)sim_below(MESSAGES / 2);
	for (unsigned k = 0; k < KEYS; ++k)
		home->last[k] = -1;
	for (unsigned i = 0; i < home->count; ++i) {
		home->messages[i].took_ns = draw_took();
		le32_put(home->messages[i].record + 8, 1 + i);
	}
	for (unsigned i = 0; i < poison; ++i)
		home->messages[sim_below(home->count)].kind = draw_kind();
	home->written = m.scenario == ORDER ? 1 + (unsigned)sim_below(home->count) : home->count;
	play_later(0, home_write_next)->home = home;
	SIM_EQUAL(dispatch_new(&home->policy, &home_ops, home, &home->dispatch), 0);
}

static void draw_process(struct process *process)
{
	static const unsigned workers[] = {1, 1, 2, 8};

	for (unsigned g = 0; g < m.groups; ++g) {
		struct cons *cons = &process->cons[g];

		cons->pulls = m.scenario == PULLED || (m.scenario == FAULTS && sim_one_in(3));
		cons->workers = cons->pulls ? 1 : workers[sim_below(4)];
	}
	process_start(process);
}

static void start(void)
{
	unsigned poison;

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
	m.took_ns = draw_time();
	poison = m.scenario == ORDER || m.scenario == FROZEN || m.scenario == ENDED
			 ? 0
			 : 1 + (unsigned)sim_below(3);
	for (unsigned g = 0; g < m.groups; ++g)
		draw_home(&m.homes[g], g && sim_one_in(2) ? 0 : poison);
	for (unsigned p = 0; p < m.process_count; ++p)
		draw_process(&m.processes[p]);
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
		play_run_next();
	if ((m.scenario == FROZEN || m.scenario == ENDED || m.scenario == FAULTS) && sim_one_in(6))
		fault();
	for (unsigned g = 0; g < m.groups; ++g)
		if (m.homes[g].loses && sim_one_in(8))
			home_loses_channel(&m.homes[g]);
}

static void judge(const struct home *home, const struct message *message)
{
	uint32_t slack = 1 + home->free_ends + home->losses + message->forgotten;

	SIM_MUST(message->place >= DONE);
	if (message->kind != OK_KIND) {
		SIM_MUST(message->place == DEAD);
		SIM_MUST(message->deaths <= home->policy.max_attempts + slack);
	} else if (m.scenario != FAULTS && m.scenario != FROZEN) {
		SIM_EQUAL(message->place,
			  DONE); // beside long callbacks a loss may count, never the last
		SIM_MUST(message->ended == 0 || m.scenario == LONG_LATE || m.scenario == KEEP);
	}
}

static void finish(void)
{
	unsigned rounds = 0;

	m.faults = false;
	while (m.event_count && !over()) {
		SIM_MUST(++rounds < 400000 && m.now_ns < 40 * HORIZON);
		play_run_next();
	}
	for (unsigned g = 0; g < m.groups; ++g)
		for (unsigned i = 0; i < m.homes[g].count; ++i)
			judge(&m.homes[g], &m.homes[g].messages[i]);
	for (unsigned i = 0; i < m.member_count; ++i)
		home_leave(m.members[i], DISPATCH_ENDED, NULL);
	for (unsigned g = 0; g < m.groups; ++g) {
		SIM_EQUAL(dispatch_suspects(m.homes[g].dispatch), 0); // all have ended
		dispatch_free(m.homes[g].dispatch);
	}
	while (m.garbage_count)
		free(m.garbage[--m.garbage_count]);
}

const struct sim_engine sim_hand = {"hand", 40, start, step, finish};
