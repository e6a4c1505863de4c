// The log source with its window, commits and retry store, over a backend that is slow, fails and
// forgets: settles of all kinds, owners that close or die and begin again from what is durable,
// positions deleted under it, messages with a due time or an end, wide gaps.
//
// The model knows of each message where it is, how many attempts have ended and when it may come
// again; what of that is surely durable, because a settle was answered OK; and, after a death, only
// that: what was acked without an answer may come again or not.

#include "tests/sim/sim.h"
#include "tests/sim/store.h"
#include "tests/sim/world.h"

#include "adapters/log/source.h"
#include "adapters/log/source_settle.h"
#include "adapters/log/window.h"
#include "core/base/clock.h"

enum { RUNS = 6 };

enum place {
	NEW,      // never handed out in this life, or open again since the last one
	OUT,      // handed out
	DUE,      // to be handed out (again)
	REJECTED, // to be handed out for its copy
	UNSURE,   // acked by an owner that died before it was durable
	SETTLED,
};

struct message {
	enum place place;
	uint32_t least, ended;         // attempts that have ended: at least, at most
	uint32_t saved;                // durable
	uint64_t due_ms, saved_due_ms; // the end of a delay, monotonic
	bool promised;                 // its ack is durable
	bool seen;                     // handed out once, in any life
	bool may_go;                   // deleted from the log
};

struct life {
	struct adapter adapter;
	struct source *source;
	uint64_t epoch; // 0: not known yet
	uint32_t messages, rejected;
	uint64_t bytes;
	uint64_t held; // it has read and not handed out
	bool closing;
	uint64_t failures; // of the store when it began to close
	bool late_jump;    // the wall clock was set after that
	enum source_state state;
};

// One settle that waits for durability.
struct request {
	struct life *life;
	uint32_t count;
	struct settled {
		struct message *message;
		bool acked;
		uint32_t ended;
		uint64_t due_ms;
	} settled[STORE_PARTITIONS * STORE_MESSAGES];
};

static struct {
	struct loop *loop;
	struct topic topic;
	struct group group;
	struct life *life;
	unsigned lives; // closing ones too
	struct message messages[STORE_PARTITIONS][STORE_MESSAGES];
	uint64_t first_seen[STORE_PARTITIONS]; // one more than the greatest offset first handed out
	uint32_t requests;
	uint64_t epoch; // the greatest of any delivery
	bool gaps, trims, ends, faults;
	uint64_t memory; // for what is read and not handed out
	uint64_t wall_most_ms;
	bool forward; // the wall clock was set forward, and no owner may know of it after a death
} m;

static uint64_t now_ms(void)
{
	return (uint64_t)clock_wall_ms();
}

// What delays are counted by.
static uint64_t monotonic_ms(void)
{
	return clock_now_ns() / MS_NS;
}

// What the wall clock has shown at most: what has expired once is gone.
static uint64_t wall_most_ms(void)
{
	return MAX(m.wall_most_ms, now_ms());
}

static struct message *message_at(uint32_t partition, uint64_t offset)
{
	struct store_message *stored = store_find(partition, offset);

	SIM_MUST(stored);
	return &m.messages[partition][stored - store.partitions[partition].messages];
}

// ---- what the source hands out

static void check_demand(struct life *life, const struct delivery *delivery)
{
	if (delivery->rejected) {
		SIM_MUST(life->rejected > 0);
		--life->rejected;
		return;
	}
	SIM_MUST(life->messages > 0 && life->bytes > 0);
	--life->messages;
	life->bytes -= MIN(life->bytes, (uint64_t)delivery->size);
}

static void check_record(const struct delivery *delivery, const struct store_message *stored)
{
	if (!delivery->record) {
		SIM_MUST(delivery->rejected &&
			 stored->offset < store.partitions[delivery->partition].first);
		return;
	}
	SIM_EQUAL(delivery->size, stored->size);
	SIM_MUST(memcmp(delivery->record, stored->record, stored->size) == 0);
	SIM_MUST(delivery->rejected || now_ms() <= stored->expiry_ms);
	SIM_MUST(delivery->attempt > 1 || now_ms() >= stored->due_ms);
}

static void check_order(const struct delivery *delivery, struct message *message)
{
	const struct store_message *stored = store_find(delivery->partition, delivery->offset);

	// What has expired has not any more when the wall clock is set back.
	if (!message->seen && !stored->due_ms && stored->expiry_ms == UINT64_MAX) {
		SIM_MUST(delivery->offset >= m.first_seen[delivery->partition]);
		m.first_seen[delivery->partition] = delivery->offset + 1;
	}
	message->seen = true;
}

static void delivered(struct life *life, const struct delivery *delivery)
{
	struct message *message = message_at(delivery->partition, delivery->offset);

	sim_trace("  %u/%llu comes, attempt %u%s", delivery->partition,
		  (unsigned long long)delivery->offset, delivery->attempt,
		  delivery->rejected ? ", for its copy" : "");
	SIM_MUST(!message->promised && message->place != SETTLED && message->place != OUT);
	SIM_EQUAL(delivery->rejected, message->place == REJECTED);
	SIM_MUST(monotonic_ms() >= message->due_ms);
	SIM_MUST(delivery->attempt > message->least && delivery->attempt <= message->ended + 1);
	check_record(delivery, store_find(delivery->partition, delivery->offset));
	check_order(delivery, message);
	check_demand(life, delivery);
	SIM_MUST(life->epoch ? delivery->epoch == life->epoch : delivery->epoch > m.epoch);
	life->epoch = m.epoch = delivery->epoch;
	message->place = OUT;
	message->least = message->ended = delivery->attempt - 1;
}

static void on_deliver(void *ctx, const struct delivery *deliveries, size_t count)
{
	struct life *life = ctx;

	SIM_MUST(!life->closing && life == m.life);
	for (size_t i = 0; i < count; ++i)
		delivered(life, &deliveries[i]);
}

static void on_state(void *ctx, enum source_state state, enum code code, const char *text)
{
	struct life *life = ctx;

	SIM_MUST(!life->closing && state != SOURCE_GONE);
	life->state = state;
}

// Beyond what there is room for it may hold one small read of new positions and one of open ones.
static bool on_room(void *ctx, uint64_t bytes)
{
	const struct life *life = ctx;

	return life->held + bytes <= m.memory;
}

static void on_hold(void *ctx, uint64_t before, uint64_t after)
{
	struct life *life = ctx;

	SIM_MUST(life->held >= before);
	life->held += after - before;
	SIM_MUST(m.memory == UINT64_MAX || life->held <= m.memory + 2 * (64u << 10));
}

static const struct source_handlers handlers = {
	.deliver = on_deliver, .state = on_state, .room = on_room, .hold = on_hold};

// ---- lives

static void life_begin(void)
{
	struct source_config config = {
		.group = &m.group, .topic = &m.topic, .loop = m.loop, .handlers = &handlers};
	struct life *life = calloc(1, sizeof *life);

	SIM_MUST(life);
	config.ctx = life;
	m.life = life;
	m.forward = false;
	++m.lives;
	SIM_EQUAL(log_source_open(&life->adapter, &store_ops, &config, &life->source), 0);
}

// All that was settled is durable, if no commit failed.
static void save_all(const struct life *life)
{
	if (life->adapter.dead || store.failures != life->failures)
		return;
	for (uint32_t p = 0; p < store.count; ++p) {
		for (uint32_t i = 0; i < store.partitions[p].count; ++i) {
			struct message *message = &m.messages[p][i];

			message->promised = message->promised || message->place == SETTLED;
			message->saved = message->least;
			message->saved_due_ms = message->due_ms;
		}
	}
}

// What the next life may know at least.
static void forget(void)
{
	bool any_time = m.forward;

	for (uint32_t p = 0; p < store.count; ++p) {
		for (uint32_t i = 0; i < store.partitions[p].count; ++i) {
			struct message *message = &m.messages[p][i];

			if (message->promised)
				continue;
			message->place = message->place == SETTLED || message->place == UNSURE
						 ? UNSURE
						 : DUE;
			message->least = message->saved;
			message->due_ms = any_time ? 0 : message->saved_due_ms;
			message->saved_due_ms = message->due_ms;
		}
	}
}

static void on_closed(void *ctx)
{
	struct life *life = ctx;

	SIM_EQUAL(life->held, 0);
	if (life == m.life) {
		sim_trace("  closed");
		save_all(life);
		m.forward = m.forward && (store.failures != life->failures || life->late_jump);
		forget();
		m.life = NULL;
	}
	--m.lives;
	free(life);
}

static void life_close(void)
{
	struct life *life = m.life;

	sim_trace("close");
	life->closing = true;
	life->failures = store.failures;
	log_source_close(life->source, on_closed, life);
}

// The process is gone in the middle of something. What is left of its memory is only cleared away.
static void life_kill(void)
{
	struct life *life = m.life;

	sim_trace("the owner dies");
	store_kill(&life->adapter);
	m.life = NULL;
	forget();
	if (!life->closing) {
		life->closing = true;
		log_source_close(life->source, on_closed, life);
	}
}

// ---- settling

static void on_durable(void *ctx, enum code code)
{
	struct request *request = ctx;

	--m.requests;
	for (uint32_t i = 0; i < request->count && code == CODE_OK && request->life == m.life &&
			     !request->life->adapter.dead;
	     ++i) {
		struct settled *settled = &request->settled[i];
		struct message *message = settled->message;

		message->promised = message->promised || settled->acked;
		if (settled->ended >= message->saved) {
			message->saved = settled->ended;
			message->saved_due_ms = settled->due_ms;
		}
	}
	free(request);
}

static uint32_t random_delay_ms(void)
{
	switch (sim_below(4)) {
	case 0: return 0;
	case 1: return WINDOW_DELAY_MAX_MS - 1 + (uint32_t)sim_below(30000);
	default: return (uint32_t)sim_below(3000);
	}
}

static void message_settled(struct message *message, const struct settle *settle,
			    struct request *request)
{
	message->due_ms = 0;
	switch (settle->verb) {
	case SETTLE_ACK: message->place = SETTLED; break;
	case SETTLE_NACK:
		message->place = DUE;
		message->due_ms = settle->delay_ms ? monotonic_ms() + settle->delay_ms : 0;
		message->least = message->ended = settle->attempt;
		break;
	case SETTLE_REJECT:
		message->place = REJECTED;
		message->least = message->ended = settle->attempt;
		break;
	default: message->place = DUE;
	}
	if (request)
		request->settled[request->count++] = (struct settled){
			message, settle->verb == SETTLE_ACK, message->ended, message->due_ms};
}

static bool continues(uint32_t partition, uint64_t offset, uint32_t attempt)
{
	const struct store_message *stored = store_find(partition, offset);
	const struct message *message = stored ? message_at(partition, offset) : NULL;

	return message && message->place == OUT && message->ended + 1 == attempt;
}

// Makes a run of settles out of a message that is out; the whole run is settled in the model.
static struct settle settle_make(uint32_t partition, uint64_t offset, enum settle_verb verb,
				 struct request *request)
{
	struct message *message = message_at(partition, offset);
	struct settle settle = {.epoch = m.life->epoch,
				.offset = offset,
				.partition = partition,
				.attempt = message->ended + 1,
				.delay_ms = random_delay_ms(),
				.verb = (uint8_t)verb};

	do {
		++settle.count;
		message_settled(message_at(partition, offset++), &settle, request);
	} while (settle.count < 20 && continues(partition, offset, settle.attempt) &&
		 !sim_one_in(4));
	sim_trace("settle %u/%llu and %u more, attempt %u: %s, %u ms", partition,
		  (unsigned long long)settle.offset, settle.count - 1, settle.attempt,
		  verb == SETTLE_ACK      ? "ack"
		  : verb == SETTLE_NACK   ? "nack"
		  : verb == SETTLE_REJECT ? "reject"
					  : "release",
		  settle.delay_ms);
	return settle;
}

static void settle_send(struct settle *settles, size_t count, struct request *request)
{
	if (request) {
		request->life = m.life;
		++m.requests;
	}
	log_source_settle(m.life->source, settles, count, request ? on_durable : NULL, request);
	for (size_t i = 0; i < count; ++i) {
		SIM_EQUAL(settles[i].settled, settles[i].count);
		SIM_EQUAL(settles[i].code, CODE_OK);
	}
}

static enum settle_verb random_verb(void)
{
	static const enum settle_verb verbs[] = {SETTLE_ACK,   SETTLE_ACK,  SETTLE_ACK,
						 SETTLE_NACK,  SETTLE_NACK, SETTLE_RELEASE,
						 SETTLE_REJECT};

	return verbs[sim_below(ARRAY_SIZE(verbs))];
}

static struct request *request_new(void)
{
	struct request *request = malloc(sizeof *request);

	SIM_MUST(request);
	request->count = 0;
	return request;
}

// What is out, from a random place on.
static void settle_some(const enum settle_verb *verb)
{
	struct settle settles[RUNS];
	struct request *request = verb || sim_one_in(2) ? request_new() : NULL;
	size_t count = 0;
	uint32_t p = (uint32_t)sim_below(store.count);
	uint32_t from = verb ? 0 : (uint32_t)sim_below(STORE_MESSAGES);

	for (uint32_t i = from; i < store.partitions[p].count && count < RUNS; ++i)
		if (m.messages[p][i].place == OUT)
			settles[count++] = settle_make(p, store.partitions[p].messages[i].offset,
						       verb ? *verb : random_verb(), request);
	settle_send(settles, count, request);
}

// A receipt that no consumer holds, or not any more.
static void settle_wrongly(void)
{
	uint32_t p = (uint32_t)sim_below(store.count);
	const struct store_partition *in = &store.partitions[p];
	uint32_t i = in->count ? (uint32_t)sim_below(in->count) : 0;
	struct message *message = &m.messages[p][i];
	struct settle settle = {.epoch = m.life->epoch,
				.offset = in->messages[i].offset,
				.count = 1,
				.partition = p,
				.attempt = message->ended + 1,
				.verb = (uint8_t)random_verb()};

	if (in->count == 0 || message->place == UNSURE)
		return;
	if (message->place == OUT && sim_one_in(2))
		settle.attempt += sim_one_in(2) ? 1 : UINT32_MAX;
	else if (message->place == OUT)
		settle.epoch -= 1;
	sim_trace("settle %u/%llu wrongly", p, (unsigned long long)settle.offset);
	log_source_settle(m.life->source, &settle, 1, NULL, NULL);
	SIM_EQUAL(settle.settled, 0);
	SIM_EQUAL(settle.code, CODE_STALE);
}

// ---- what must hold between two events

// How many are acked for certain, and how many more may be.
static void acked_count(uint32_t p, uint64_t *ret_acked, uint64_t *ret_unsure)
{
	*ret_acked = *ret_unsure = 0;
	for (uint32_t i = 0; i < store.partitions[p].count; ++i) {
		const struct message *message = &m.messages[p][i];

		*ret_acked += message->place == SETTLED;
		// What went from the log while it was on its way to the retry store may count as
		// acked if the owner dies before it knows.
		*ret_unsure +=
			message->place == UNSURE || (message->may_go && message->place != SETTLED);
	}
}

static void check_partition(const struct source_partition *told, uint32_t p)
{
	const struct store_partition *in = &store.partitions[p];
	uint64_t sure = 0, perhaps = 0, out = 0, acked, unsure, backlog;

	acked_count(p, &acked, &unsure);
	for (uint32_t i = 0; i < in->count; ++i) {
		const struct message *message = &m.messages[p][i];

		if (message->place == SETTLED)
			continue;
		out += message->place == OUT;
		if (message->place != OUT && message->place != REJECTED &&
		    (message->may_go || message->place == UNSURE ||
		     in->messages[i].expiry_ms < wall_most_ms()))
			++perhaps;
		else
			++sure;
	}
	backlog = told->ready + told->in_flight + told->retrying + told->delayed;
	SIM_EQUAL(told->log.first, in->first);
	SIM_EQUAL(told->log.end, in->end);
	SIM_EQUAL(told->in_flight, out);
	SIM_MUST(told->acked >= acked && told->acked <= acked + unsure);
	SIM_EQUAL(told->log.end + told->counts.replayed, told->acked + backlog + told->counts.dead +
								 told->counts.expired +
								 told->counts.skipped);
	SIM_MUST(backlog >= sure);
	// Positions that hold no message count until they are passed.
	SIM_MUST(m.gaps || backlog <= sure + perhaps);
}

// What is told while no owner holds the group, from its cursor alone.
static void check_backlog_row(uint32_t p)
{
	struct source_partition row = store_backlog_row(p);
	uint64_t acked, unsure;

	acked_count(p, &acked, &unsure);
	SIM_MUST(row.acked >= acked && row.acked <= acked + unsure);
	SIM_EQUAL(row.log.end, store.partitions[p].end);
	SIM_EQUAL(row.log.end + row.counts.replayed,
		  row.ready + row.in_flight + row.retrying + row.delayed + row.acked +
			  row.counts.dead + row.counts.expired + row.counts.skipped);
}

static void check(void)
{
	struct source_partition told[STORE_PARTITIONS];
	size_t count;

	for (uint32_t p = 0; !m.life && p < store.count; ++p)
		check_backlog_row(p);
	if (!m.life || m.life->closing)
		return;
	count = log_source_backlog(m.life->source, told, STORE_PARTITIONS);
	for (size_t i = 0; i < count; ++i)
		check_partition(&told[i], told[i].partition);
}

// ---- events

static void step_append(void)
{
	uint32_t p = (uint32_t)sim_below(store.count);

	for (uint64_t count = 1 + sim_below(6); count; --count) {
		uint64_t gap = m.gaps && sim_one_in(5) ? sim_below(40) : 0;

		if (m.gaps && sim_one_in(40))
			gap = WINDOW_POSITIONS - 3 + sim_below(6);
		store_append(p, gap, sim_one_in(15) ? now_ms() + sim_below(100000) : 0,
			     m.ends && sim_one_in(8) ? sim_one_in(2) ? 1 + sim_below(3000) : 7200000
						     : 0);
	}
}

static void demand(uint32_t messages, uint64_t bytes, uint32_t rejected)
{
	if (m.life->messages != messages || m.life->bytes != bytes)
		sim_trace("demand %u messages, %llu bytes, %u rejected", messages,
			  (unsigned long long)bytes, rejected);
	m.life->messages = messages;
	m.life->bytes = bytes;
	m.life->rejected = rejected;
	log_source_demand(m.life->source, messages, bytes, rejected);
}

static void step_trim(void)
{
	uint32_t p = (uint32_t)sim_below(store.count);
	const struct store_partition *in = &store.partitions[p];

	if (!m.trims || in->count == 0)
		return;
	store_trim(p, in->messages[sim_below(in->count)].offset);
	for (uint32_t i = 0; i < in->count && in->messages[i].offset < in->first; ++i)
		m.messages[p][i].may_go = true;
}

// Not by less than a source takes for a clock that is hurried or slowed. Who is not there while it
// goes forward cannot know how long that was.
static void wall_jump(void)
{
	int64_t ms = 1000 + (int64_t)sim_below(sim_one_in(2) ? 20000 : 3600000);

	if (sim_one_in(2))
		ms = -ms;
	sim_trace("the wall clock jumps by %lld ms", (long long)ms);
	m.wall_most_ms = wall_most_ms();
	m.forward = m.forward || ms > 0;
	world_wall_jump(ms);
	if (m.life)
		m.life->late_jump = m.life->late_jump || m.life->closing;
	if (m.forward && (!m.life || !m.life->epoch))
		forget();
}

static void step_time(void)
{
	static const uint64_t spans_ms[] = {1, 10, 100, 700, 4000, 32000};
	uint64_t ms = sim_below(spans_ms[sim_below(ARRAY_SIZE(spans_ms))] + 1);

	sim_trace("%llu ms pass", (unsigned long long)ms);
	world_pass(ms * MS_NS);
	if (sim_one_in(60))
		wall_jump();
}

static void step_faults(void)
{
	store.delay_ns = sim_one_in(2) ? sim_below(5 * MS_NS) : sim_below(800 * MS_NS);
	store.fetches_fail = store.looks_fail = store.loads_fail = store.commits_fail = 0;
	if (m.faults && sim_one_in(2)) {
		store.fetches_fail = 1 + (unsigned)sim_below(12);
		store.looks_fail = 1 + (unsigned)sim_below(6);
		store.loads_fail = 1 + (unsigned)sim_below(6);
		store.commits_fail = 1 + (unsigned)sim_below(8);
	}
}

static void step_life(void)
{
	if (m.life && sim_one_in(2))
		life_kill();
	else if (m.life && !m.life->closing)
		life_close();
}

static void step(void)
{
	uint64_t event = sim_below(20);

	if (!m.life && sim_one_in(3))
		life_begin();
	if (event < 3)
		step_append();
	else if (event < 10)
		step_time();
	else if (event == 10)
		step_faults();
	else if (event == 11 && sim_one_in(2))
		step_life();
	else if (event == 12)
		step_trim();
	else if (m.life && !m.life->closing && event < 16)
		demand((uint32_t)sim_below(60), sim_below(6000), (uint32_t)sim_below(10));
	else if (m.life && !m.life->closing && m.life->epoch && event == 16)
		settle_wrongly();
	else if (m.life && !m.life->closing && m.life->epoch)
		settle_some(NULL);
	world_run();
	check();
}

static void start(void)
{
	memset(&m, 0, sizeof m);
	m.loop = world_start(S_NS, 1700000000000);
	m.topic = (struct topic){.object.refs = 1, .partitions = 1 + (uint32_t)sim_below(3)};
	m.group = (struct group){.object.refs = 1};
	m.gaps = sim_one_in(3);
	m.trims = sim_one_in(4);
	m.ends = sim_one_in(3);
	m.faults = sim_one_in(2);
	m.memory = sim_one_in(2) ? UINT64_MAX : sim_below(3) * 10000;
	store_start(m.topic.partitions);
	store.delay_ns = MS_NS;
	life_begin();
}

// ---- the end: everybody willing, everything must come to its end

static bool is_owed(uint32_t p, uint32_t i)
{
	const struct message *message = &m.messages[p][i];

	return message->place == REJECTED ||
	       (message->place != SETTLED && message->place != UNSURE && !message->may_go &&
		store.partitions[p].messages[i].expiry_ms > wall_most_ms());
}

static uint64_t backlog_left(void)
{
	struct source_partition told[STORE_PARTITIONS];
	size_t count = log_source_backlog(m.life->source, told, STORE_PARTITIONS);
	uint64_t left = count ? 0 : 1;

	for (size_t i = 0; i < count; ++i)
		left += told[i].ready + told[i].in_flight + told[i].retrying + told[i].delayed;
	return left;
}

static void life_wait(bool open)
{
	for (unsigned i = 0; i < 100 && (m.life != NULL) != open; ++i) {
		if (open)
			life_begin();
		world_pass(S_NS);
	}
	SIM_EQUAL(m.life != NULL, open);
}

static void settle_all(enum settle_verb verb)
{
	for (unsigned i = 0; i < 20; ++i)
		settle_some(&verb);
}

static bool rejected_left(void)
{
	for (uint32_t p = 0; p < store.count; ++p)
		for (uint32_t i = 0; i < store.partitions[p].count; ++i)
			if (m.messages[p][i].place == REJECTED)
				return true;
	return false;
}

// The consumer that waits for the answer to a reject may be the one to take all else that is due.
static void reject_while_much_is_due(void)
{
	demand(1000, 1 << 20, 0);
	for (uint32_t p = 0; p < store.count; ++p)
		while (store.partitions[p].count < STORE_MESSAGES)
			store_append(p, 0, now_ms() + 2000, 0);
	world_pass(S_NS);
	demand(0, 0, 0);
	world_pass(2 * S_NS);
	demand(20, 1 << 20, 0);
	world_pass(S_NS);
	demand(0, 0, 0);
	settle_all(SETTLE_REJECT);
	for (unsigned i = 0; i < 60 && rejected_left(); ++i) {
		demand(0, 0, 100);
		world_pass(S_NS);
	}
	SIM_MUST(!rejected_left());
}

static void finish(void)
{
	store.fetches_fail = store.looks_fail = store.loads_fail = store.commits_fail = 0;
	store.delay_ns = MS_NS;
	if (m.life && m.life->closing)
		life_wait(false);
	life_wait(true);
	world_pass(3 * S_NS);
	world_wall_jump((int64_t)MAX(wall_most_ms() - now_ms(), 1000ull));
	// What failed is tried again however often something else happens meanwhile.
	for (unsigned i = 0; i < 40; ++i) {
		demand(1000, 1 << 20, 100);
		world_pass(100 * MS_NS);
		settle_all(SETTLE_ACK);
	}
	SIM_MUST(m.life->state != SOURCE_DOWN && m.life->state != SOURCE_OPENING);
	reject_while_much_is_due();
	for (unsigned round = 0; round < 300 && backlog_left(); ++round) {
		demand(1000, 1 << 20, 100);
		world_pass(S_NS);
		settle_all(SETTLE_ACK);
		check();
	}
	SIM_EQUAL(backlog_left(), 0);
	for (uint32_t p = 0; p < store.count; ++p)
		for (uint32_t i = 0; i < store.partitions[p].count; ++i)
			SIM_MUST(!is_owed(p, i));
	world_pass(3 * S_NS); // what failed last is tried again
	SIM_EQUAL(m.life->state, SOURCE_READY);
	life_close();
	life_wait(false);
	life_begin(); // once more: everything was durable
	demand(1000, 1 << 20, 100);
	world_pass(S_NS);
	SIM_EQUAL(backlog_left(), 0);
	for (uint32_t p = 0; p < store.count; ++p)
		SIM_EQUAL(store.partitions[p].position, store.partitions[p].end);
	life_close();
	life_wait(false);
	world_pass(S_NS);
	SIM_EQUAL(m.requests, 0);
	SIM_EQUAL(m.lives, 0);
	SIM_MUST(m.topic.object.refs == 1 && m.group.object.refs == 1);
	store_end();
	world_end();
}

const struct sim_engine sim_source = {"source", 200, start, step, finish};
