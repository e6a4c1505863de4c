// The cursors and the retry store of a group on Kafka, with several owners at once: no owner is
// fenced there, so a stale owner goes on reading, settling and committing, and what it asked for
// may happen long after it died.
//
// Real: the log source with its window, the rows of the retry store in memory and what they make of
// cursors (adapters/kafka/retry/retry_rows.c, retry_index.c). Modelled: the broker with the
// adapter's steps (broker.h), and a reset: fences, offsets, rows.
//
// After every event the durable state alone must still hold every message that no consumer
// acknowledged: not passed by the cursor, or in the retry topic; and so must what an owner begins
// with. At the end an owner that begins from it hands out all of them.

#include "adapters/log/source.h"
#include "adapters/log/source_settle.h"
#include "adapters/log/window_text.h"
#include "tests/sim/broker.h"
#include "tests/sim/sim.h"
#include "tests/sim/world.h"

enum { LIVES = 3, OUT = 400 };

struct out { // handed out and not settled
	struct adapter *life;
	struct delivery delivery;
	bool current; // of the current log; else of one that was deleted
};

static struct {
	struct topic topic;
	struct group group;
	struct adapter *lives; // and dead ones, until the end
	struct out out[OUT];
	uint32_t out_count;
	uint64_t wall_most_ms;
} m;

static bool alive(const struct adapter *life)
{
	return !life->dead && !life->closing;
}

// ---- owners

static void on_deliver(void *ctx, const struct delivery *deliveries, size_t count)
{
	struct adapter *life = ctx;

	SIM_MUST(alive(life));
	for (size_t i = 0; i < count; ++i) {
		SIM_MUST(m.out_count < OUT);
		bool current = deliveries[i].record &&
			       broker_log_of(deliveries[i].record) == broker.log % 256;

		// Who is of a life before takes it for what it has handed out already.
		SIM_MUST(!current || !broker.marked || life->log_life != broker.life ||
			 deliveries[i].attempt > 1 ||
			 now_ms() >= broker.messages[deliveries[i].partition][deliveries[i].offset]
					     .due_ms);
		m.out[m.out_count++] = (struct out){life, deliveries[i], current};
		sim_trace("  %p: %u/%llu comes, attempt %u", (void *)life, deliveries[i].partition,
			  (unsigned long long)deliveries[i].offset, deliveries[i].attempt);
	}
}

static void on_state(void *ctx, enum source_state state, enum code code, const char *text)
{
	struct adapter *life = ctx;

	life->gone = life->gone || state == SOURCE_GONE;
}

static const struct source_handlers handlers = {.deliver = on_deliver, .state = on_state};

static struct adapter *life_begin(void)
{
	struct source_config config = {
		.group = &m.group, .topic = &m.topic, .loop = broker.loop, .handlers = &handlers};
	struct adapter *life = calloc(1, sizeof *life);

	SIM_MUST(life);
	config.ctx = life;
	config.adapter_topic = (struct adapter_topic *)life; // what it knows of the topic
	life->log_life = broker_life();
	retry_rows_init(&life->rows);
	life->next = m.lives;
	m.lives = life;
	sim_trace("%p begins", (void *)life);
	SIM_EQUAL(log_source_open(life, &broker_ops, &config, &life->source), 0);
	return life;
}

static void on_closed(void *ctx)
{
	struct adapter *life = ctx;

	life->closed = true;
	retry_rows_deinit(&life->rows);
}

static void life_end(struct adapter *life, bool dies)
{
	uint32_t kept = 0;

	sim_trace("%p %s", (void *)life, dies ? "dies" : "closes");
	for (uint32_t i = 0; i < m.out_count; ++i)
		if (m.out[i].life != life)
			m.out[kept++] = m.out[i];
	m.out_count = kept;
	life->dead = dies;
	life->closing = true;
	log_source_close(life->source, on_closed, life);
}

static struct adapter *life_any(void)
{
	struct adapter *found = NULL;
	uint64_t seen = 0;

	for (struct adapter *life = m.lives; life; life = life->next)
		if (alive(life) && sim_below(++seen) == 0)
			found = life;
	return found;
}

static uint32_t lives_count(void)
{
	uint32_t count = 0;

	for (const struct adapter *life = m.lives; life; life = life->next)
		count += alive(life);
	return count;
}

// ---- settling

static void settle(uint32_t at, enum settle_verb verb)
{
	struct out out = m.out[at];
	struct settle settle = {.epoch = out.delivery.epoch,
				.offset = out.delivery.offset,
				.count = 1,
				.partition = out.delivery.partition,
				.attempt = out.delivery.attempt,
				.delay_ms = sim_one_in(3)   ? 0
					    : sim_one_in(2) ? (uint32_t)sim_below(3000)
							    : WINDOW_DELAY_MAX_MS + 1 +
								      (uint32_t)sim_below(20000),
				.verb = (uint8_t)verb};

	if (out.delivery.rejected)
		settle.verb = SETTLE_ACK; // its copy is made
	m.out[at] = m.out[--m.out_count];
	sim_trace("%p: settle %u/%llu, attempt %u: %s, %u ms", (void *)out.life, settle.partition,
		  (unsigned long long)settle.offset, settle.attempt,
		  settle.verb == SETTLE_ACK    ? "ack"
		  : settle.verb == SETTLE_NACK ? "nack"
					       : "other",
		  settle.delay_ms);
	log_source_settle(out.life->source, &settle, 1, NULL, NULL);
	if (settle.settled && settle.verb == SETTLE_ACK && out.current)
		broker.messages[settle.partition][settle.offset].acked = true;
}

static void settle_some(void)
{
	static const enum settle_verb verbs[] = {SETTLE_ACK,  SETTLE_ACK,     SETTLE_NACK,
						 SETTLE_NACK, SETTLE_RELEASE, SETTLE_REJECT};

	for (uint64_t count = 1 + sim_below(6); count && m.out_count; --count)
		settle((uint32_t)sim_below(m.out_count), verbs[sim_below(ARRAY_SIZE(verbs))]);
}

// ---- moving the group: fences, offsets, rows, while others go on

struct moving {
	struct loop_timer timer;
	struct retry_rows rows;
	uint64_t to[BROKER_PARTITIONS], written_ms[BROKER_PARTITIONS], epoch;
	int64_t shift_ms[BROKER_PARTITIONS];
	unsigned stage;
	uint32_t at, log;
};

// From here on a message before the position may be lost, and one behind it may not.
static void moved(const struct moving *moving)
{
	for (uint32_t p = 0; moving->log == broker.log && p < BROKER_PARTITIONS; ++p)
		for (uint32_t i = 0; i < moving->to[p] && i < broker.counts[p]; ++i)
			broker.messages[p][i].skipped = true;
}

static void move_offsets(const struct moving *moving)
{
	for (uint32_t p = 0; p < BROKER_PARTITIONS; ++p) {
		struct window window;
		char *text;

		window_init(&window, moving->to[p]);
		window.shift_ms = moving->shift_ms[p];
		text = window_text_encode(&window, moving->epoch, moving->written_ms[p]);
		broker_commit(p, moving->to[p], text);
		free(text);
	}
}

// The fences before go with the rows. false: none is left.
static bool move_row(struct moving *moving)
{
	const struct retry_row *row = retry_index_next(&moving->rows.index, &moving->at);
	uint8_t key[RETRY_KEY];

	for (uint32_t p = 0; !row && moving->rows.index.count && p < BROKER_PARTITIONS; ++p) {
		retry_rows_fence_key_put(key, retry_rows_generation(&moving->rows, p));
		broker_put(key, NULL, 0);
	}
	if (!row)
		return false;
	retry_rows_key_put(key, row->partition, row->offset,
			   retry_rows_generation(&moving->rows, row->partition));
	broker_put(key, NULL, 0);
	return true;
}

static void on_moving(struct loop_timer *timer)
{
	struct moving *moving = CONTAINER_OF(timer, struct moving, timer);
	bool goes_on = !sim_one_in(6); // else the owner that does it dies

	if (goes_on && moving->stage == 0) {
		moved(moving);
		if (moving->rows.index.count)
			broker_fence_put(moving->epoch, moving->to);
		else
			move_offsets(moving);
		moving->stage = moving->rows.index.count ? 1 : 2;
	} else if (goes_on && moving->stage == 1) {
		move_offsets(moving);
		moving->stage = 2;
	} else if (goes_on) {
		goes_on = move_row(moving);
	}
	if (goes_on) {
		loop_timer_set(&moving->timer,
			       loop_now_ns(broker.loop) + sim_below(broker.delay_ns + 1));
		return;
	}
	retry_rows_deinit(&moving->rows);
	free(moving);
	--broker.pending;
}

static void group_move(void)
{
	struct moving *moving = calloc(1, sizeof *moving);
	struct log_cursor cursors[BROKER_PARTITIONS];

	SIM_MUST(moving);
	++broker.pending;
	retry_rows_init(&moving->rows);
	broker_offsets_read(cursors);
	broker_rows_read(&moving->rows, 0, broker.record_count);
	if (!broker_is_fenced(&moving->rows, broker.life)) {
		broker_fence_put(broker.life, NULL);
		broker_rows_read(&moving->rows, broker.record_count - 1, broker.record_count);
	}
	moving->log = broker.log;
	SIM_EQUAL(retry_rows_fit(&moving->rows, cursors, BROKER_PARTITIONS, broker.life), 0);
	for (uint32_t p = 0; p < BROKER_PARTITIONS; ++p) {
		struct window window;
		uint64_t epoch;

		window_init(&window, cursors[p].position);
		SIM_EQUAL(window_text_decode(&window, cursors[p].text, &epoch), 0);
		moving->epoch = MAX(moving->epoch, epoch);
		moving->written_ms[p] = window.written_ms;
		moving->shift_ms[p] = window.shift_ms;
		moving->to[p] = sim_one_in(3) ? broker.counts[p] : sim_below(broker.counts[p] + 1);
		window_deinit(&window);
		free(cursors[p].text);
	}
	for (uint32_t i = 0; i < moving->rows.fence_count; ++i)
		moving->epoch = MAX(moving->epoch, moving->rows.fences[i].epoch);
	moving->epoch = broker_epoch_above(moving->epoch);
	sim_trace("the group moves to %llu and %llu, epoch %llu", (unsigned long long)moving->to[0],
		  (unsigned long long)moving->to[1], (unsigned long long)moving->epoch);
	loop_timer_init(&moving->timer, broker.loop, on_moving);
	loop_timer_set(&moving->timer, loop_now_ns(broker.loop) + sim_below(broker.delay_ns + 1));
}

// ---- events

static void step_life(void)
{
	struct adapter *life = life_any();

	if (lives_count() < LIVES && sim_one_in(2))
		life_begin();
	else if (life)
		life_end(life, sim_one_in(2));
}

static void step_time(void)
{
	static const uint64_t spans_ms[] = {1, 20, 600, 4000, 32000, 70000};

	world_pass(MS_NS * sim_below(spans_ms[sim_below(ARRAY_SIZE(spans_ms))] + 1));
}

// While one owner is there, and has time to say so: an owner that begins meanwhile counts delays
// otherwise.
static void step_clock(void)
{
	struct adapter *life = life_any();

	if (!life || life->gone || lives_count() != 1 || broker.pending ||
	    !list_empty(&broker.works))
		return;
	broker.fail = 0;
	broker.delay_ns = MS_NS;
	world_pass(3 * S_NS);
	if (life->gone)
		return;
	m.wall_most_ms = MAX(m.wall_most_ms, now_ms());
	world_wall_jump((sim_one_in(2) ? 1 : -1) * (1000 + (int64_t)sim_below(3600000)));
	sim_trace("the wall clock shows %llu", (unsigned long long)now_ms());
	log_source_demand(life->source, 1, 1,
			  0); // it looks at the clock when it has something to do
	world_pass(2 * S_NS);
}

// An idle group: what is committed is read and committed again, some time later.
static void step_keep(void)
{
	struct log_cursor cursors[BROKER_PARTITIONS];

	broker_offsets_read(cursors);
	for (uint32_t p = 0; p < BROKER_PARTITIONS; ++p) {
		broker_commit_late(&cursors[p]);
		free(cursors[p].text);
	}
}

// Who has it open goes on as if nothing had happened, and finds out some time.
static void topic_anew(void)
{
	broker_begin_anew();
	for (uint32_t i = 0; i < m.out_count; ++i)
		m.out[i].current = false;
}

static void step(void)
{
	uint64_t event = sim_below(24);
	struct adapter *life = life_any();

	if (event < 3)
		for (uint64_t count = sim_below(8); count; --count)
			broker_append((uint32_t)sim_below(BROKER_PARTITIONS),
				      sim_one_in(4) ? now_ms() + sim_below(90000) : 0);
	else if (event < 9)
		step_time();
	else if (event < 12 && life && m.out_count < OUT / 2)
		log_source_demand(life->source, (uint32_t)sim_below(40), 1 << 20, 5);
	else if (event < 18)
		settle_some();
	else if (event == 18)
		broker_compact();
	else if (event == 19)
		step_life();
	else if (event == 20 && sim_one_in(6))
		group_move();
	else if (event == 20 && sim_one_in(20))
		topic_anew();
	else if (event == 21 && sim_one_in(2))
		step_keep();
	else if (event == 23)
		step_clock();
	else if (event == 22) {
		broker.delay_ns = sim_one_in(2) ? sim_below(5 * MS_NS) : sim_below(3000 * MS_NS);
		broker.fail = sim_one_in(2) ? 1 + (unsigned)sim_below(10) : 0;
	}
	for (life = m.lives; life; life = life->next) // demand is what is left of it
		if (alive(life) && m.out_count > OUT / 2)
			log_source_demand(life->source, 0, 0, 0);
	world_run();
	for (life = m.lives; life; life = life->next)
		if (alive(life) && life->gone)
			life_end(life, false);
	broker_check(false);
}

static void start(void)
{
	memset(&m, 0, sizeof m);
	broker_start(world_start(S_NS, 1700000000000));
	m.topic = (struct topic){.object.refs = 1, .partitions = BROKER_PARTITIONS};
	m.group = (struct group){.object.refs = 1};
	life_begin();
}

// ---- the end: one owner, begun from what is durable, gets everything that is owed

static void settle_all(void)
{
	while (m.out_count)
		settle(m.out_count - 1, SETTLE_ACK);
}

static void finish(void)
{
	struct adapter *life;

	broker.fail = 0;
	broker.delay_ns = MS_NS;
	m.wall_most_ms = MAX(m.wall_most_ms, now_ms());
	world_wall_jump((int64_t)MAX(m.wall_most_ms - now_ms(), 1000ull));
	for (life = m.lives; life; life = life->next)
		if (alive(life))
			life_end(life, sim_one_in(2));
	world_pass(90 * S_NS); // until all that is late has arrived
	SIM_MUST(broker.pending == 0 && list_empty(&broker.works));
	broker_check(false);
	life = life_begin();
	for (unsigned i = 0; i < 300; ++i) {
		log_source_demand(life->source, 100, 1 << 20, 100);
		world_pass(S_NS);
		settle_all();
	}
	for (uint32_t p = 0; p < BROKER_PARTITIONS; ++p)
		for (uint32_t i = 0; i < broker.counts[p]; ++i)
			SIM_MUST(broker.messages[p][i].acked || broker.messages[p][i].skipped);
	life_end(life, false);
	world_pass(5 * S_NS);
	broker_check(true);
	while ((life = m.lives)) {
		m.lives = life->next;
		SIM_MUST(life->closed && life->works == 0);
		free(life);
	}
	SIM_MUST(m.topic.object.refs == 1 && m.group.object.refs == 1);
	broker_end();
	world_end();
}

const struct sim_engine sim_kafka = {"kafka", 200, start, step, finish};
