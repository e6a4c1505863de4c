// Turns: tenants with connections that have work, more coming while they are served, connections
// that go away in the middle of a round.
//
// The model keeps each tenant's connections in the order in which they must be served, and what a
// round may give: every tenant that had work when it began is served exactly once, in turn, for at
// most a quantum (the last piece may go beyond it, and each piece costs one at least).

#include "proxy/engine/fair.h"

#include "tests/sim/sim.h"

enum { TENANTS = 5, CONNS = 12 };

struct conn {
	struct fair_item item;
	uint64_t work;
	unsigned tenant;
};

static struct {
	struct fair fair;
	struct fair_queue queues[TENANTS];
	struct conn conns[CONNS];
	struct conn *waiting[TENANTS][CONNS]; // in the order of their turns
	size_t waiting_count[TENANTS];
	unsigned turns[TENANTS]; // tenants with work, in the order of their turns
	size_t turn_count;
	// Of the round.
	bool expected[TENANTS], served[TENANTS];
	unsigned current; // TENANTS: none yet
	size_t quantum, most, done;
} m;

static struct conn *conn_of(struct fair_item *item)
{
	return CONTAINER_OF(item, struct conn, item);
}

static bool is_waiting(const struct conn *conn)
{
	for (size_t i = 0; i < m.waiting_count[conn->tenant]; ++i)
		if (m.waiting[conn->tenant][i] == conn)
			return true;
	return false;
}

static void model_remove(struct conn *conn)
{
	struct conn **waiting = m.waiting[conn->tenant];
	size_t *count = &m.waiting_count[conn->tenant], at = 0;

	while (at < *count && waiting[at] != conn)
		++at;
	if (at == *count)
		return;
	memmove(waiting + at, waiting + at + 1, (--*count - at) * sizeof *waiting);
	if (*count == 0)
		m.expected[conn->tenant] = false; // if it gets new work, that is the next round's
}

static void add(struct conn *conn)
{
	fair_add(&m.fair, &m.queues[conn->tenant], &conn->item);
	if (!is_waiting(conn))
		m.waiting[conn->tenant][m.waiting_count[conn->tenant]++] = conn;
}

static void remove_conn(struct conn *conn)
{
	sim_trace("connection %zu goes", (size_t)(conn - m.conns));
	conn->work = 0;
	fair_remove(&m.queues[conn->tenant], &conn->item);
	model_remove(conn);
}

// Something happens while a connection is served: another one gets work, or goes.
static void disturb(const struct conn *served)
{
	struct conn *other = &m.conns[sim_below(CONNS)];

	if (other == served)
		return;
	if (sim_one_in(2)) {
		other->work += 1 + sim_below(300);
		add(other);
	} else {
		remove_conn(other);
	}
}

static void turn_begins(unsigned tenant)
{
	SIM_MUST(!m.served[tenant]); // once a round
	m.served[tenant] = true;
	m.current = tenant;
	m.done = 0;
}

static size_t work(struct fair_item *item, size_t most, bool *ret_again)
{
	struct conn *conn = conn_of(item);
	size_t done = (size_t)MIN(conn->work, most);

	if (m.current != conn->tenant)
		turn_begins(conn->tenant);
	SIM_MUST(m.waiting_count[conn->tenant] > 0 && m.waiting[conn->tenant][0] == conn);
	SIM_MUST(m.done < m.quantum && most <= m.most && most <= m.quantum - m.done);
	if (conn->work > done && sim_one_in(4))
		done += sim_below(20); // it ends with a whole frame
	done = (size_t)MIN(conn->work, done);
	conn->work -= done;
	m.done += done + 1;
	sim_trace("tenant %u: connection %zu does %zu of %zu", conn->tenant,
		  (size_t)(conn - m.conns), done, most);
	model_remove(conn);
	if (sim_one_in(6))
		disturb(conn);
	*ret_again = conn->work > 0;
	if (*ret_again)
		m.waiting[conn->tenant][m.waiting_count[conn->tenant]++] = conn;
	return done;
}

static void round_run(void)
{
	bool any = false, again;

	m.quantum = 1 + sim_below(500);
	m.most = 20 + sim_below(200);
	m.current = TENANTS;
	for (unsigned t = 0; t < TENANTS; ++t) {
		m.expected[t] = m.waiting_count[t] > 0;
		m.served[t] = false;
	}
	sim_trace("round of %zu, pieces of %zu", m.quantum, m.most);
	again = fair_round(&m.fair, m.quantum, m.most, work);
	for (unsigned t = 0; t < TENANTS; ++t) {
		SIM_MUST(!m.expected[t] || m.served[t]);
		any = any || m.waiting_count[t];
	}
	SIM_EQUAL(again, any);
}

static void start(void)
{
	memset(&m, 0, sizeof m);
	fair_init(&m.fair);
	for (unsigned t = 0; t < TENANTS; ++t)
		fair_queue_init(&m.queues[t]);
	for (size_t i = 0; i < CONNS; ++i) {
		fair_item_init(&m.conns[i].item);
		m.conns[i].tenant = (unsigned)sim_below(sim_one_in(2) ? TENANTS : 2);
	}
}

static void step(void)
{
	struct conn *conn = &m.conns[sim_below(CONNS)];

	switch (sim_below(4)) {
	case 0:
	case 1:
		conn->work += 1 + sim_below(sim_one_in(3) ? 2000 : 100);
		sim_trace("connection %zu of tenant %u has %llu", (size_t)(conn - m.conns),
			  conn->tenant, (unsigned long long)conn->work);
		add(conn);
		break;
	case 2:
		if (sim_one_in(4))
			remove_conn(conn);
		break;
	default: round_run();
	}
}

static void finish(void)
{
	for (unsigned round = 0; round < 100000 && !list_empty(&m.fair.active); ++round)
		round_run();
	for (size_t i = 0; i < CONNS; ++i) {
		SIM_EQUAL(m.conns[i].work, 0);
		SIM_MUST(list_empty(&m.conns[i].item.waiting));
	}
}

const struct sim_engine sim_fair = {"fair", 150, start, step, finish};
