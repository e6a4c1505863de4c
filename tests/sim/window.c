// The ack window and its commit metadata: positions with holes between them, settles that fit and
// such that do not, the limits (positions, marks, attempts), commits, and restarts from the last
// one, an older one or a damaged one.
//
// The model is the log as the group must see it: what each position is, how many attempts have
// ended, when it comes again. After a restart it is what it was when the commit was written.

#include "adapters/log/window_text.h"

#include "tests/sim/sim.h"

enum { POSITIONS = 1200, COMMITS = 4, GAP = 40 };

struct position {
	uint64_t offset, due_ms;
	uint32_t ended; // attempts
	enum window_state state;
};

struct commit {
	char *text;
	uint64_t base, epoch, written_ms;
	struct position positions[POSITIONS];
	uint32_t seen;
};

static struct {
	struct window window;
	struct position positions[POSITIONS]; // the log; the first `seen` of them the window knows
	uint32_t seen, known;
	uint64_t next; // first offset the window has not seen
	uint64_t now_ms, epoch;
	struct commit commits[COMMITS]; // a ring
	uint32_t commit_count;
	bool busy; // many positions, none acked: marks are used up, and attempts
} m;

// ---- the model against the window

static uint64_t model_base(void)
{
	for (uint32_t i = 0; i < m.seen; ++i)
		if (m.positions[i].state != WINDOW_DONE)
			return m.positions[i].offset;
	return m.next;
}

static bool is_marked(const struct position *position)
{
	return position->state != WINDOW_DONE && (position->ended || position->due_ms);
}

static void compare(void)
{
	uint32_t counts[WINDOW_REJECTED + 1] = {0}, marks = 0;
	uint64_t next_due_ms = UINT64_MAX;

	for (uint32_t i = 0; i < m.seen; ++i) {
		const struct position *position = &m.positions[i];
		const struct window_mark *mark = window_mark_at(&m.window, position->offset);

		++counts[position->state];
		marks += is_marked(position);
		SIM_EQUAL(window_state_at(&m.window, position->offset), position->state);
		SIM_EQUAL(mark != NULL, is_marked(position));
		SIM_EQUAL(mark ? mark->attempts : 0,
			  position->state == WINDOW_DONE ? 0 : position->ended);
		if (position->state == WINDOW_WAITING)
			next_due_ms = MIN(next_due_ms, position->due_ms);
	}
	SIM_EQUAL(m.window.base, model_base());
	SIM_EQUAL(window_next(&m.window), m.next);
	SIM_EQUAL(m.window.flight, counts[WINDOW_FLIGHT]);
	SIM_EQUAL(m.window.open, counts[WINDOW_OPEN]);
	SIM_EQUAL(m.window.waiting, counts[WINDOW_WAITING]);
	SIM_EQUAL(m.window.rejected, counts[WINDOW_REJECTED]);
	SIM_EQUAL(m.window.mark_count, marks);
	SIM_MUST(marks <= WINDOW_MARKS && m.next - m.window.base <= WINDOW_POSITIONS);
	SIM_MUST(m.window.next_due_ms <= next_due_ms);
	SIM_EQUAL(window_full(&m.window), m.next - model_base() >= WINDOW_POSITIONS);
}

// ---- new positions

// The next of the log: what is known already, or a new one behind a hole, sometimes such a wide one
// that it lies at the limit.
static struct position *position_next(void)
{
	struct position *position = &m.positions[m.seen];
	uint64_t offset;

	if (m.seen < m.known)
		return position;
	if (m.known == POSITIONS)
		return NULL;
	offset = m.next + (sim_one_in(4) ? sim_below(GAP) : 0);
	if (!m.busy && sim_one_in(12))
		offset = model_base() + WINDOW_POSITIONS - 2 + sim_below(4);
	*position = (struct position){.offset = MAX(offset, m.next)};
	++m.known;
	return position;
}

static void step_add(void)
{
	for (uint64_t count = m.busy ? 1 + sim_below(60) : 1 + sim_below(8); count; --count) {
		struct position *position = position_next();
		bool done = sim_one_in(10), fits;

		if (!position)
			return;
		fits = model_base() == m.next || position->offset - model_base() < WINDOW_POSITIONS;
		SIM_EQUAL(window_fits(&m.window, position->offset), fits);
		if (!fits)
			return;
		sim_trace("add %llu%s", (unsigned long long)position->offset, done ? " done" : "");
		SIM_EQUAL(window_add(&m.window, position->offset, done), 0);
		position->state = done ? WINDOW_DONE : WINDOW_FLIGHT;
		position->ended = 0;
		position->due_ms = 0;
		++m.seen;
		m.next = position->offset + 1;
	}
}

// ---- settles

static void settle(struct position *position, uint32_t attempt)
{
	bool fits = position->state == WINDOW_FLIGHT && attempt == position->ended + 1;
	uint64_t due_ms = sim_one_in(3) ? m.now_ms + 1 + sim_below(WINDOW_DELAY_MAX_MS) : 0;
	uint64_t verb = m.busy ? 2 + sim_below(3) : sim_below(5);
	bool crowded = attempt > WINDOW_ATTEMPTS ||
		       (m.window.mark_count == WINDOW_MARKS && !is_marked(position));
	bool rejects = sim_one_in(6);
	enum window_result result;

	if (verb < 2) {
		sim_trace("ack %llu attempt %u", (unsigned long long)position->offset, attempt);
		SIM_EQUAL(window_ack(&m.window, position->offset, attempt),
			  fits ? WINDOW_OK : WINDOW_STALE);
		if (fits)
			position->state = WINDOW_DONE;
		return;
	}
	if (verb == 2) {
		sim_trace("release %llu attempt %u", (unsigned long long)position->offset, attempt);
		SIM_EQUAL(window_release(&m.window, position->offset, attempt),
			  fits ? WINDOW_OK : WINDOW_STALE);
		if (fits)
			position->state = WINDOW_OPEN;
		return;
	}
	if (rejects)
		result = window_reject(&m.window, position->offset, attempt);
	else
		result = window_nack(&m.window, position->offset, attempt, due_ms);
	sim_trace("%s %llu attempt %u due %llu: %d", rejects ? "reject" : "nack",
		  (unsigned long long)position->offset, attempt, (unsigned long long)due_ms,
		  result);
	if (!fits) {
		SIM_EQUAL(result, WINDOW_STALE);
	} else if (crowded) {
		SIM_EQUAL(result, WINDOW_CROWDED);
	} else {
		SIM_EQUAL(result, WINDOW_OK);
		position->state = rejects ? WINDOW_REJECTED : due_ms ? WINDOW_WAITING : WINDOW_OPEN;
		position->due_ms = rejects ? 0 : due_ms;
		position->ended = attempt;
	}
}

static void step_settle(void)
{
	for (uint64_t count = m.busy ? 1 + sim_below(60) : 1 + sim_below(6); m.seen && count;
	     --count) {
		struct position *position = &m.positions[sim_below(m.seen)];

		settle(position, position->ended + (sim_one_in(12) ? (uint32_t)sim_below(3) : 1));
	}
}

// One position fails until it may fail no more.
static void wear_out(struct position *position)
{
	if (position->state != WINDOW_FLIGHT)
		return;
	for (;;) {
		uint32_t attempt = position->ended + 1;
		enum window_result result = window_nack(&m.window, position->offset, attempt, 0);

		if (result == WINDOW_CROWDED)
			break;
		SIM_EQUAL(result, WINDOW_OK);
		position->ended = attempt;
		SIM_EQUAL(window_take(&m.window, position->offset), attempt + 1);
	}
	sim_trace("%llu failed %u times", (unsigned long long)position->offset, position->ended);
	SIM_MUST(position->ended == WINDOW_ATTEMPTS || m.window.mark_count == WINDOW_MARKS);
}

// ---- handing out again

static void step_wake(void)
{
	uint32_t woken = 0;

	m.now_ms += sim_one_in(4) ? sim_below(WINDOW_DELAY_MAX_MS) : sim_below(500);
	for (uint32_t i = 0; i < m.seen; ++i) {
		struct position *position = &m.positions[i];

		if (position->state != WINDOW_WAITING || position->due_ms > m.now_ms)
			continue;
		position->state = WINDOW_OPEN;
		position->due_ms = 0;
		++woken;
	}
	sim_trace("it is %llu: %u are due", (unsigned long long)m.now_ms, woken);
	SIM_EQUAL(window_wake(&m.window, m.now_ms), woken);
}

static bool is_open(const struct position *position)
{
	return position->state == WINDOW_OPEN || position->state == WINDOW_REJECTED;
}

static void take(struct position *position)
{
	uint32_t attempt = window_take(&m.window, position->offset);

	sim_trace("take %llu: attempt %u", (unsigned long long)position->offset, attempt);
	SIM_EQUAL(attempt, is_open(position) ? position->ended + 1 : 0);
	if (is_open(position))
		position->state = WINDOW_FLIGHT;
}

static void step_take(void)
{
	uint32_t span = 1 + (uint32_t)sim_below(200), first = 0;
	uint64_t offset, until;

	for (; first < m.seen && m.positions[first].state != WINDOW_OPEN; ++first)
		;
	SIM_EQUAL(window_first_open(&m.window, span, &offset, &until), first < m.seen);
	if (first == m.seen)
		return;
	SIM_EQUAL(offset, m.positions[first].offset);
	SIM_MUST(until > offset && until - offset <= span);
	for (uint32_t i = first; i < m.seen && m.positions[i].offset < until; ++i)
		take(&m.positions[i]);
	if (sim_one_in(4))
		take(&m.positions[sim_below(m.seen)]);
}

static void step_take_rejected(void)
{
	uint64_t offset, until;
	uint32_t first = 0;

	for (; first < m.seen && m.positions[first].state != WINDOW_REJECTED; ++first)
		;
	SIM_EQUAL(window_first_rejected(&m.window, &offset, &until), first < m.seen);
	if (first == m.seen)
		return;
	SIM_EQUAL(offset, m.positions[first].offset);
	for (; first < m.seen && m.positions[first].offset < until; ++first) {
		SIM_EQUAL(m.positions[first].state, WINDOW_REJECTED);
		take(&m.positions[first]);
	}
}

// ---- positions that go away

static void step_gone(void)
{
	struct position *position = m.seen ? &m.positions[sim_below(m.seen)] : NULL;

	if (!position)
		return;
	switch (sim_below(3)) {
	case 0:
		sim_trace("leave %llu", (unsigned long long)position->offset);
		window_leave(&m.window, position->offset);
		position->state = WINDOW_DONE;
		return;
	case 1:
		sim_trace("drop %llu", (unsigned long long)position->offset);
		window_drop(&m.window, position->offset);
		if (position->state == WINDOW_OPEN)
			position->state = WINDOW_DONE;
		return;
	default:
		sim_trace("the log begins at %llu", (unsigned long long)position->offset);
		// It never goes back, so nothing is taken from below it twice.
		if (position->offset <= m.window.truncated)
			return;
		window_truncate(&m.window, position->offset);
		for (struct position *at = m.positions; at < position; ++at)
			if (at->state == WINDOW_OPEN || at->state == WINDOW_WAITING)
				at->state = WINDOW_DONE;
	}
}

// ---- commits and restarts

static void step_commit(void)
{
	struct commit *commit = &m.commits[m.commit_count++ % COMMITS];

	free(commit->text);
	commit->text = window_text_encode(&m.window, m.epoch, m.now_ms);
	commit->base = m.window.base;
	commit->epoch = m.epoch;
	commit->written_ms = m.now_ms;
	commit->seen = m.seen;
	memcpy(commit->positions, m.positions, m.seen * sizeof m.positions[0]);
	SIM_MUST(commit->text && strlen(commit->text) <= WINDOW_TEXT);
	for (const char *at = commit->text; *at; ++at)
		SIM_MUST(*at > ' ' && *at < 127 && *at != '"' && *at != '\\');
	sim_trace("commit at %llu", (unsigned long long)commit->base);
}

// As it was when the commit was written, but that what was in flight is open.
static void position_restore(struct position *position, const struct commit *commit)
{
	if (position->state == WINDOW_FLIGHT || position->state == WINDOW_REJECTED)
		position->state = WINDOW_OPEN;
	if (position->state == WINDOW_WAITING)
		position->due_ms = MAX(position->due_ms, commit->written_ms);
	else
		position->due_ms = 0;
}

static void restart(const struct commit *commit, bool damaged)
{
	struct window window;
	uint64_t epoch;
	uint32_t i;

	window_init(&window, commit->base);
	if (damaged)
		commit->text[sim_below(strlen(commit->text))] ^= (char)(1 + sim_below(31));
	SIM_EQUAL(window_text_decode(&window, commit->text, &epoch),
		  damaged ? WINDOW_E_FOREIGN : 0);
	SIM_EQUAL(epoch, damaged ? 0 : commit->epoch);
	window_deinit(&m.window);
	m.window = window;
	m.next = window_next(&window);
	for (i = 0; i < commit->seen; ++i) {
		m.positions[i] = commit->positions[i];
		position_restore(&m.positions[i], commit);
		if (m.positions[i].offset >= m.next)
			break;
	}
	m.seen = i;
	// What is read again as new must be open, unless the map is lost.
	for (; i < commit->seen && !damaged; ++i)
		SIM_MUST(commit->positions[i].state != WINDOW_DONE &&
			 !is_marked(&commit->positions[i]));
}

static void step_restart(void)
{
	uint32_t kept = MIN(m.commit_count, COMMITS), back = sim_one_in(4) ? 1 : 0;
	bool damaged = sim_one_in(8);
	struct commit *commit;

	if (kept <= back)
		return;
	commit = &m.commits[(m.commit_count - 1 - back) % COMMITS];
	sim_trace("restart at %llu%s%s", (unsigned long long)commit->base,
		  back ? ", an older commit" : "", damaged ? ", damaged" : "");
	restart(commit, damaged);
	++m.epoch;
	m.commit_count = 0; // later ones may not be mixed with this life
}

// ---- the schedule

static void start(void)
{
	static const uint64_t bases[] = {0, 1000, UINT32_MAX - 100ull, UINT64_MAX / 4};

	memset(&m, 0, sizeof m);
	m.next = bases[sim_below(ARRAY_SIZE(bases))];
	m.now_ms = 1 + sim_below(1ull << 41);
	m.epoch = sim_below(1000);
	m.busy = sim_one_in(10);
	window_init(&m.window, m.next);
	step_commit();
}

static void step(void)
{
	switch (sim_below(10)) {
	case 0:
	case 1: step_add(); break;
	case 2:
	case 3:
	case 4: step_settle(); break;
	case 5:
		if (m.busy && m.seen && sim_one_in(4))
			wear_out(&m.positions[sim_below(m.seen)]);
		step_wake();
		break;
	case 6:
	case 7:
		step_take();
		step_take_rejected();
		break;
	case 8:
		if (sim_one_in(3))
			step_gone();
		else
			step_commit();
		break;
	default:
		if (sim_one_in(3))
			step_restart();
	}
	compare();
}

static void finish(void)
{
	m.now_ms += WINDOW_DELAY_MAX_MS + 1;
	window_wake(&m.window, m.now_ms);
	for (uint32_t i = 0; i < m.seen; ++i) {
		struct position *position = &m.positions[i];

		if (is_open(position) || position->state == WINDOW_WAITING)
			SIM_EQUAL(window_take(&m.window, position->offset), position->ended + 1);
		if (position->state != WINDOW_DONE)
			SIM_EQUAL(window_ack(&m.window, position->offset, position->ended + 1),
				  WINDOW_OK);
	}
	SIM_EQUAL(m.window.base, m.next);
	SIM_EQUAL(m.window.count, 0);
	SIM_EQUAL(m.window.mark_count, 0);
	window_deinit(&m.window);
	for (size_t i = 0; i < COMMITS; ++i)
		free(m.commits[i].text);
}

const struct sim_engine sim_window = {"window", 150, start, step, finish};
