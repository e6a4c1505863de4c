// Membership: the real engine of each proxy, the scripts in C (membership_script.c), and a Redis
// whose requests and answers are late, lost, or executed after they were given up; that is flushed,
// goes, and comes back with older data; proxies that are stopped for seconds in the middle of
// anything, die, leave, come back with another life, and whose clocks run at rates of their own.
//
// Groups stand beside it, to see what rights are for: a proxy holds those that are its own under a
// settled version. Two must never be able to act for one group at a time; no answer shows an older
// membership, or another one of the same version; without faults every group soon has its owner.

#include "core/membership/membership.h"

#include "tests/sim/membership_script.h"
#include "tests/sim/sim.h"

#include <stdio.h>

enum { PROXIES = 4, GROUPS = 3, CALLS = 64, TICK_MS = 10, STEP_TICKS = 10 };

#define TICK_NS (TICK_MS * MS_NS)
#define LAG_NS  (450 * MS_NS) // from the check of rights to the write, at most

struct proxy {
	bool alive;
	uint64_t offset_ns, paused_until_ns, cut_until_ns;
	double drift;
	struct membership membership;
	bool holds[GROUPS];
	uint64_t acts_until_ns[GROUPS]; // by its clock; what it held when its rights ended
	uint64_t rights_until_ns, stop_at_ns, stop_version;
	bool witnessed_void;
};

struct call_slot {
	bool busy, executed, leave;
	size_t sender;
	uint64_t request_ns, answer_ns, deadline_ns;
	bool given_up;
	struct membership_request request;
	struct document document;
};

static struct {
	uint64_t now_ns, runs, lives, down_until_ns;
	struct membership_script redis, copy;
	struct proxy proxies[PROXIES];
	struct call_slot slots[CALLS];
	bool slow, copied;
} w;

// ---- proxies

static uint64_t clock_of(const struct proxy *proxy)
{
	return proxy->offset_ns + (uint64_t)((double)w.now_ns * (1 + proxy->drift));
}

static bool is_paused(const struct proxy *proxy)
{
	return w.now_ns < proxy->paused_until_ns;
}

static void life_text(char *ret)
{
	snprintf(ret, MEMBERSHIP_LIFE_SIZE, "%032llx", (unsigned long long)++w.lives);
}

static void proxy_start(struct proxy *proxy)
{
	char id[4] = {(char)('a' + (proxy - w.proxies)), '\0'}, life[MEMBERSHIP_LIFE_SIZE];

	*proxy = (struct proxy){.alive = true,
				.offset_ns = sim_below(1000000) * S_NS,
				.drift = ((double)sim_below(2001) - 1000) * 1e-6};
	life_text(life);
	membership_init(&proxy->membership, id, life, sim_one_in(2), clock_of(proxy));
}

static void calls_forget(size_t sender)
{
	for (size_t i = 0; i < CALLS; ++i)
		if (w.slots[i].busy && w.slots[i].sender == sender)
			w.slots[i].given_up = true;
}

static void proxy_die(struct proxy *proxy)
{
	calls_forget((size_t)(proxy - w.proxies));
	proxy->alive = false;
	memset(proxy->holds, 0, sizeof proxy->holds);
	memset(proxy->acts_until_ns, 0, sizeof proxy->acts_until_ns);
}

static uint64_t weight(const char *id, unsigned group)
{
	uint64_t z = ((uint64_t)(unsigned char)*id << 8 | group) * 0x9e3779b97f4a7c15ull;

	return (z ^ z >> 29) * 0xbf58476d1ce4e5b9ull;
}

static bool is_owner(const struct membership *membership, unsigned group)
{
	const char *best = NULL;

	for (size_t i = 0; i < membership->count; ++i)
		if (!best || weight(membership->peers[i].id, group) > weight(best, group))
			best = membership->peers[i].id;
	return best && strcmp(best, membership->id) == 0;
}

// Rights are over: what was checked before may still be written.
static void rights_lost(struct proxy *proxy)
{
	for (unsigned i = 0; i < GROUPS; ++i) {
		if (proxy->holds[i])
			proxy->acts_until_ns[i] = proxy->rights_until_ns + LAG_NS;
		proxy->holds[i] = false;
	}
}

static void stop_others_groups(struct proxy *proxy)
{
	for (unsigned i = 0; i < GROUPS; ++i) {
		if (is_owner(&proxy->membership, i))
			continue;
		proxy->holds[i] = false;
		proxy->acts_until_ns[i] = 0;
	}
}

// Stopping takes its time; then it is told.
static void stop_pass(struct proxy *proxy)
{
	struct membership *membership = &proxy->membership;

	if (membership->stop_since_ns && proxy->stop_version != membership->version) {
		proxy->stop_version = membership->version;
		proxy->stop_at_ns =
			clock_of(proxy) + (sim_one_in(40) ? 3 * S_NS : sim_below(200) * MS_NS);
	}
	if (!membership->stop_since_ns || clock_of(proxy) < proxy->stop_at_ns)
		return;
	stop_others_groups(proxy);
	membership_stopped(membership, proxy->stop_version);
}

static void groups_start(struct proxy *proxy)
{
	if (!proxy->membership.settled ||
	    !membership_has_rights(&proxy->membership, clock_of(proxy)))
		return;
	for (unsigned i = 0; i < GROUPS; ++i)
		proxy->holds[i] = proxy->holds[i] || is_owner(&proxy->membership, i);
}

// ---- Redis

static struct call_slot *slot_free(void)
{
	for (size_t i = 0; i < CALLS; ++i)
		if (!w.slots[i].busy)
			return &w.slots[i];
	return NULL;
}

static uint64_t delay_ns(void)
{
	if (w.slow && sim_one_in(3))
		return sim_below(3000) * MS_NS;
	return sim_below(20) * MS_NS;
}

static bool is_away(const struct proxy *proxy)
{
	return w.now_ns < w.down_until_ns || w.now_ns < proxy->cut_until_ns ||
	       (w.slow && sim_one_in(10));
}

static void call_send(struct proxy *proxy, bool leave)
{
	struct call_slot *slot = slot_free();
	char random[MEMBERSHIP_LIFE_SIZE];

	if (!slot) {
		membership_failed(&proxy->membership, clock_of(proxy));
		return;
	}
	*slot = (struct call_slot){.busy = true,
				   .leave = leave,
				   .given_up = leave,
				   .sender = (size_t)(proxy - w.proxies),
				   .request_ns = w.now_ns + delay_ns(),
				   .answer_ns = UINT64_MAX,
				   .deadline_ns = clock_of(proxy) + MEMBERSHIP_ANSWER_NS};
	life_text(random);
	membership_request(&proxy->membership, random, clock_of(proxy), &slot->request);
	if (is_away(proxy))
		slot->request_ns = sim_one_in(2) ? UINT64_MAX : w.now_ns + sim_below(9000) * MS_NS;
}

static void call_execute(struct call_slot *slot)
{
	slot->executed = true;
	if (slot->leave)
		membership_script_leave(&w.redis, slot->request.id, slot->request.life);
	else
		membership_script_renew(&w.redis, &slot->request, &slot->document);
	if (!is_away(&w.proxies[slot->sender]))
		slot->answer_ns = w.now_ns + delay_ns();
}

static void call_answer(struct call_slot *slot, struct proxy *proxy)
{
	uint64_t lost = proxy->membership.lost, version = proxy->membership.version;
	enum membership_outcome outcome = membership_answered(&proxy->membership, &slot->request,
							      &slot->document, clock_of(proxy));

	if (proxy->membership.lost != lost)
		rights_lost(proxy);
	proxy->rights_until_ns = MAX(proxy->rights_until_ns, proxy->membership.rights_until_ns);
	if (proxy->membership.version != version)
		sim_trace("%s sees version %llu, %zu proxies", proxy->membership.id,
			  (unsigned long long)proxy->membership.version, proxy->membership.count);
	SIM_EQUAL(outcome, MEMBERSHIP_OK);
	slot->busy = false;
}

static void call_pass(struct call_slot *slot)
{
	struct proxy *proxy = &w.proxies[slot->sender];

	if (!slot->executed && slot->request_ns <= w.now_ns) {
		if (w.now_ns < w.down_until_ns)
			slot->request_ns += S_NS;
		else
			call_execute(slot);
	}
	if (slot->given_up) {
		if (slot->executed || slot->request_ns == UINT64_MAX)
			slot->busy = false;
		return;
	}
	if (is_paused(proxy))
		return;
	// A process that was stopped finds the answer and the deadline at once, in any order.
	if (slot->answer_ns <= w.now_ns && (clock_of(proxy) < slot->deadline_ns || sim_one_in(2))) {
		call_answer(slot, proxy);
	} else if (slot->deadline_ns <= clock_of(proxy)) {
		slot->given_up = true;
		membership_failed(&proxy->membership, clock_of(proxy));
	}
}

static void proxy_pass(struct proxy *proxy)
{
	if (!proxy->alive || is_paused(proxy))
		return;
	if (membership_tick(&proxy->membership, clock_of(proxy)))
		rights_lost(proxy);
	stop_pass(proxy);
	groups_start(proxy);
	if (clock_of(proxy) >= membership_next_ns(&proxy->membership))
		call_send(proxy, false);
}

// ---- what must hold

static bool can_act(const struct proxy *proxy, unsigned group)
{
	uint64_t now_ns = clock_of(proxy);

	if (!proxy->alive)
		return false;
	if (proxy->holds[group])
		return now_ns < proxy->rights_until_ns + LAG_NS;
	return now_ns < proxy->acts_until_ns[group];
}

static void check(void)
{
	for (unsigned i = 0; i < GROUPS; ++i) {
		unsigned actors = 0;

		for (size_t k = 0; k < PROXIES; ++k)
			actors += can_act(&w.proxies[k], i);
		SIM_MUST(actors <= 1);
	}
}

static void tick(void)
{
	size_t first = sim_below(PROXIES);

	w.now_ns += TICK_NS;
	for (size_t i = 0; i < CALLS; ++i)
		if (w.slots[i].busy)
			call_pass(&w.slots[i]);
	for (size_t i = 0; i < PROXIES; ++i)
		proxy_pass(&w.proxies[(first + i) % PROXIES]);
	check();
}

// ---- events

static void event_redis(void)
{
	switch (sim_below(6)) {
	case 0:
		w.redis.there = false;
		w.redis.count = 0;
		sim_trace("flushed");
		break;
	case 1:
		w.copy = w.redis;
		w.copied = true;
		sim_trace("copied");
		break;
	case 2:
		if (!w.copied)
			break;
		w.redis = w.copy;
		w.redis.run = ++w.runs;
		sim_trace("failed over to the copy");
		break;
	case 3:
		w.redis.run = ++w.runs;
		sim_trace("restarted with its data");
		break;
	case 4:
		w.slow = !w.slow;
		sim_trace("%s", w.slow ? "slow" : "quick");
		break;
	default:
		w.down_until_ns = w.now_ns + sim_below(6000) * MS_NS;
		sim_trace("gone for a while");
	}
}

static void proxy_leave(struct proxy *proxy)
{
	sim_trace("%s leaves", proxy->membership.id);
	memset(proxy->holds, 0, sizeof proxy->holds);
	memset(proxy->acts_until_ns, 0, sizeof proxy->acts_until_ns);
	membership_leave(&proxy->membership);
	call_send(proxy, true);
	proxy_die(proxy);
}

static void event_proxy(void)
{
	struct proxy *proxy = &w.proxies[sim_below(PROXIES)];

	if (!proxy->alive) {
		proxy_start(proxy);
		sim_trace("%s starts", proxy->membership.id);
		return;
	}
	switch (sim_below(5)) {
	case 0:
		sim_trace("%s dies", proxy->membership.id);
		proxy_die(proxy);
		break;
	case 1:
		if (proxy->membership.state == MEMBERSHIP_IN && !is_paused(proxy))
			proxy_leave(proxy);
		break;
	case 2:
		proxy->cut_until_ns = w.now_ns + sim_below(5000) * MS_NS;
		sim_trace("%s is cut off", proxy->membership.id);
		break;
	default:
		proxy->paused_until_ns = w.now_ns + sim_below(5000) * MS_NS;
		sim_trace("%s is stopped for %llu ms", proxy->membership.id,
			  (unsigned long long)((proxy->paused_until_ns - w.now_ns) / MS_NS));
	}
}

// ---- the schedule

static void start(void)
{
	memset(&w, 0, sizeof w);
	w.now_ns = S_NS;
	w.redis.run = ++w.runs;
	for (size_t i = 0; i < 2 + sim_below(PROXIES - 1); ++i)
		proxy_start(&w.proxies[i]);
}

static void step(void)
{
	if (sim_one_in(8)) {
		if (sim_one_in(3))
			event_redis();
		else
			event_proxy();
	}
	for (unsigned i = 0; i < STEP_TICKS; ++i)
		tick();
}

static size_t alive(void)
{
	size_t count = 0;

	for (size_t i = 0; i < PROXIES; ++i)
		count += w.proxies[i].alive;
	return count;
}

static void mend(void)
{
	w.slow = false;
	w.down_until_ns = 0;
	for (size_t i = 0; i < PROXIES; ++i)
		w.proxies[i].paused_until_ns = w.proxies[i].cut_until_ns = 0;
}

// Late requests are executed at last; then all agree, and each group has its owner.
static void finish(void)
{
	mend();
	if (alive() == 0)
		proxy_start(&w.proxies[0]);
	for (unsigned i = 0; i < 16000 / TICK_MS; ++i)
		tick();
	for (size_t i = 0; i < PROXIES; ++i) {
		const struct proxy *proxy = &w.proxies[i];

		if (!proxy->alive)
			continue;
		SIM_EQUAL(proxy->membership.state, MEMBERSHIP_IN);
		SIM_EQUAL(proxy->membership.count, alive());
		SIM_MUST(proxy->membership.settled);
		for (unsigned k = 0; k < GROUPS; ++k)
			SIM_EQUAL(proxy->holds[k], is_owner(&proxy->membership, k));
	}
}

const struct sim_engine sim_membership = {"membership", 400, start, step, finish};
