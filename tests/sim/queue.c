// The held set of a queue backend's source, over a broker that is slow, refuses, leaves writes in
// doubt, doubles copies and loses channels: settles of all kinds, owners that close or die, memory
// that is not there, messages with a due time or an end, messages without an id, both clocks.
//
// What is known of the messages, and what must hold of them, is in queue_model.c; here are the
// owner, its channel, its demand and its bounds.

#include "tests/sim/queue_model.h"
#include "tests/sim/sim.h"

#include "core/base/list.h"

#define NEVER UINT64_MAX

enum { RUNS = 6, PARTITIONS = 3 };

struct request {
	struct list all;
	uint32_t count;
	struct queue_settled settled[QUEUE_MESSAGES];
};

static struct {
	struct held *held; // NULL: the group has no owner
	struct held_limits limits;
	uint32_t partitions;
	struct list requests;
	uint64_t epoch, ids, quiet_since_ms;
	uint32_t demand_messages, demand_rejected;
	uint64_t demand_bytes;
	bool open, closing, was_lost, void_told, crowded;
	bool left_out; // there was no memory for a delivery: all later ones stay with the broker
	bool faults, anonymous, ends, sizes; // kinds of schedules
	bool calm;                           // few messages, always demand, few losses
	bool deadly;                         // owners do not live long
} m;

static struct held_time now(void)
{
	return queue_broker.now;
}

// ---- memory that is not there

static unsigned allocations_until_failure; // 0: none fails
static bool allocation_failed;

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
	// A table that cannot grow goes on as it is, which the model does not see.
	if (count == 1 && allocations_until_failure && --allocations_until_failure == 0) {
		allocation_failed = true;
		return NULL;
	}
	return __real_calloc(count, size);
}

static void memory_may_fail(bool may)
{
	allocations_until_failure =
		may && m.faults && sim_one_in(60) ? 1 + (unsigned)sim_below(2) : 0;
}

// ---- what is handed out

static void check_demand(const struct delivery *delivery)
{
	if (delivery->rejected) {
		SIM_MUST(m.demand_rejected > 0);
		--m.demand_rejected;
		return;
	}
	SIM_MUST(m.demand_messages > 0 && m.demand_bytes > 0);
	--m.demand_messages;
	m.demand_bytes -= MIN(m.demand_bytes, (uint64_t)delivery->size);
}

static void on_deliver(void *ctx, const struct delivery *deliveries, size_t count)
{
	SIM_MUST(m.open && !m.closing && count > 0 && !m.void_told);
	for (size_t i = 0; i < count; ++i) {
		SIM_EQUAL(deliveries[i].epoch, m.epoch);
		check_demand(&deliveries[i]);
		queue_model_delivered(&deliveries[i]);
	}
}

// ---- what the set asks for

static void on_ack(void *ctx, const uint64_t *tags, size_t count)
{
	queue_broker_ack(tags, count);
}

static void on_barrier(void *ctx)
{
	queue_broker_barrier();
}

static bool on_write(void *ctx, const struct queue_copy *copy)
{
	struct queue_message *message = queue_model_of(copy->record);

	sim_trace("  write %llu: %u, attempts %u, due %llu%s", (unsigned long long)copy->number,
		  queue_model_index(message), copy->attempts, (unsigned long long)copy->due_ms,
		  copy->renewal ? ", a renewal" : "");
	SIM_MUST(copy->attempts <= message->ended && copy->partition == message->partition);
	queue_broker_write(copy, queue_model_index(message));
	return true;
}

static void on_consume(void *ctx, uint32_t prefetch)
{
	SIM_MUST(prefetch + queue_broker.unacked <= m.limits.messages_max || !prefetch);
	queue_broker_consume(prefetch);
}

static void on_lost(void *ctx)
{
	SIM_MUST(m.void_told);
	m.void_told = false;
}

static bool reopen;

static void on_reopen(void *ctx)
{
	reopen = true;
}

static bool closed;

static void on_closed(void *ctx)
{
	closed = true;
}

static const struct held_ops ops = {.deliver = on_deliver,
				    .ack = on_ack,
				    .barrier = on_barrier,
				    .write = on_write,
				    .consume = on_consume,
				    .lost = on_lost,
				    .reopen = on_reopen,
				    .closed = on_closed};

// ---- owners and channels

static void request_free(struct request *request)
{
	list_unlink(&request->all);
	free(request);
}

static void channel_lose(void)
{
	queue_model_void();
	queue_broker_lose();
	m.open = m.left_out = false;
	m.was_lost = true;
	m.void_told = !m.closing;
	held_lost(m.held);
}

static void channel_open(void)
{
	queue_broker_open();
	m.epoch += 1 + sim_below(1000);
	m.open = true;
	held_opened(m.held, m.epoch, now());
}

static void owner_begin(void)
{
	sim_trace("an owner begins");
	SIM_EQUAL(held_new(&m.limits, m.partitions, &ops, NULL, &m.held), 0);
	m.closing = m.was_lost = m.void_told = m.crowded = closed = reopen = false;
	m.demand_messages = m.demand_rejected = 0;
	m.demand_bytes = 0;
	m.quiet_since_ms = 0;
	queue_model.acked = queue_model.dead = 0;
}

static void owner_end(void)
{
	queue_model_void();
	queue_broker_die();
	queue_model_forget();
	held_free(m.held);
	m.held = NULL;
	m.open = m.void_told = m.left_out = false;
}

static void owner_die(void)
{
	sim_trace("the owner dies");
	owner_end();
	LIST_FOREACH(pos, next, &m.requests)
	{
		request_free(LIST_ENTRY(pos, struct request, all));
	}
}

static void owner_close(void)
{
	sim_trace("close");
	m.closing = true;
	queue_model_give_up();
	held_close(m.held);
}

// ---- what comes from the broker

static void set_id(uint8_t *record, uint32_t message)
{
	le32_put(record + 8, message);
	le64_put(record + 12, ++m.ids);
}

static void on_arrived(const struct queue_instance *instance)
{
	struct queue_message *message = &queue_model.messages[instance->message];
	struct queue_arrival arrival = {.epoch = m.epoch,
					.tag = instance->tag,
					.partition = message->partition,
					.attempts = instance->attempts,
					.due_ms = instance->due_ms,
					.stored_ms = instance->stored_ms,
					.given_back = instance->given_back,
					.anonymous = message->anonymous && !instance->copy};

	sim_trace("  from the broker: %u, attempts %u, tag %llu%s", instance->message,
		  instance->attempts, (unsigned long long)instance->tag,
		  instance->given_back ? ", given back" : "");
	SIM_EQUAL(buf_new(instance->size, &arrival.buf), 0);
	memcpy(arrival.buf->data, instance->record, instance->size);
	arrival.record = arrival.buf->data;
	if (arrival.anonymous)
		set_id(arrival.buf->data, instance->message);
	allocation_failed = false;
	memory_may_fail(true);
	held_arrived(m.held, &arrival, now());
	memory_may_fail(false);
	m.left_out = m.left_out || (allocation_failed && !m.closing);
	if (!m.closing && !m.left_out)
		queue_model_arrived(instance);
	buf_unref(arrival.buf);
}

static void on_passed(void)
{
	held_passed(m.held, m.epoch);
}

static void on_cancelled(void)
{
	held_cancelled(m.held, m.epoch);
}

static void on_written(uint64_t number, enum queue_outcome outcome)
{
	held_written(m.held, number, outcome, now());
}

static void on_doubled(uint32_t message)
{
	queue_model.messages[message].excused = true;
}

static const struct queue_events events = {.arrived = on_arrived,
					   .passed = on_passed,
					   .cancelled = on_cancelled,
					   .written = on_written,
					   .doubled = on_doubled};

// ---- settling

static void on_done(void *ctx, enum code code)
{
	struct request *request = ctx;

	sim_trace("  a settle of %u is answered: %s", request->count, code_name(code));
	for (uint32_t i = 0; i < request->count && code == CODE_OK; ++i)
		queue_model_durable(&request->settled[i]);
	SIM_MUST(code == CODE_OK || m.was_lost || m.closing || queue_model.forgets);
	request_free(request);
}

static uint32_t random_delay_ms(void)
{
	switch (sim_below(6)) {
	case 0: return 0;
	case 1: return HELD_NEAR_MS - 1 + (uint32_t)sim_below(60000);
	case 2: return (uint32_t)sim_below(HELD_NEAR_MS);
	default: return (uint32_t)sim_below(3000);
	}
}

static enum settle_verb random_verb(const struct queue_message *message)
{
	static const enum settle_verb verbs[] = {SETTLE_ACK,   SETTLE_ACK,  SETTLE_ACK,
						 SETTLE_NACK,  SETTLE_NACK, SETTLE_RELEASE,
						 SETTLE_REJECT};
	enum settle_verb verb = verbs[sim_below(ARRAY_SIZE(verbs))];

	if (message->holding == HOLDING_COPYING)
		return verb == SETTLE_RELEASE ? verb : SETTLE_DEAD;
	if ((m.anonymous || message->attempt >= QUEUE_ATTEMPTS - 1) && verb == SETTLE_NACK)
		return SETTLE_ACK;
	return message->attempt >= QUEUE_ATTEMPTS - 1 ? SETTLE_ACK : verb;
}

// A run of settles from a message that is out; the whole run is settled in the model.
static struct settle settle_make(struct queue_message *message, enum settle_verb verb,
				 struct request *request)
{
	struct settle settle = {.epoch = m.epoch,
				.offset = message->offset,
				.partition = message->partition,
				.attempt = message->attempt,
				.delay_ms = random_delay_ms(),
				.verb = (uint8_t)verb};
	enum queue_holding holding = message->holding;
	struct queue_settled settled;
	bool durable;

	do {
		durable = queue_model_settled(message, &settle, &settled);
		if (durable && request)
			request->settled[request->count++] = settled;
		message = queue_model_out(settle.partition, settle.offset + ++settle.count, holding,
					  settle.attempt);
	} while (message && settle.count < 20 && !sim_one_in(4));
	sim_trace("settle %u/%llu and %u more, attempt %u: verb %u, %u ms", settle.partition,
		  (unsigned long long)settle.offset, settle.count - 1, settle.attempt, verb,
		  settle.delay_ms);
	return settle;
}

static struct request *request_new(void)
{
	struct request *request = malloc(sizeof *request);

	SIM_MUST(request);
	request->count = 0;
	list_push_back(&m.requests, &request->all);
	return request;
}

static void settle_send(struct settle *settles, size_t count, struct request *request)
{
	int r = held_settle(m.held, settles, count, request ? on_done : NULL, request, now());

	SIM_EQUAL(r, 0);
	for (size_t i = 0; i < count; ++i) {
		SIM_EQUAL(settles[i].settled, settles[i].count);
		SIM_EQUAL(settles[i].code, CODE_OK);
	}
}

static void settle_some(bool end)
{
	struct settle settles[RUNS];
	struct request *request = sim_one_in(2) ? request_new() : NULL;
	size_t count = 0;

	for (uint32_t i = end ? 0 : (uint32_t)sim_below(queue_model.count + 1);
	     i < queue_model.count && count < RUNS; ++i) {
		struct queue_message *message = &queue_model.messages[i];
		enum settle_verb last =
			message->holding == HOLDING_COPYING ? SETTLE_DEAD : SETTLE_ACK;

		if (message->holding == HOLDING_OUT || message->holding == HOLDING_COPYING)
			settles[count++] =
				settle_make(message, end ? last : random_verb(message), request);
	}
	if (count)
		settle_send(settles, count, request);
	else if (request)
		request_free(request);
}

// A receipt of another attempt or epoch, or of what is not out.
static void settle_wrongly(void)
{
	struct queue_message *message = &queue_model.messages[sim_below(queue_model.count)];
	struct settle settle = {.epoch = m.epoch,
				.offset = message->offset ? message->offset : sim_below(100),
				.count = 1,
				.partition = message->partition,
				.attempt = message->attempt,
				.verb = sim_one_in(2) ? SETTLE_ACK : SETTLE_NACK};

	if (message->holding == HOLDING_COPYING && settle.verb == SETTLE_NACK)
		return; // the right one, and STALE all the same
	if (queue_model_out(settle.partition, settle.offset, HOLDING_OUT, settle.attempt) ||
	    queue_model_out(settle.partition, settle.offset, HOLDING_COPYING, settle.attempt)) {
		if (sim_one_in(2))
			settle.attempt += sim_one_in(2) ? 1 : UINT32_MAX;
		else
			settle.epoch -= 1;
	}
	sim_trace("settle %u/%llu wrongly", settle.partition, (unsigned long long)settle.offset);
	SIM_EQUAL(held_settle(m.held, &settle, 1, NULL, NULL, now()), 0);
	SIM_EQUAL(settle.settled, 0);
	SIM_EQUAL(settle.code, CODE_STALE);
}

// ---- what must hold between two events

static uint64_t held_count(void)
{
	struct held_backlog backlog = held_backlog(m.held);

	return backlog.ready + backlog.in_flight + backlog.retrying + backlog.delayed;
}

static void check_backlog(void)
{
	struct held_backlog backlog = held_backlog(m.held);
	uint64_t out = queue_model_count_out(), held = held_count();

	SIM_EQUAL(backlog.in_flight, m.open && !m.closing ? out : backlog.in_flight);
	SIM_EQUAL(backlog.acked, queue_model.acked);
	SIM_EQUAL(backlog.dead, queue_model.dead);
	if (!m.open || m.closing || m.left_out || !queue_broker_is_quiet())
		return;
	SIM_MUST(held >= queue_broker.unacked && held <= queue_broker.unacked + backlog.twice);
	SIM_MUST(backlog.twice <=
		 queue_broker_count(QUEUE_READY) + queue_broker_count(QUEUE_RETRY));
}

static void check_bounds(void)
{
	bool no_limbo = !m.was_lost && !m.limits.renew_ms;
	bool quiet =
		m.quiet_since_ms != NEVER && now().steady_ms >= m.quiet_since_ms + HELD_QUIET_MS;
	bool crowded = m.crowded && held_bytes(m.held) > m.limits.crowd_bytes;
	bool stops = held_bytes(m.held) > m.limits.bytes_max || (no_limbo && (quiet || crowded));

	SIM_MUST(queue_broker.unacked <= m.limits.messages_max);
	SIM_MUST(held_count() <= 2 * m.limits.messages_max); // renewed ones give their place away
	SIM_MUST(!m.open || !stops || !queue_broker.prefetch);
	// No delivery waits so long that a broker would close the channel.
	SIM_MUST(!m.limits.renew_ms || m.faults || m.closing || m.left_out ||
		 now().steady_ms - queue_broker_oldest_ms() < 2 * m.limits.renew_ms + HELD_NEAR_MS);
}

static void check(void)
{
	queue_model_check();
	if (!m.held)
		return;
	check_backlog();
	check_bounds();
}

// ---- time

static void run(void)
{
	if (!m.held)
		return;
	memory_may_fail(true);
	held_run(m.held, now());
	memory_may_fail(false);
	if (m.demand_messages && m.demand_bytes)
		m.quiet_since_ms = NEVER;
	else if (m.quiet_since_ms == NEVER)
		m.quiet_since_ms = now().steady_ms;
	if (reopen && m.open) {
		channel_lose();
		reopen = false;
		held_run(m.held, now());
	}
	if (!closed)
		return;
	SIM_MUST(list_empty(&m.requests));
	sim_trace("  closed");
	closed = false;
	owner_end();
}

static uint64_t next_ms(void)
{
	uint64_t next = queue_broker_next_ms();

	return m.held ? MIN(next, held_next_ms(m.held, now())) : next;
}

static void settle_down(void)
{
	unsigned rounds = 0;

	do {
		queue_broker_work();
		run();
		SIM_MUST(++rounds < 1000);
	} while (next_ms() <= now().steady_ms);
}

static void pass(uint64_t ms)
{
	uint64_t end = now().steady_ms + ms, next;

	while ((next = next_ms()) <= end) {
		queue_broker.now.wall_ms += next - now().steady_ms;
		queue_broker.now.steady_ms = next;
		settle_down();
	}
	queue_broker.now.wall_ms += end - now().steady_ms;
	queue_broker.now.steady_ms = end;
	queue_model_wall_most_ms();
	settle_down();
}

// ---- events

static void publish(void)
{
	uint8_t record[QUEUE_RECORD];
	uint64_t due_ms = m.anonymous || !sim_one_in(12) ? 0
			  : sim_one_in(4)                ? now().wall_ms - sim_below(1000)
							 : now().wall_ms + 1 + sim_below(150000);
	uint32_t ttl_ms = m.ends && sim_one_in(6)
				  ? 1 + (uint32_t)sim_below(sim_one_in(2) ? 3000 : 7200000)
				  : 0;
	struct queue_message *message =
		queue_model_make((uint32_t)sim_below(m.partitions),
				 4 + sim_below(m.sizes ? 396 : 40), due_ms, ttl_ms, record);
	uint32_t index = queue_model_index(message);

	message->anonymous = m.anonymous;
	queue_broker_publish(index, record, message->size, due_ms);
	if (m.anonymous || !m.faults || !sim_one_in(20))
		return;
	message->excused = true; // its producer sends it once more
	queue_broker_publish(index, record, message->size, due_ms);
}

static void step_publish(void)
{
	uint32_t most = m.calm ? 12 : QUEUE_MESSAGES;

	for (uint64_t count = 1 + sim_below(6); count && queue_model.count < most; --count)
		publish();
}

static void step_time(void)
{
	static const uint64_t spans_ms[] = {1, 10, 100, 700, 4000, 32000, 130000};
	uint64_t ms = sim_below(spans_ms[sim_below(ARRAY_SIZE(spans_ms))] + 1);

	sim_trace("%llu ms pass", (unsigned long long)ms);
	pass(ms);
	if (sim_one_in(60))
		queue_model_wall_jump((sim_one_in(2) ? 1 : -1) *
				      (int64_t)(1000 + sim_below(sim_one_in(2) ? 20000 : 3600000)));
}

static void step_faults(void)
{
	queue_broker.latency_ms = sim_one_in(2) ? sim_below(5) : sim_below(1500);
	queue_broker.refuse_in = queue_broker.doubt_in = queue_broker.double_in = 0;
	if (m.faults && sim_one_in(2)) {
		queue_broker.refuse_in = 2 + (unsigned)sim_below(6);
		queue_broker.doubt_in = 2 + (unsigned)sim_below(6);
		queue_broker.double_in = 2 + (unsigned)sim_below(8);
	}
}

static void demand(uint32_t messages, uint64_t bytes, uint32_t rejected)
{
	sim_trace("demand %u messages, %llu bytes, %u rejected", messages,
		  (unsigned long long)bytes, rejected);
	m.demand_messages = messages;
	m.demand_bytes = bytes;
	m.demand_rejected = rejected;
	if (messages && bytes)
		m.quiet_since_ms = NEVER;
	held_demand(m.held, messages, bytes, rejected, now());
}

static void step_demand(void)
{
	if (m.calm)
		demand(100, 1 << 20, 10);
	else if (sim_one_in(4))
		demand(0, 0, (uint32_t)sim_below(3));
	else
		demand((uint32_t)sim_below(30), sim_below(3000), (uint32_t)sim_below(10));
}

static void step_channel(void)
{
	if (!m.open && !m.closing)
		channel_open();
	else if (m.open && sim_one_in(3))
		channel_lose();
}

static void step_owner(void)
{
	if (sim_one_in(2))
		owner_die();
	else if (!m.closing)
		owner_close();
}

static void step_crowd(void)
{
	m.crowded = sim_one_in(4);
	held_crowd(m.held, m.crowded);
}

static void step_owned(uint64_t event)
{
	bool open = m.open && !m.closing, disturbed = !m.calm || sim_one_in(8);

	if (event == 13 && disturbed)
		step_channel();
	else if (event == 12 && disturbed && sim_one_in(m.deadly ? 1 : 3))
		step_owner();
	else if (event == 14)
		step_crowd();
	else if (event < 17 && !m.closing)
		step_demand();
	else if (event == 17 && open && queue_model.count)
		settle_wrongly();
	else if (open)
		settle_some(false);
}

static void step(void)
{
	uint64_t event = sim_below(22);

	if (!m.held && sim_one_in(3))
		owner_begin();
	if (m.held && !m.open && !m.closing && sim_one_in(3))
		channel_open();
	if (event < 3)
		step_publish();
	else if (event < 11)
		step_time();
	else if (event == 11)
		step_faults();
	else if (m.held)
		step_owned(event);
	settle_down();
	check();
}

static void start(void)
{
	static const uint32_t helds[] = {1, 3, 8, 20, 64};

	memset(&m, 0, sizeof m);
	allocations_until_failure = 0;
	list_init(&m.requests);
	m.faults = sim_one_in(2);
	m.anonymous = sim_one_in(6);
	m.ends = sim_one_in(3);
	m.sizes = sim_one_in(3);
	m.calm = sim_one_in(6);
	m.deadly = sim_one_in(4);
	m.partitions = 1 + (uint32_t)sim_below(PARTITIONS);
	m.limits = (struct held_limits){
		.messages_max = helds[sim_below(ARRAY_SIZE(helds))],
		.bytes_max = sim_one_in(2) ? 64u << 20 : 500 + sim_below(8000),
		.crowd_bytes = sim_below(2000),
		.renew_ms = m.anonymous || sim_one_in(2) ? 0 : 20000 + sim_below(60000),
		.ended_max = sim_one_in(10) ? 1 + (uint32_t)sim_below(8) : 4096,
		.acks_max = sim_one_in(2) ? 1 + (uint32_t)sim_below(32) : HELD_ACKS_MAX,
	};
	m.epoch = sim_below(1ull << 40);
	queue_model_start(m.limits.ended_max < QUEUE_MESSAGES);
	queue_broker_start(&events, (struct held_time){1700000000000, 1 + sim_below(1000000)});
	queue_broker.latency_ms = m.calm ? 1000 : 5;
	owner_begin();
	channel_open();
}

// ---- the end: everything comes to its end

static uint32_t at_broker(void)
{
	return queue_broker_count(QUEUE_READY) + queue_broker_count(QUEUE_RETRY) +
	       queue_broker_count(QUEUE_UNACKED);
}

static void owner_ready(void)
{
	for (unsigned i = 0; i < 100 && m.held && m.closing; ++i)
		pass(1000);
	SIM_MUST(!m.held || !m.closing);
	if (!m.held)
		owner_begin();
	if (!m.open)
		channel_open();
	m.crowded = false;
	held_crowd(m.held, false);
}

static void finish(void)
{
	queue_broker.refuse_in = queue_broker.doubt_in = queue_broker.double_in = 0;
	queue_broker.latency_ms = 2;
	m.faults = false;
	owner_ready();
	pass(3000);
	owner_ready();
	queue_model_wall_jump((int64_t)(queue_model_wall_most_ms() - now().wall_ms));
	for (unsigned round = 0;
	     round < 400 && (queue_model_any_owed() || at_broker() || !list_empty(&m.requests));
	     ++round) {
		demand(1000, 1 << 20, 100);
		pass(round % 8 == 7 ? 4000 * round : 1000);
		for (unsigned i = 0; i < 1 + QUEUE_MESSAGES / RUNS; ++i)
			settle_some(true);
		settle_down();
		check();
	}
	SIM_MUST(!queue_model_any_owed());
	SIM_EQUAL(at_broker(), 0);
	SIM_MUST(list_empty(&m.requests));
	SIM_EQUAL(held_bytes(m.held), 0);
	owner_close();
	for (unsigned i = 0; i < 100 && m.held; ++i)
		pass(1000);
	SIM_MUST(!m.held && list_empty(&m.requests));
}

const struct sim_engine sim_queue = {"queue", 200, start, step, finish};
