// Limits over several proxies: the real engine of each, the script in C (share_script.c), and a
// Redis whose requests and answers are late, lost, executed after they were given up, whose clock
// is set and whose keys go; load that is even, skewed, moves and comes in bursts; proxies that
// join, leave, die, are cut off and have clocks of their own.
//
// What must hold, see share_check.c, is said of what all of them admit together. Of a count: never
// more in use than the limit, but for what proxies without Redis take by themselves.

#include "quota/share.h"

#include "tests/sim/share_check.h"
#include "tests/sim/share_script.h"
#include "tests/sim/sim.h"

#include <stdio.h>

enum { PROXIES = 5, CALLS = 64, TICK_MS = 10, STEP_TICKS = 20 };

#define TICK_NS     (TICK_MS * MS_NS)
#define DEADLINE_NS (300 * MS_NS)
#define RATE_ID     1u
#define COUNT_ID    2u

struct proxy {
	bool alive, cut;
	char name;
	uint64_t life, offset_ns, phase;
	double drift;
	struct share share;
	struct share_bucket rate, count;
	struct gcra gcra;
	uint64_t used, allowance;
	double load, waits, arriving; // parts of the limit; units that wait; part of a unit
};

// One that is on its way: to Redis, or back.
struct call_slot {
	bool busy, executed;
	struct proxy *proxy; // NULL: has been given up
	size_t sender;
	uint64_t life, proxies, request_ns, answer_ns, deadline_ns;
	struct share_call call;
	uint64_t granted[SHARE_ROWS_MAX];
};

static struct {
	uint64_t now_ns;
	struct share_script script;
	struct proxy proxies[PROXIES];
	struct call_slot slots[CALLS];
	struct share_check check;
	uint64_t limit, count_limit, proxy_count;
	int64_t wall_us;
	bool counts_rest, down, slow, rejects, calm_schedule, fault, moved;
	uint64_t fault_until_ns, lives, ticks, stop_until_ns;
	uint64_t over_until_ns; // until then counts may be above the limit
} w;

// ---- proxies

static uint64_t clock_of(const struct proxy *proxy)
{
	return proxy->offset_ns + (uint64_t)((double)w.now_ns * (1 + proxy->drift));
}

static void proxies_tell(void)
{
	w.proxy_count = 0;
	for (size_t i = 0; i < PROXIES; ++i)
		w.proxy_count += w.proxies[i].alive;
	for (size_t i = 0; i < PROXIES; ++i)
		if (w.proxies[i].alive)
			share_set_proxies(&w.proxies[i].share, w.proxy_count,
					  clock_of(&w.proxies[i]));
}

static void proxy_start(struct proxy *proxy)
{
	uint64_t now_ns;

	*proxy = (struct proxy){.alive = true,
				.name = (char)('a' + (proxy - w.proxies)),
				.life = ++w.lives,
				.offset_ns = sim_below(1000000) * S_NS,
				.phase = sim_below(2),
				.drift = ((double)sim_below(1001) - 500) * 1e-6};
	now_ns = clock_of(proxy);
	share_init(&proxy->share, MAX(w.proxy_count, 1));
	gcra_init(&proxy->gcra, w.limit);
	share_add_rate(&proxy->share, &proxy->rate, RATE_ID, &proxy->gcra, w.limit, now_ns);
	share_add_count(&proxy->share, &proxy->count, COUNT_ID, &proxy->used, &proxy->allowance,
			w.count_limit, now_ns);
	proxies_tell();
}

static void calls_forget(const struct proxy *proxy)
{
	for (size_t i = 0; i < CALLS; ++i)
		if (w.slots[i].busy && w.slots[i].proxy == proxy)
			w.slots[i].proxy = NULL;
}

static void proxy_stop(struct proxy *proxy)
{
	calls_forget(proxy);
	share_remove(&proxy->rate);
	share_remove(&proxy->count);
	share_deinit(&proxy->share);
	proxy->alive = false;
	proxy->used = 0;
	proxies_tell();
}

// ---- Redis

static uint64_t delay_ns(void)
{
	if (w.slow && sim_one_in(2))
		return sim_below(700) * MS_NS;
	return sim_below(5) * MS_NS;
}

static bool is_lost(const struct proxy *proxy)
{
	return w.down || proxy->cut || (w.slow && sim_one_in(10));
}

static void call_send(struct proxy *proxy, struct call_slot *slot)
{
	slot->busy = true;
	slot->executed = false;
	slot->proxy = proxy;
	slot->sender = (size_t)(proxy - w.proxies);
	slot->life = proxy->life;
	slot->proxies = proxy->share.proxies;
	slot->request_ns = is_lost(proxy) ? UINT64_MAX : w.now_ns + delay_ns();
	slot->answer_ns = UINT64_MAX;
	slot->deadline_ns = w.now_ns + DEADLINE_NS;
}

static void call_execute(struct call_slot *slot)
{
	const struct proxy *proxy = &w.proxies[slot->sender];

	slot->executed = true;
	share_script_run(&w.script, proxy->name, slot->life, slot->proxies, &slot->call,
			 (uint64_t)(w.wall_us + (int64_t)(w.now_ns / 1000)), slot->granted);
	if (!is_lost(proxy))
		slot->answer_ns = w.now_ns + delay_ns();
}

static void call_pass(struct call_slot *slot)
{
	struct proxy *proxy = slot->proxy;

	if (!slot->executed && slot->request_ns <= w.now_ns && !w.down)
		call_execute(slot);
	if (proxy && slot->answer_ns <= w.now_ns) {
		share_call_answered(&slot->call, slot->granted, clock_of(proxy));
		slot->busy = false;
	} else if (proxy && slot->deadline_ns <= w.now_ns) {
		share_call_failed(&slot->call, clock_of(proxy));
		slot->proxy = NULL;
	}
	if (!slot->proxy && (slot->executed || slot->request_ns == UINT64_MAX ||
			     w.now_ns > slot->deadline_ns + S_NS))
		slot->busy = false;
}

static void calls_pass(void)
{
	for (size_t i = 0; i < CALLS; ++i)
		if (w.slots[i].busy)
			call_pass(&w.slots[i]);
}

static struct call_slot *slot_free(void)
{
	for (size_t i = 0; i < CALLS; ++i)
		if (!w.slots[i].busy)
			return &w.slots[i];
	sim_fail(__FILE__, __LINE__, "too many calls are on their way");
}

static void proxy_tick(struct proxy *proxy)
{
	if ((w.ticks + proxy->phase) % 2)
		return;
	share_tick(&proxy->share, clock_of(proxy));
	for (;;) {
		struct call_slot *slot = slot_free();

		if (!share_call_next(&proxy->share, &slot->call, clock_of(proxy)))
			return;
		call_send(proxy, slot);
	}
}

// ---- load

static void proxy_load(struct proxy *proxy, uint64_t *admitted)
{
	double units = proxy->load * (double)w.limit * TICK_MS / 1000;
	uint64_t wanted, passed;

	if (w.now_ns < w.stop_until_ns)
		return;
	proxy->arriving += units;
	wanted = (uint64_t)(proxy->arriving + proxy->waits);
	proxy->arriving -= (double)(uint64_t)proxy->arriving;
	if (wanted == 0)
		return;
	passed = gcra_take(&proxy->gcra, wanted, clock_of(proxy));
	// Those that wait stay, as long as clients have windows.
	proxy->waits = w.rejects ? 0 : MIN((double)(wanted - passed), (double)w.limit / 5);
	if (passed > 1 && sim_one_in(50)) {
		gcra_give_back(&proxy->gcra, 1);
		--passed;
	}
	*admitted += passed;
}

static void counts_move(struct proxy *proxy)
{
	if (w.counts_rest)
		return;
	if (sim_one_in(20) && proxy->used > 0)
		--proxy->used;
	if (sim_one_in(8)) {
		if (proxy->used < proxy->allowance)
			++proxy->used;
		else
			share_count_refused(&proxy->count);
	}
}

static void counts_check(void)
{
	uint64_t used = 0, most = w.count_limit;

	for (size_t i = 0; i < PROXIES; ++i)
		used += w.proxies[i].alive ? w.proxies[i].used : 0;
	if (w.now_ns < w.over_until_ns)
		most += (w.count_limit + w.proxy_count - 1) / w.proxy_count * w.proxy_count;
	SIM_MUST(used <= most);
}

static double offered(void)
{
	double all = 0;

	for (size_t i = 0; i < PROXIES; ++i)
		all += w.proxies[i].alive ? w.proxies[i].load : 0;
	return w.now_ns < w.stop_until_ns ? 0 : all;
}

static uint64_t cuts(void)
{
	uint64_t count = 0;

	for (size_t i = 0; i < PROXIES; ++i)
		count += w.proxies[i].alive && w.proxies[i].cut;
	return count;
}

// ---- time

static double cut_now(void)
{
	return (double)cuts() / (double)w.proxy_count;
}

// What all have admitted since the last line, and what each holds, in parts of the limit.
static void second_trace(uint64_t admitted)
{
	char text[256];
	size_t at = 0;

	for (size_t i = 0; i < PROXIES; ++i) {
		const struct proxy *proxy = &w.proxies[i];

		if (proxy->alive)
			at += (size_t)snprintf(text + at, sizeof text - at, " %c %.3f%s",
					       proxy->name,
					       (double)proxy->gcra.pace / (double)proxy->rate.limit,
					       proxy->rate.mode == SHARE_LEASED  ? ""
					       : proxy->rate.mode == SHARE_ALONE ? "!"
										 : "?");
	}
	sim_trace("%.1f s: %.3f, level %.3f,%s; over 10 s %.4f", (double)w.now_ns / 1e9,
		  (double)admitted * 10 / (double)w.limit,
		  w.script.books[w.script.books[0].id != RATE_ID].level / 1024 / (double)w.limit,
		  text, (double)w.check.sum_short / (double)w.limit / 10);
}

static void tick(void)
{
	uint64_t admitted = 0;
	double lacking = 1 - offered();

	w.now_ns += TICK_NS;
	++w.ticks;
	calls_pass();
	for (size_t i = 0; i < PROXIES; ++i) {
		if (!w.proxies[i].alive)
			continue;
		proxy_load(&w.proxies[i], &admitted);
		counts_move(&w.proxies[i]);
		proxy_tick(&w.proxies[i]);
	}
	counts_check();
	share_check_add(&w.check, admitted, MAX(lacking, 0) * (double)w.limit * TICK_MS / 1000);
	if (w.ticks % (CHECK_SLOT_NS / TICK_NS))
		return;
	second_trace(w.check.admitted[w.check.slots % CHECK_SLOTS]);
	if (w.down || w.slow || cuts())
		w.fault = true;
	if (w.fault)
		w.over_until_ns = w.now_ns + 8 * S_NS;
	share_check_slot(&w.check, w.fault, w.moved, cut_now());
	w.fault = w.moved = false;
}

// ---- events

static struct proxy *any_alive(void)
{
	for (;;) {
		struct proxy *proxy = &w.proxies[sim_below(PROXIES)];

		if (proxy->alive)
			return proxy;
	}
}

static void load_draw(void)
{
	static const double factors[] = {0.5, 1.1, 1.5, 2, 4, 100};
	double factor = factors[sim_below(ARRAY_SIZE(factors))], all = 0;
	bool even = sim_one_in(3);

	for (size_t i = 0; i < PROXIES; ++i) {
		double part = even ? 1 : (double)sim_below(100) * (double)sim_below(100) / 1e4;

		w.proxies[i].load = w.proxies[i].alive ? part + 1e-6 : 0;
		all += w.proxies[i].load;
	}
	for (size_t i = 0; i < PROXIES; ++i) {
		w.proxies[i].load *= factor / all;
		if (w.proxies[i].alive)
			sim_trace("%c has a load of %.3f", w.proxies[i].name, w.proxies[i].load);
	}
	w.moved = true;
}

static void event_proxy(void)
{
	struct proxy *proxy = &w.proxies[sim_below(PROXIES)];

	if (!proxy->alive) {
		sim_trace("%c joins", 'a' + (int)(proxy - w.proxies));
		proxy_start(proxy);
	} else if (w.proxy_count > 2) {
		sim_trace("%c leaves or dies", proxy->name);
		proxy_stop(proxy);
	}
	load_draw();
}

static void event_redis(void)
{
	switch (sim_below(6)) {
	case 0:
		w.down = !w.down;
		sim_trace("Redis is %s", w.down ? "gone" : "back");
		if (w.down && sim_one_in(2))
			w.script = (struct share_script){0};
		break;
	case 1:
		w.script = (struct share_script){0};
		sim_trace("Redis is flushed");
		break;
	case 2:
		w.slow = !w.slow;
		sim_trace("Redis is %s", w.slow ? "slow" : "quick");
		break;
	case 3:
		w.wall_us += ((int64_t)sim_below(7200) - 3600) * 1000000;
		sim_trace("Redis's clock is set by hours");
		break;
	case 4:
		w.wall_us += (int64_t)sim_below(4000000) - 2000000;
		sim_trace("Redis's clock is set by seconds");
		break;
	default: {
		struct proxy *proxy = any_alive();

		proxy->cut = !proxy->cut;
		sim_trace("%c is %s Redis", proxy->name, proxy->cut ? "cut off from" : "back at");
	}
	}
	w.fault = true;
}

static void redis_mend(void)
{
	w.down = w.slow = false;
	for (size_t i = 0; i < PROXIES; ++i)
		w.proxies[i].cut = false;
}

// ---- the schedule

static void start(void)
{
	static const uint64_t limits[] = {10, 1000, 3000, 20000, 100000, 1000000};

	memset(&w, 0, sizeof w);
	w.now_ns = S_NS;
	w.wall_us = 1800000000000000;
	w.limit = limits[sim_below(ARRAY_SIZE(limits))];
	w.count_limit = 1 + sim_below(100);
	w.rejects = sim_one_in(2);
	w.calm_schedule = sim_one_in(2);
	for (size_t i = 0; i < (sim_one_in(3) ? PROXIES : 3); ++i)
		proxy_start(&w.proxies[i]);
	share_check_start(&w.check, w.limit, PROXIES);
	load_draw();
	sim_trace("limits: %llu a second, %llu", (unsigned long long)w.limit,
		  (unsigned long long)w.count_limit);
}

static void event(void)
{
	switch (sim_below(8)) {
	case 0:
	case 1: load_draw(); break;
	case 2:
		w.stop_until_ns = w.now_ns + sim_below(5000) * MS_NS;
		w.moved = true;
		break;
	case 3: event_proxy(); break;
	default:
		if (w.calm_schedule)
			break;
		if (sim_one_in(2))
			redis_mend();
		else
			event_redis();
	}
}

static void step(void)
{
	if (sim_one_in(w.calm_schedule ? 100 : 20))
		event();
	if (w.now_ns < w.stop_until_ns)
		w.moved = true;
	for (unsigned i = 0; i < STEP_TICKS; ++i)
		tick();
}

static void pass(uint64_t ms)
{
	for (uint64_t i = 0; i < ms / TICK_MS; ++i)
		tick();
}

static uint64_t admitted_in(uint64_t ms)
{
	uint64_t before = 0, after = 0;

	for (size_t i = 0; i < PROXIES; ++i)
		before += w.proxies[i].gcra.taken;
	pass(ms);
	for (size_t i = 0; i < PROXIES; ++i)
		after += w.proxies[i].gcra.taken;
	return after - before;
}

// All load goes to one proxy: within a second it has what the others do not use.
static void lent(void)
{
	struct proxy *one = any_alive();

	for (size_t i = 0; i < PROXIES; ++i) {
		w.proxies[i].load = &w.proxies[i] == one ? 2 : 0;
		w.proxies[i].waits = 0;
	}
	w.moved = true;
	pass(1000);
	SIM_MUST((double)admitted_in(2000) >= (double)w.limit * 2 * 0.95 - 2);
}

// One proxy can use all of a count.
static void count_reached(void)
{
	struct proxy *one = any_alive();

	w.counts_rest = true;
	for (size_t i = 0; i < PROXIES; ++i)
		w.proxies[i].used = 0;
	for (unsigned i = 0; one->used < w.count_limit; ++i) {
		SIM_MUST(i < 1000);
		if (one->used < one->allowance)
			++one->used;
		else
			share_count_refused(&one->count);
		tick();
	}
}

// Without Redis each has its part, and says so.
static void alone(void)
{
	w.down = true;
	pass(2500);
	for (size_t i = 0; i < PROXIES; ++i) {
		const struct proxy *proxy = &w.proxies[i];

		if (!proxy->alive)
			continue;
		SIM_MUST(proxy->share.alone > 0);
		if (proxy->load * (double)w.limit > 10) {
			SIM_EQUAL(proxy->rate.mode, SHARE_ALONE);
			SIM_EQUAL(proxy->gcra.pace, MAX(proxy->rate.limit / w.proxy_count, 1));
		}
	}
}

static void finish(void)
{
	redis_mend();
	w.stop_until_ns = 0;
	pass(12000);
	lent();
	count_reached();
	load_draw();
	alone();
	sim_trace("worst: 10 s %.4f, 60 s %.4f over, %.4f under; with faults %.4f",
		  w.check.worst_short, w.check.worst_over, w.check.worst_under,
		  w.check.worst_fault);
	for (size_t i = 0; i < PROXIES; ++i)
		if (w.proxies[i].alive)
			proxy_stop(&w.proxies[i]);
}

const struct sim_engine sim_share = {"share", 500, start, step, finish};
