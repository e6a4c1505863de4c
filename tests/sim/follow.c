// A portal and proxies that follow it, and each other while it is away: links that are cut, slow or
// busy, processes that die, registries that are restored, changes that a catalog refuses.
//
// The catalogs and the bytes of the changes are real. After every step each catalog is what some
// registry was at that position, no proxy goes back, or to another life of the registry unless the
// portal says so, and no configuration counts as younger than it is. At the end, without faults,
// all hold what the portal holds, or, without it, the best that any of their life holds; and what
// is at hand as deltas is not sent as a full copy.

#include "core/control/feed.h"
#include "core/control/follower.h"
#include "tests/sim/follow_log.h"
#include "tests/sim/sim.h"

#include <errno.h>

enum { PORTAL = 0, NODES = 4, MESSAGES = 6, SLICE = 48, ROUNDS = 400 };

enum kind { FOLLOW, STOP, SLICES, CURRENT };

struct message {
	enum kind kind;
	uint32_t turn;
	bool full;
	struct link_position position;
	uint64_t age_ns, sent_ns;
	uint64_t total, offset;
	size_t size;
	uint8_t data[SLICE];
};

struct queue {
	struct message messages[MESSAGES];
	size_t count;
};

// Of a server and a proxy that may follow it.
struct pipe {
	bool up;
	struct feed feed;
	struct link_position expects; // what the proxy holds once it has taken all that was sent
	bool full;                    // and what it asked for
	struct queue to_server, to_member;
};

struct node {
	bool up;
	struct history history;
	struct catalog *catalog; // of a proxy; outlives its process, as on disk
	struct follower follower;
	struct link_position before; // what it held at the end of the last step
};

static struct {
	uint64_t now_ns;
	struct node nodes[NODES];
	struct pipe pipes[NODES][NODES]; // [server][proxy]
	struct link_position published;  // what the portal's own catalog holds
	bool faults, portal_at_end;
	bool by_portal[NODES]; // the step's change of this proxy came from the portal
	unsigned deltas_most;
} m;

static struct link_position holds(unsigned node)
{
	struct catalog *catalog = m.nodes[node].catalog;

	if (node == PORTAL)
		return m.published;
	return (struct link_position){catalog_source(catalog), catalog_revision(catalog)};
}

// Since the portal last held it as its newest.
static uint64_t age_of(unsigned node)
{
	uint64_t until_ns = follow_log_find(m.published)->until_ns, confirmed_ns;

	if (node == PORTAL)
		return until_ns == UINT64_MAX ? 0 : m.now_ns - until_ns;
	confirmed_ns = m.nodes[node].follower.confirmed_ns;
	return confirmed_ns ? m.now_ns - confirmed_ns : UINT64_MAX;
}

// ---- links

static void pipe_cut(unsigned server, unsigned proxy)
{
	struct pipe *pipe = &m.pipes[server][proxy];

	if (!pipe->up)
		return;
	feed_deinit(&pipe->feed);
	*pipe = (struct pipe){0};
	follower_down(&m.nodes[proxy].follower, server);
	sim_trace("%u no longer hears %u", proxy, server);
}

static void pipe_make(unsigned server, unsigned proxy)
{
	struct pipe *pipe = &m.pipes[server][proxy];

	if (pipe->up || server == proxy || proxy == PORTAL || !m.nodes[server].up ||
	    !m.nodes[proxy].up)
		return;
	pipe->up = true;
	feed_init(&pipe->feed);
	follower_up(&m.nodes[proxy].follower, server, server == PORTAL);
	sim_trace("%u hears %u", proxy, server);
}

static void node_end(unsigned i)
{
	struct node *node = &m.nodes[i];

	if (!node->up)
		return;
	for (unsigned other = 0; other < NODES; ++other) {
		pipe_cut(i, other);
		pipe_cut(other, i);
	}
	history_deinit(&node->history);
	if (i != PORTAL)
		follower_deinit(&node->follower);
	node->up = false;
	sim_trace("%u ends", i);
}

static void node_begin(unsigned i)
{
	struct node *node = &m.nodes[i];

	if (node->up)
		return;
	SIM_EQUAL(history_init(&node->history, m.deltas_most, 2000), 0);
	history_start(&node->history, holds(i));
	if (i != PORTAL)
		follower_init(&node->follower, holds(i));
	node->up = true;
	sim_trace("%u begins", i);
}

static void send(struct queue *queue, const struct message *message)
{
	SIM_MUST(queue->count < MESSAGES);
	queue->messages[queue->count] = *message;
	queue->messages[queue->count++].sent_ns = m.now_ns;
}

// ---- the side that is followed

static void give_full(unsigned server)
{
	struct history *history = &m.nodes[server].history;
	struct catalog_change *full = follow_log_make((struct link_position){0}, history->newest);

	sim_trace("%u makes a full copy of %llu", server,
		  (unsigned long long)history->newest.revision);
	SIM_EQUAL(history_give_full(history, full->data, full->size), 0);
	free(full);
}

static bool delta_at_hand(const struct history *history, struct link_position position)
{
	struct history_change *delta = history_delta(history, position);

	history_change_unref(delta);
	return delta;
}

static void send_slice(unsigned server, struct pipe *pipe, const struct feed_slice *slice)
{
	struct message message = {.kind = SLICES,
				  .turn = slice->turn,
				  .total = slice->total,
				  .offset = slice->offset,
				  .size = slice->size};

	if (slice->offset == 0 && pipe->feed.sending->full && !pipe->full)
		SIM_MUST(!delta_at_hand(&m.nodes[server].history, pipe->expects));
	if (slice->offset + slice->size == slice->total) {
		pipe->expects = pipe->feed.sending->to;
		pipe->full = false;
	}
	memcpy(message.data, slice->data, slice->size);
	send(&pipe->to_member, &message);
}

static void send_current(unsigned server, struct pipe *pipe)
{
	struct message message = {.kind = CURRENT,
				  .turn = pipe->feed.turn,
				  .position = m.nodes[server].history.newest,
				  .age_ns = age_of(server)};

	send(&pipe->to_member, &message);
}

static void pump(unsigned server, unsigned proxy)
{
	struct pipe *pipe = &m.pipes[server][proxy];
	struct history *history = &m.nodes[server].history;

	while (pipe->up && pipe->to_member.count < MESSAGES) {
		struct feed_slice slice;

		switch (feed_next(&pipe->feed, history, m.now_ns, SLICE, &slice)) {
		case FEED_IDLE: history_rest(history); return;
		case FEED_SLICE: send_slice(server, pipe, &slice); break;
		case FEED_CURRENT: send_current(server, pipe); break;
		case FEED_FULL:
			if (m.faults && sim_one_in(3))
				return; // no memory now
			give_full(server);
		}
	}
}

static void publish(void)
{
	struct link_position newest = follow_log_newest()->position;
	bool same = newest.source == m.published.source && m.published.revision;
	struct catalog_change *change;

	if (!m.nodes[PORTAL].up || link_position_same(newest, m.published))
		return;
	change = follow_log_make(same ? m.published : (struct link_position){0}, newest);
	SIM_EQUAL(history_add(&m.nodes[PORTAL].history, change->data, change->size), 0);
	m.published = newest;
	free(change);
}

// ---- the side that follows

static void apply(unsigned proxy, unsigned server)
{
	struct node *node = &m.nodes[proxy];
	struct catalog_change *change = malloc(sizeof *change + node->follower.got);
	int r;

	SIM_MUST(change);
	change->size = node->follower.got;
	memcpy(change->data, node->follower.data, change->size);
	r = m.faults && sim_one_in(12) ? -ENOMEM : catalog_apply(node->catalog, change);
	sim_trace("%u takes a change: %d", proxy, r);
	if (r == 0) {
		m.by_portal[proxy] = m.by_portal[proxy] || server == PORTAL;
		follower_applied(&node->follower);
		SIM_EQUAL(history_add(&node->history, change->data, change->size), 0);
	} else {
		SIM_EQUAL(r, -ENOMEM); // what the engine lets through continues the catalog
		if (follower_refused(&node->follower))
			pipe_cut(server, proxy);
	}
	free(change);
}

static void judge_change(unsigned proxy, unsigned server)
{
	struct follower *follower = &m.nodes[proxy].follower;
	struct change_head head;

	SIM_EQUAL(change_head_read(follower->data, follower->got, &head), 0);
	switch (follower_judge(follower)) {
	case FOLLOWER_APPLY: apply(proxy, server); break;
	case FOLLOWER_PASS: SIM_MUST(head.source != follower->holds.source); break;
	case FOLLOWER_GAP: SIM_MUST(!head.full); break;
	}
}

static void on_slice(unsigned proxy, unsigned server, const struct message *message)
{
	struct follower *follower = &m.nodes[proxy].follower;
	const struct follower_slice slice = {.turn = message->turn,
					     .total = message->total,
					     .offset = message->offset,
					     .data = message->data,
					     .size = message->size};
	int r = follower_slice(follower, server, &slice);

	SIM_MUST(r == 0 || r == FOLLOWER_CHANGE);
	if (r == FOLLOWER_CHANGE)
		judge_change(proxy, server);
}

// Time on the way counts as age here, so that the judge can be exact.
static void on_current(unsigned proxy, unsigned server, const struct message *message)
{
	uint64_t way_ns = m.now_ns - message->sent_ns;
	const struct follower_offer offer = {.turn = message->turn,
					     .position = message->position,
					     .age_ns = message->age_ns > UINT64_MAX - way_ns
							       ? UINT64_MAX
							       : message->age_ns + way_ns};

	follower_offered(&m.nodes[proxy].follower, server, &offer, m.now_ns);
}

static void ask(unsigned proxy)
{
	struct follower_request request;

	while (m.nodes[proxy].up && follower_next(&m.nodes[proxy].follower, &request)) {
		struct pipe *pipe = &m.pipes[request.link][proxy];
		struct message message = {.kind = request.stop ? STOP : FOLLOW,
					  .turn = request.turn,
					  .full = request.full,
					  .position = request.position};

		SIM_MUST(pipe->up);
		if (pipe->to_server.count == MESSAGES) {
			pipe_cut(request.link, proxy);
			continue;
		}
		send(&pipe->to_server, &message);
	}
}

// ---- messages arrive

static bool take(struct queue *queue, struct message *ret)
{
	if (!queue->count)
		return false;
	*ret = queue->messages[0];
	memmove(queue->messages, queue->messages + 1, --queue->count * sizeof *ret);
	return true;
}

static bool deliver_to_server(unsigned server, unsigned proxy)
{
	struct pipe *pipe = &m.pipes[server][proxy];
	struct message message;

	if (!take(&pipe->to_server, &message))
		return false;
	sim_trace("%u is asked by %u: %s from %llu/%llu", server, proxy,
		  message.kind == STOP ? "stop" : "follow",
		  (unsigned long long)message.position.source,
		  (unsigned long long)message.position.revision);
	pipe->expects = message.position;
	pipe->full = message.full;
	if (message.kind == FOLLOW)
		feed_follow(&pipe->feed, message.turn, message.position, message.full);
	else
		feed_stop(&pipe->feed, message.turn);
	pump(server, proxy);
	return true;
}

static bool deliver_to_member(unsigned server, unsigned proxy)
{
	struct message message;

	if (!take(&m.pipes[server][proxy].to_member, &message))
		return false;
	if (message.kind == SLICES)
		on_slice(proxy, server, &message);
	else
		on_current(proxy, server, &message);
	ask(proxy);
	pump(server, proxy);
	return true;
}

static void deliver(unsigned server, unsigned proxy, uint64_t most)
{
	while (most--) {
		deliver_to_server(server, proxy);
		deliver_to_member(server, proxy);
	}
}

// ---- what must hold

static void judge_member(unsigned i)
{
	struct node *node = &m.nodes[i];
	struct link_position now = holds(i);
	const struct follow_entry *entry;

	follow_log_compare(node->catalog);
	if (!m.by_portal[i] && node->before.revision)
		SIM_EQUAL(now.source, node->before.source);
	if (now.source == node->before.source)
		SIM_MUST(now.revision >= node->before.revision);
	node->before = now;
	m.by_portal[i] = false;
	if (!node->up)
		return;
	SIM_MUST(link_position_same(now, node->follower.holds));
	SIM_MUST(link_position_same(now, node->history.newest));
	entry = follow_log_find(now);
	if (entry && node->follower.confirmed_ns)
		SIM_MUST(node->follower.confirmed_ns <= MIN(entry->until_ns, m.now_ns));
}

static void judge(void)
{
	for (unsigned i = 1; i < NODES; ++i)
		judge_member(i);
}

// ---- schedules

static void start(void)
{
	memset(&m, 0, sizeof m);
	m.now_ns = 1 * S_NS;
	m.faults = true;
	m.portal_at_end = !sim_one_in(3);
	m.deltas_most = sim_one_in(2) ? 3 : 40;
	follow_log_start(m.now_ns);
	m.published = follow_log_newest()->position;
	for (unsigned i = 0; i < NODES; ++i) {
		if (i != PORTAL)
			SIM_EQUAL(catalog_new(NULL, NULL, &m.nodes[i].catalog), 0);
		node_begin(i);
	}
}

static void change_registry(void)
{
	if (!m.nodes[PORTAL].up)
		return;
	for (uint64_t n = 1 + sim_below(3); n > 0; --n)
		follow_log_change(m.now_ns);
	sim_trace("the registry is at %llu",
		  (unsigned long long)follow_log_newest()->position.revision);
	if (!sim_one_in(5))
		publish();
}

static void end_or_begin(unsigned node)
{
	if (m.nodes[node].up) {
		node_end(node);
		return;
	}
	if (node == PORTAL && sim_one_in(3)) {
		follow_log_restore(m.now_ns);
		m.published = follow_log_newest()->position;
		sim_trace("the registry is restored: %llu/%llu",
			  (unsigned long long)m.published.source,
			  (unsigned long long)m.published.revision);
	}
	node_begin(node);
}

// As if changes had never been sent: a fault of the other side that must not stay unseen.
static void lose_changes(unsigned server, unsigned proxy)
{
	struct pipe *pipe = &m.pipes[server][proxy];
	struct history_change *change;

	if (!pipe->up || pipe->feed.sending || !pipe->feed.on)
		return;
	change = history_delta(&m.nodes[server].history, pipe->feed.at);
	if (!change)
		return;
	sim_trace("%u loses a change for %u", server, proxy);
	pipe->feed.at = pipe->expects = change->to;
	history_change_unref(change);
}

static void pump_all(void)
{
	for (unsigned server = 0; server < NODES; ++server)
		for (unsigned proxy = 1; proxy < NODES; ++proxy)
			pump(server, proxy);
}

static void step(void)
{
	unsigned server = (unsigned)sim_below(NODES), proxy = 1 + (unsigned)sim_below(NODES - 1);

	m.now_ns += sim_below(300) * MS_NS;
	switch (sim_below(12)) {
	case 0:
	case 1: change_registry(); break;
	case 2:
		if (sim_one_in(3))
			end_or_begin((unsigned)sim_below(NODES));
		break;
	case 3: pipe_make(server, proxy); break;
	case 4: pipe_make(PORTAL, proxy); break;
	case 5:
		if (sim_one_in(2))
			pipe_cut(server, proxy);
		break;
	case 6: publish(); break;
	case 7:
		change_registry();
		lose_changes(server, proxy);
		break;
	default: deliver(server, proxy, 1 + sim_below(8));
	}
	for (unsigned i = 1; i < NODES; ++i)
		ask(i);
	pump_all();
	judge();
}

static void settle_round(void)
{
	m.now_ns += 100 * MS_NS;
	publish();
	for (unsigned server = 0; server < NODES; ++server)
		for (unsigned proxy = 1; proxy < NODES; ++proxy)
			pipe_make(server, proxy);
	for (unsigned i = 1; i < NODES; ++i)
		ask(i);
	pump_all();
	for (unsigned server = 0; server < NODES; ++server)
		for (unsigned proxy = 1; proxy < NODES; ++proxy)
			deliver(server, proxy, MESSAGES);
	judge();
}

static void judge_end_with_portal(void)
{
	for (unsigned i = 1; i < NODES; ++i) {
		SIM_MUST(link_position_same(holds(i), follow_log_newest()->position));
		SIM_EQUAL(m.nodes[i].follower.from, PORTAL);
		SIM_MUST(age_of(i) <= 3 * S_NS);
	}
}

static void judge_end_without_portal(void)
{
	for (unsigned i = 1; i < NODES; ++i)
		for (unsigned other = 1; other < NODES; ++other) {
			struct link_position own = holds(i), theirs = holds(other);

			SIM_MUST(own.revision || !theirs.revision);
			if (own.source == theirs.source)
				SIM_EQUAL(own.revision, theirs.revision);
		}
}

static void finish(void)
{
	m.faults = false;
	for (unsigned i = 1; i < NODES; ++i)
		node_begin(i);
	if (m.portal_at_end)
		node_begin(PORTAL);
	else
		node_end(PORTAL);
	for (unsigned round = 0; round < ROUNDS / 4; ++round)
		settle_round();
	if (m.portal_at_end)
		judge_end_with_portal();
	else
		judge_end_without_portal();
	for (unsigned i = 0; i < NODES; ++i) {
		node_end(i);
		catalog_free(m.nodes[i].catalog);
	}
}

const struct sim_engine sim_follow = {"follow", 200, start, step, finish};
