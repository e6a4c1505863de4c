// The model knows of each message how many attempts have ended and how many of them are surely
// kept, where the current owner has it, and whether its end was told as durable. Whether a message
// is at the broker, and how often, it looks up there.
//
// A message may be there twice by the broker's doing, or by a death or a loss between a copy and
// its original's acknowledgement: such a one is `excused` from what only holds for one that is
// there once. It does not know of channels, demand and bounds: tests/sim/queue.c does.

#include "tests/sim/queue_model.h"

#include "tests/sim/sim.h"

struct queue_model queue_model;

static struct held_time now(void)
{
	return queue_broker.now;
}

uint64_t queue_model_wall_most_ms(void)
{
	return queue_model.wall_most_ms = MAX(queue_model.wall_most_ms, now().wall_ms);
}

static bool has_expired(const struct queue_message *message)
{
	return message->expiry_ms < queue_model_wall_most_ms();
}

// It need not be at the broker any more.
static bool has_ended(const struct queue_message *message)
{
	return message->settled || message->promised || message->unsure || has_expired(message);
}

// A set that remembers only a few ids may hand out twice whatever is there twice.
static bool is_excused(const struct queue_message *message)
{
	return message->excused || queue_model.forgets;
}

// ---- what is handed out

static void check_time(const struct delivery *delivery, const struct queue_message *message)
{
	uint32_t ended = delivery->attempt - 1;

	if (delivery->rejected)
		return;
	SIM_MUST(now().wall_ms <= message->expiry_ms);
	SIM_MUST(now().steady_ms >= message->due_at[ended]);
	SIM_MUST(ended || queue_model_wall_most_ms() >= message->due_ms);
	if (message->nacked && ended == message->nacked && !is_excused(message))
		SIM_MUST(now().steady_ms + queue_model.forward_ms - message->nack_forward_ms >=
			 message->nack_until_ms);
}

// What is new comes in order, and a message that was released comes before what lies behind it;
// what was due comes before what is new.
static void check_order(const struct delivery *delivery, const struct queue_message *message)
{
	if (delivery->rejected || !message->fresh || queue_model.forgets)
		return;
	for (uint32_t i = 0; i < queue_model.count; ++i) {
		const struct queue_message *other = &queue_model.messages[i];

		SIM_MUST(!other->fresh || other->partition != message->partition ||
			 other->number >= message->number || has_expired(other));
		SIM_MUST(other->again_ms > now().steady_ms || other->settled || is_excused(other) ||
			 has_expired(other));
	}
}

static void check_attempt(const struct delivery *delivery, const struct queue_message *message)
{
	SIM_MUST(delivery->attempt >= 1 && delivery->attempt <= message->ended + 1);
	if (!is_excused(message))
		SIM_MUST(delivery->attempt > message->least);
}

struct queue_message *queue_model_of(const uint8_t *record)
{
	struct record_view view;
	struct queue_message *message;

	record_read(record, &view);
	SIM_MUST(view.body.size >= 4 && le32_get(view.body.data) < queue_model.count);
	message = &queue_model.messages[le32_get(view.body.data)];
	SIM_EQUAL(view.size, message->size);
	return message;
}

void queue_model_delivered(const struct delivery *delivery)
{
	struct queue_message *message = queue_model_of(delivery->record);

	sim_trace("  %u comes at %u/%llu, attempt %u%s", queue_model_index(message),
		  delivery->partition, (unsigned long long)delivery->offset, delivery->attempt,
		  delivery->rejected ? ", for its copy" : "");
	SIM_MUST(!message->settled || queue_model.forgets);
	SIM_MUST(!message->promised || is_excused(message));
	SIM_EQUAL(delivery->rejected, message->holding == HOLDING_REJECTED);
	SIM_MUST(message->holding == HOLDING_NONE || message->holding == HOLDING_REJECTED);
	SIM_EQUAL(delivery->partition, message->partition);
	check_time(delivery, message);
	check_order(delivery, message);
	check_attempt(delivery, message);
	message->settled = message->promised = message->unsure = message->fresh = false;
	message->again_ms = UINT64_MAX;
	message->holding = delivery->rejected ? HOLDING_COPYING : HOLDING_OUT;
	message->offset = delivery->offset;
	message->attempt = delivery->attempt;
}

// ---- owners

static void forget_dues(struct queue_message *message)
{
	message->again_ms = UINT64_MAX;
	for (size_t at = 0; at < QUEUE_ATTEMPTS; ++at)
		message->due_at[at] = UINT64_MAX;
}

// The current owner has given up what it had; what it knew of ids it knows still.
void queue_model_void(void)
{
	for (uint32_t i = 0; i < queue_model.count; ++i) {
		struct queue_message *message = &queue_model.messages[i];

		if (queue_broker_instances(i, UINT32_MAX) > 1 || queue_broker_is_written(i))
			message->excused = true;
		if (message->anonymous && message->settled && !message->promised) {
			message->settled = false;
			message->unsure = true;
		}
		message->holding = HOLDING_NONE;
		message->least = message->kept;
		message->fresh = false;
		message->number = message->offset = message->nacked = 0;
		forget_dues(message);
	}
}

void queue_model_forget(void)
{
	for (uint32_t i = 0; i < queue_model.count; ++i) {
		struct queue_message *message = &queue_model.messages[i];

		message->unsure = message->unsure || (message->settled && !message->promised);
		message->settled = false;
	}
}

// ---- arrivals and settles

void queue_model_arrived(const struct queue_instance *instance)
{
	struct queue_message *message = &queue_model.messages[instance->message];
	uint64_t wait_ms = instance->due_ms > now().wall_ms ? instance->due_ms - now().wall_ms : 0;
	uint64_t *due = &message->due_at[instance->attempts];

	message->waits = message->waits || wait_ms;
	if (!message->number)
		message->number = ++queue_model.arrivals;
	// What is due later waits by the wall clock, at the broker.
	if (instance->attempts)
		*due = MIN(*due, now().steady_ms + (wait_ms <= HELD_NEAR_MS ? wait_ms : 0));
	else
		*due = 0;
	if (message->holding == HOLDING_NONE && instance->attempts &&
	    instance->attempts >= message->least && wait_ms <= HELD_NEAR_MS &&
	    !queue_broker_is_written(instance->message))
		message->again_ms = now().steady_ms + wait_ms;
	if (message->holding == HOLDING_NONE)
		message->fresh = !message->ended && !message->waits && !message->settled;
}

void queue_model_durable(const struct queue_settled *settled)
{
	struct queue_message *message = settled->message;
	uint32_t index = queue_model_index(message);

	sim_trace("    %u: %u at the broker", index, queue_broker_instances(index, UINT32_MAX));
	if (!settled->attempts) {
		SIM_MUST(is_excused(message) || !queue_broker_instances(index, UINT32_MAX));
		message->promised = message->promised || message->settled || message->unsure;
		return;
	}
	SIM_MUST(is_excused(message) || !queue_broker_instances(index, settled->attempts));
	message->kept = MAX(message->kept, settled->attempts);
}

static void note_end(struct queue_message *message, bool dead)
{
	message->holding = HOLDING_NONE;
	message->settled = true;
	queue_model.acked += !dead;
	queue_model.dead += dead;
}

static void note_nack(struct queue_message *message, const struct settle *settle)
{
	++message->ended;
	message->holding = HOLDING_NONE;
	message->least = message->nacked = settle->attempt;
	message->nack_until_ms = now().steady_ms + settle->delay_ms;
	message->nack_forward_ms = queue_model.forward_ms;
}

static void note_release(struct queue_message *message, const struct settle *settle)
{
	bool out = message->holding == HOLDING_OUT;

	message->fresh = out && settle->attempt == 1 && !message->waits && !is_excused(message);
	if (out && settle->attempt > 1)
		message->again_ms = now().steady_ms;
	message->holding = out ? HOLDING_NONE : HOLDING_REJECTED;
}

bool queue_model_settled(struct queue_message *message, const struct settle *settle,
			 struct queue_settled *ret)
{
	*ret = (struct queue_settled){.message = message};
	switch (settle->verb) {
	case SETTLE_ACK:
	case SETTLE_DEAD: note_end(message, settle->verb == SETTLE_DEAD); return true;
	case SETTLE_NACK:
		note_nack(message, settle);
		ret->attempts = settle->attempt;
		return true;
	case SETTLE_REJECT:
		message->holding = HOLDING_REJECTED;
		message->least = settle->attempt;
		++message->ended;
		return false;
	default: note_release(message, settle); return false;
	}
}

struct queue_message *queue_model_out(uint32_t partition, uint64_t offset,
				      enum queue_holding holding, uint32_t attempt)
{
	for (uint32_t i = 0; i < queue_model.count; ++i) {
		struct queue_message *message = &queue_model.messages[i];

		if (message->holding == holding && message->partition == partition &&
		    message->offset == offset && message->attempt == attempt)
			return message;
	}
	return NULL;
}

// ---- what must hold between two events

static void check_message(uint32_t i)
{
	const struct queue_message *message = &queue_model.messages[i];

	if (has_ended(message))
		return;
	SIM_MUST(queue_broker_instances(i, UINT32_MAX) > 0);
}

static bool is_owed(uint32_t i)
{
	const struct queue_message *message = &queue_model.messages[i];

	return message->holding != HOLDING_NONE || !has_ended(message);
}

bool queue_model_any_owed(void)
{
	for (uint32_t i = 0; i < queue_model.count; ++i)
		if (is_owed(i))
			return true;
	return false;
}

void queue_model_check(void)
{
	for (uint32_t i = 0; i < queue_model.count; ++i)
		check_message(i);
}

uint32_t queue_model_count_out(void)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < queue_model.count; ++i)
		count += queue_model.messages[i].holding != HOLDING_NONE;
	return count;
}

// The owner closes: nothing is out any more.
void queue_model_give_up(void)
{
	for (uint32_t i = 0; i < queue_model.count; ++i)
		queue_model.messages[i].holding = HOLDING_NONE;
}

void queue_model_wall_jump(int64_t ms)
{
	sim_trace("the wall clock jumps by %lld ms", (long long)ms);
	queue_model_wall_most_ms();
	queue_broker.now.wall_ms += (uint64_t)ms;
	queue_model.forward_ms += ms > 0 ? (uint64_t)ms : 0;
	queue_model_wall_most_ms();
}

// ---- messages

uint32_t queue_model_index(const struct queue_message *message)
{
	return (uint32_t)(message - queue_model.messages);
}

struct queue_message *queue_model_make(uint32_t partition, size_t body_size, uint64_t due_ms,
				       uint32_t ttl_ms, uint8_t *record)
{
	struct queue_message *message = &queue_model.messages[queue_model.count];
	uint8_t body[QUEUE_RECORD] = {0};
	struct record_parts parts = {.id = message->id,
				     .created_ms = (int64_t)now().wall_ms,
				     .due_ms = (int64_t)due_ms,
				     .ttl_ms = ttl_ms,
				     .flags = (due_ms ? RECORD_DUE : 0u) |
					      (ttl_ms ? RECORD_TTL : 0u),
				     .body = {body, body_size}};

	*message = (struct queue_message){.partition = partition,
					  .due_ms = due_ms,
					  .expiry_ms = UINT64_MAX,
					  .waits = due_ms > now().wall_ms};
	forget_dues(message);
	if (ttl_ms)
		message->expiry_ms = (due_ms ? due_ms : now().wall_ms) + ttl_ms;
	le32_put(message->id, queue_model.count);
	le32_put(body, queue_model.count);
	message->size = (uint32_t)record_parts_size(&parts);
	SIM_MUST(body_size >= 4 && message->size <= QUEUE_RECORD);
	record_write(&parts, record);
	sim_trace("%u is published%s%s", queue_model.count, message->waits ? ", due later" : "",
		  ttl_ms ? ", will expire" : "");
	++queue_model.count;
	return message;
}

void queue_model_start(bool forgets)
{
	memset(&queue_model, 0, sizeof queue_model);
	queue_model.forgets = forgets;
}
