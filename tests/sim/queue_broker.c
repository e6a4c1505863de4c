// The queue hands out what was given back before anything else, then in the order in which it came.
// A copy with a due time waits in the retry store and comes to the queue some time before that, by
// the broker's own clock.
//
// Two pipes, to the broker and from it: each entry has a time that is not before that of the one
// ahead of it. A write is a piece of work of its own: it is stored or refused at one time and
// answered at a later one.

#include "tests/sim/queue_broker.h"

#include "tests/sim/sim.h"

struct queue_broker queue_broker;

enum { PIPE = 2048, WRITES = 512 };
enum kind { ACK, BARRIER, CONSUME, DELIVER, PASSED, CANCELLED };

struct entry {
	uint64_t at_ms, value; // tag, or prefetch
	uint32_t instance;
	enum kind kind;
};

struct pipe {
	struct entry entries[PIPE];
	uint32_t head, count;
	uint64_t last_ms;
};

struct write {
	struct queue_instance copy;
	uint64_t number, at_ms;
	enum queue_outcome outcome;
	bool carried_out;
};

static struct pipe to, from;
static struct queue_instance instances[QUEUE_INSTANCES];
static uint32_t instance_count, write_count; // that were ever in use
static struct write writes[WRITES];
static uint64_t last_position, last_tag;
static uint32_t consumer, allowed, own; // of the consumer that the broker knows

// ---- pipes

static uint64_t later_ms(void)
{
	return queue_broker.now.steady_ms + sim_below(queue_broker.latency_ms + 1);
}

static void pipe_put(struct pipe *pipe, enum kind kind, uint64_t value, uint32_t instance)
{
	SIM_MUST(pipe->count < PIPE);
	pipe->last_ms = MAX(pipe->last_ms, later_ms());
	pipe->entries[(pipe->head + pipe->count++) % PIPE] =
		(struct entry){pipe->last_ms, value, instance, kind};
}

static bool pipe_take(struct pipe *pipe, struct entry *ret)
{
	if (!pipe->count || pipe->entries[pipe->head].at_ms > queue_broker.now.steady_ms)
		return false;
	*ret = pipe->entries[pipe->head];
	pipe->head = (pipe->head + 1) % PIPE;
	--pipe->count;
	return true;
}

// ---- what it holds

static struct queue_instance *instance_new(void)
{
	for (uint32_t i = 0; i < instance_count; ++i)
		if (instances[i].place == QUEUE_GONE)
			return &instances[i];
	SIM_MUST(instance_count < QUEUE_INSTANCES);
	return &instances[instance_count++];
}

void queue_broker_publish(uint32_t message, const uint8_t *record, uint32_t size, uint64_t due_ms)
{
	struct queue_instance *instance = instance_new();

	SIM_MUST(size <= sizeof instance->record);
	*instance = (struct queue_instance){.position = ++last_position,
					    .due_ms = due_ms,
					    .stored_ms = (int64_t)queue_broker.now.wall_ms,
					    .message = message,
					    .size = size,
					    .place = QUEUE_READY};
	memcpy(instance->record, record, size);
}

static struct queue_instance *first_ready(void)
{
	struct queue_instance *first = NULL;

	for (uint32_t i = 0; i < instance_count; ++i) {
		struct queue_instance *at = &instances[i];

		if (at->place != QUEUE_READY)
			continue;
		if (!first || at->given_back > first->given_back ||
		    (at->given_back == first->given_back && at->position < first->position))
			first = at;
	}
	return first;
}

static void hand_out(void)
{
	struct queue_instance *instance;

	while (queue_broker.open && own < allowed && (instance = first_ready())) {
		instance->place = QUEUE_UNACKED;
		instance->tag = ++last_tag;
		instance->consumer = consumer;
		instance->handed_ms = queue_broker.now.steady_ms;
		++own;
		++queue_broker.unacked;
		pipe_put(&from, DELIVER, instance->tag, (uint32_t)(instance - instances));
	}
}

static void ack(uint64_t tag)
{
	for (uint32_t i = 0; i < instance_count; ++i) {
		if (instances[i].place != QUEUE_UNACKED || instances[i].tag != tag)
			continue;
		instances[i].place = QUEUE_GONE;
		--queue_broker.unacked;
		own -= instances[i].consumer == consumer;
		return;
	}
	SIM_MUST(!"a tag that is not handed out");
}

static void carry_out(const struct entry *entry)
{
	if (entry->kind == ACK) {
		ack(entry->value);
	} else if (entry->kind == BARRIER) {
		pipe_put(&from, PASSED, 0, 0);
	} else if (entry->value) {
		++consumer;
		own = 0;
		allowed = (uint32_t)entry->value;
	} else {
		allowed = 0;
		pipe_put(&from, CANCELLED, 0, 0);
	}
}

// ---- the channel

void queue_broker_open(void)
{
	SIM_MUST(!queue_broker.open);
	sim_trace("the channel is open");
	queue_broker.open = true;
	queue_broker.prefetch = 0;
	queue_broker.barrier = false;
	allowed = own = 0;
	to.count = from.count = 0;
}

static void give_back(void)
{
	for (uint32_t i = 0; i < instance_count; ++i) {
		if (instances[i].place != QUEUE_UNACKED)
			continue;
		instances[i].place = QUEUE_READY;
		instances[i].given_back = true;
	}
	queue_broker.unacked = 0;
}

// Some of what is on its way has arrived.
void queue_broker_lose(void)
{
	uint32_t arrive = (uint32_t)sim_below(to.count + 1);

	SIM_MUST(queue_broker.open);
	sim_trace("the channel is lost");
	for (uint32_t i = 0; i < arrive; ++i)
		carry_out(&to.entries[(to.head + i) % PIPE]);
	queue_broker.open = false;
	to.count = from.count = 0;
	give_back();
}

void queue_broker_ack(const uint64_t *tags, size_t count)
{
	SIM_MUST(queue_broker.open && !queue_broker.barrier && count > 0 && count <= HELD_ACKS_MAX);
	for (size_t i = 0; i < count; ++i)
		pipe_put(&to, ACK, tags[i], 0);
}

void queue_broker_barrier(void)
{
	SIM_MUST(queue_broker.open && !queue_broker.barrier);
	queue_broker.barrier = true;
	pipe_put(&to, BARRIER, 0, 0);
}

void queue_broker_consume(uint32_t prefetch)
{
	SIM_MUST(queue_broker.open && (prefetch > 0) != (queue_broker.prefetch > 0));
	sim_trace("  consume %u", prefetch);
	queue_broker.prefetch = prefetch;
	pipe_put(&to, CONSUME, prefetch, 0);
}

// ---- writes

void queue_broker_write(const struct queue_copy *copy, uint32_t message)
{
	struct write *write = writes;

	while (write < writes + write_count && write->number)
		++write;
	SIM_MUST(write < writes + WRITES && copy->size <= QUEUE_RECORD);
	write_count = MAX(write_count, (uint32_t)(write - writes) + 1);
	*write = (struct write){.number = copy->number, .at_ms = later_ms()};
	write->copy = (struct queue_instance){.due_ms = copy->due_ms,
					      .stored_ms = copy->stored_ms,
					      .message = message,
					      .attempts = copy->attempts,
					      .size = copy->size,
					      .copy = true};
	memcpy(write->copy.record, copy->record, copy->size);
	++queue_broker.writes;
}

// It comes to the queue up to 70 s before its time, sometimes long before, sometimes late.
static void store(const struct write *write)
{
	struct queue_instance *instance = instance_new();
	uint64_t wall_ms = queue_broker.now.wall_ms, early_ms = sim_below(70000), wait_ms = 0;

	if (sim_one_in(10))
		early_ms = UINT64_MAX;
	if (write->copy.due_ms > wall_ms + early_ms && early_ms != UINT64_MAX)
		wait_ms = write->copy.due_ms - wall_ms - early_ms;
	if (queue_broker.latency_ms > 100 && sim_one_in(2))
		wait_ms += sim_below(30000);
	*instance = write->copy;
	instance->place = QUEUE_RETRY;
	instance->ready_ms = queue_broker.now.steady_ms + wait_ms;
}

static bool is_drawn(unsigned one_in)
{
	return one_in && sim_one_in(one_in);
}

static void write_carry_out(struct write *write)
{
	write->carried_out = true;
	write->outcome = is_drawn(queue_broker.refuse_in)  ? QUEUE_REFUSED
			 : is_drawn(queue_broker.doubt_in) ? QUEUE_DOUBT
							   : QUEUE_WRITTEN;
	if (write->outcome == QUEUE_WRITTEN || (write->outcome == QUEUE_DOUBT && sim_one_in(2))) {
		store(write);
		if (write->outcome == QUEUE_DOUBT)
			queue_broker.events->doubled(write->copy.message);
	}
	write->at_ms = later_ms();
}

static void write_work(struct write *write)
{
	uint64_t number = write->number;

	if (!number || write->at_ms > queue_broker.now.steady_ms)
		return;
	if (!write->carried_out) {
		write_carry_out(write);
		return;
	}
	write->number = 0;
	--queue_broker.writes;
	sim_trace("  write %llu: %s", (unsigned long long)number,
		  write->outcome == QUEUE_WRITTEN   ? "written"
		  : write->outcome == QUEUE_REFUSED ? "refused"
						    : "in doubt");
	queue_broker.events->written(number, write->outcome);
}

void queue_broker_die(void)
{
	if (queue_broker.open)
		queue_broker_lose();
	for (uint32_t i = 0; i < write_count; ++i) {
		if (writes[i].number && !writes[i].carried_out && sim_one_in(2))
			store(&writes[i]);
		writes[i].number = 0;
	}
	queue_broker.writes = 0;
}

// ---- work

static void arrive(struct queue_instance *instance, uint64_t tag)
{
	SIM_MUST(instance->tag == tag && instance->place == QUEUE_UNACKED);
	queue_broker.events->arrived(instance);
}

static void tell(const struct entry *entry)
{
	if (entry->kind == DELIVER) {
		arrive(&instances[entry->instance], entry->value);
	} else if (entry->kind == PASSED) {
		queue_broker.barrier = false;
		queue_broker.events->passed();
	} else {
		queue_broker.events->cancelled();
	}
}

static void retry_work(void)
{
	for (uint32_t i = 0; i < instance_count; ++i) {
		struct queue_instance *at = &instances[i], *twin;

		if (at->place != QUEUE_RETRY || at->ready_ms > queue_broker.now.steady_ms)
			continue;
		at->place = QUEUE_READY;
		at->position = ++last_position;
		if (!is_drawn(queue_broker.double_in))
			continue;
		twin = instance_new();
		*twin = *at;
		twin->position = ++last_position;
		queue_broker.events->doubled(at->message);
	}
}

void queue_broker_work(void)
{
	struct entry entry;

	retry_work();
	while (pipe_take(&to, &entry))
		carry_out(&entry);
	hand_out();
	while (pipe_take(&from, &entry))
		tell(&entry);
	for (uint32_t i = 0; queue_broker.writes && i < write_count; ++i)
		write_work(&writes[i]);
}

uint64_t queue_broker_next_ms(void)
{
	uint64_t next_ms = UINT64_MAX;

	if (to.count)
		next_ms = to.entries[to.head].at_ms;
	if (from.count)
		next_ms = MIN(next_ms, from.entries[from.head].at_ms);
	for (uint32_t i = 0; queue_broker.writes && i < write_count; ++i)
		if (writes[i].number)
			next_ms = MIN(next_ms, writes[i].at_ms);
	for (uint32_t i = 0; i < instance_count; ++i)
		if (instances[i].place == QUEUE_RETRY)
			next_ms = MIN(next_ms, instances[i].ready_ms);
	return next_ms;
}

// ---- looking

bool queue_broker_is_quiet(void)
{
	return !to.count && !from.count && !queue_broker.writes;
}

uint32_t queue_broker_count(enum queue_place place)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < instance_count; ++i)
		count += instances[i].place == place;
	return count;
}

uint32_t queue_broker_instances(uint32_t message, uint32_t below)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < instance_count; ++i)
		count += instances[i].place != QUEUE_GONE && instances[i].message == message &&
			 instances[i].attempts < below;
	return count;
}

uint64_t queue_broker_oldest_ms(void)
{
	uint64_t oldest_ms = queue_broker.now.steady_ms;

	for (uint32_t i = 0; i < instance_count; ++i)
		if (instances[i].place == QUEUE_UNACKED)
			oldest_ms = MIN(oldest_ms, instances[i].handed_ms);
	return oldest_ms;
}

bool queue_broker_is_written(uint32_t message)
{
	for (uint32_t i = 0; queue_broker.writes && i < write_count; ++i)
		if (writes[i].number && writes[i].copy.message == message)
			return true;
	return false;
}

void queue_broker_start(const struct queue_events *events, struct held_time now)
{
	queue_broker = (struct queue_broker){.events = events, .now = now, .latency_ms = 5};
	to.count = from.count = 0;
	to.last_ms = from.last_ms = 0;
	instance_count = 0;
	consumer = allowed = own = 0;
	last_position = last_tag = 0;
	write_count = 0;
}
