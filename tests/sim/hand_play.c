// Time and the wire: events in the order of their time, those of a process only while it lives.

#include "tests/sim/hand.h"

struct hand_play m;

// Everything that a schedule makes goes at its end.
void *play_make(size_t size)
{
	SIM_MUST(m.garbage_count < ARRAY_SIZE(m.garbage));
	return m.garbage[m.garbage_count++] = calloc(1, size);
}

struct event *play_later(uint64_t ns, void (*fn)(struct event *event))
{
	struct event *event = &m.events[m.event_count++];

	SIM_MUST(m.event_count < EVENTS);
	*event = (struct event){.at_ns = m.now_ns + ns, .seq = ++m.seq, .fn = fn};
	return event;
}

struct event *play_later_at(struct process *process, uint64_t ns, void (*fn)(struct event *))
{
	struct event *event = play_later(ns, fn);

	event->process = process;
	event->life = process->life;
	event->wire = process->wire;
	event->at_client = true;
	return event;
}

// In order, and late; what goes up arrives though its sender has died.
struct event *play_up(struct cons *cons, void (*fn)(struct event *event))
{
	struct process *process = cons->process;
	struct event *event = play_later(0, fn);
	uint64_t late_ns = sim_below(m.rtt_ns);

	process->up_ns = MAX(process->up_ns, m.now_ns + late_ns) + 1;
	event->at_ns = process->up_ns;
	event->member = cons->member;
	event->cons = cons;
	return event;
}

struct event *play_down(struct member *member, void (*fn)(struct event *event))
{
	struct process *process = member->cons->process;
	struct event *event = play_later_at(process, 0, fn);
	uint64_t late_ns = sim_below(m.rtt_ns);

	process->down_ns = MAX(process->down_ns, m.now_ns + late_ns) + 1;
	event->at_ns = process->down_ns;
	event->member = member;
	event->cons = member->cons;
	return event;
}

void play_run_next(void)
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
