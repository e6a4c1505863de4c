// The limits of a tenant: rates of messages and bytes, counts of what is in use, and turns.
//
// Messages are charged first, then bytes. What the bytes do not allow is given back to messages, so
// that both limits always charge the same messages.
//
// A turn: a sender that a rate refuses is promised a number of messages, charged at once, and told
// when they will pass. Senders that share a rate so get their parts without being refused again and
// again.
//
// Invariants: every charge, turn and count is given back or closed once; a ledger that is torn down
// has none left. All numbers are atomic, so any loop may charge. Not here: which limits a tenant
// has (core/model), and waiting.

#include "quota/quota.h"

#include "core/base/util.h"

static uint64_t count_limit(uint32_t limit)
{
	return limit == UINT32_MAX ? UINT64_MAX : limit;
}

void quota_ledger_init(struct quota_ledger *ledger, const struct tenant_limits *limits,
		       uint64_t memory_limit)
{
	*ledger = (struct quota_ledger){0};
	gcra_init(&ledger->messages[QUOTA_PRODUCE], limits->produce_tps);
	gcra_init(&ledger->bytes[QUOTA_PRODUCE], limits->produce_bps);
	gcra_init(&ledger->messages[QUOTA_CONSUME], limits->consume_tps);
	gcra_init(&ledger->bytes[QUOTA_CONSUME], limits->consume_bps);
	ledger->limit[QUOTA_CONNECTIONS] = count_limit(limits->connections);
	ledger->limit[QUOTA_MEMORY] = memory_limit;
}

void quota_ledger_set(struct quota_ledger *ledger, const struct tenant_limits *limits,
		      uint64_t now_ns)
{
	gcra_set_rate(&ledger->messages[QUOTA_PRODUCE], limits->produce_tps, now_ns);
	gcra_set_rate(&ledger->bytes[QUOTA_PRODUCE], limits->produce_bps, now_ns);
	gcra_set_rate(&ledger->messages[QUOTA_CONSUME], limits->consume_tps, now_ns);
	gcra_set_rate(&ledger->bytes[QUOTA_CONSUME], limits->consume_bps, now_ns);
	__atomic_store_n(&ledger->limit[QUOTA_CONNECTIONS], count_limit(limits->connections),
			 __ATOMIC_RELAXED);
}

void quota_ledger_deinit(struct quota_ledger *ledger)
{
	assert(ledger->open_charges == 0 && ledger->turns == 0 && ledger->senders == 0);
	for (unsigned i = 0; i < QUOTA_COUNTS; ++i)
		assert(ledger->used[i] == 0);
}

// One that was counted is over.
static void count_down(uint64_t *count)
{
	uint64_t before = __atomic_fetch_sub(count, 1, __ATOMIC_RELAXED);

	assert(before > 0);
	(void)before;
}

// How many of the first `count` things fit into the bytes; they are taken.
static size_t bytes_take(struct gcra *gcra, const uint32_t *sizes, size_t stride, size_t count,
			 uint64_t total, uint64_t now_ns, uint64_t *ret_bytes)
{
	const char *at = (const char *)sizes;
	uint64_t room, bytes = 0;
	size_t taken = 0;

	if (gcra_take_all(gcra, total, count == 1, now_ns)) {
		*ret_bytes = total;
		return count;
	}
	room = gcra_remaining(gcra, now_ns);
	while (taken < count && bytes + *(const uint32_t *)(const void *)at <= room) {
		bytes += *(const uint32_t *)(const void *)at;
		at += stride;
		++taken;
	}
	if (taken > 0 && !gcra_take_all(gcra, bytes, false, now_ns))
		taken = 0; // another loop was faster: the caller tries again later
	if (taken == 0 && gcra_take_all(gcra, sizes[0], true, now_ns)) {
		bytes = sizes[0];
		taken = 1;
	}
	*ret_bytes = taken ? bytes : 0;
	return taken;
}

static uint64_t sum_sizes(const uint32_t *sizes, size_t stride, size_t count)
{
	const char *at = (const char *)sizes;
	uint64_t bytes = 0;

	for (size_t i = 0; i < count; ++i, at += stride)
		bytes += *(const uint32_t *)(const void *)at;
	return bytes;
}

size_t quota_charge_batch(struct quota_ledger *ledger, enum quota_direction direction,
			  const uint32_t *sizes, size_t stride, size_t count, uint64_t total,
			  uint64_t now_ns, struct quota_charge *charge)
{
	struct gcra *messages = &ledger->messages[direction], *bytes = &ledger->bytes[direction];
	uint64_t charged_bytes = 0;
	size_t fit = gcra_take(messages, count, now_ns), passed;

	*charge = (struct quota_charge){0};
	if (fit == 0)
		return 0;
	passed = bytes_take(bytes, sizes, stride, fit,
			    fit == count ? total : sum_sizes(sizes, stride, fit), now_ns,
			    &charged_bytes);
	gcra_give_back(messages, fit - passed);
	if (passed == 0)
		return 0;
	__atomic_add_fetch(&ledger->open_charges, 1, __ATOMIC_RELAXED);
	*charge = (struct quota_charge){.ledger = ledger,
					.messages = passed,
					.bytes = charged_bytes,
					.direction = direction};
	return passed;
}

void quota_charge_give_back(struct quota_charge *charge, uint64_t messages, uint64_t bytes)
{
	if (!charge->ledger)
		return;
	assert(messages <= charge->messages && bytes <= charge->bytes);
	gcra_give_back(&charge->ledger->messages[charge->direction], messages);
	gcra_give_back(&charge->ledger->bytes[charge->direction], bytes);
	charge->messages -= messages;
	charge->bytes -= bytes;
}

void quota_charge_close(struct quota_charge *charge)
{
	if (charge->ledger)
		count_down(&charge->ledger->open_charges);
	*charge = (struct quota_charge){0};
}

// ---- turns

bool quota_turn_contended(const struct quota_ledger *ledger)
{
	return __atomic_load_n(&ledger->turns, __ATOMIC_RELAXED) > 0;
}

uint64_t quota_turn_wait_ns(const struct quota_ledger *ledger, uint64_t messages, uint64_t size,
			    uint64_t now_ns)
{
	uint64_t one = gcra_wait_ns(&ledger->messages[QUOTA_PRODUCE], messages, now_ns);

	return MAX(one, gcra_wait_ns(&ledger->bytes[QUOTA_PRODUCE], messages * size, now_ns));
}

bool quota_produce_limited(const struct quota_ledger *ledger)
{
	return gcra_burst(&ledger->messages[QUOTA_PRODUCE]) != GCRA_UNLIMITED ||
	       gcra_burst(&ledger->bytes[QUOTA_PRODUCE]) != GCRA_UNLIMITED;
}

void quota_sender_joins(struct quota_ledger *ledger)
{
	__atomic_add_fetch(&ledger->senders, 1, __ATOMIC_RELAXED);
}

void quota_sender_leaves(struct quota_ledger *ledger)
{
	count_down(&ledger->senders);
}

// The part of one burst that one turn gets. The first turn cannot know which of the senders will be
// refused too, so it leaves a part for each. `size` is the bytes of an average message.
uint64_t quota_turn_share(const struct quota_ledger *ledger, uint64_t size, bool first)
{
	uint64_t turns = __atomic_load_n(&ledger->turns, __ATOMIC_RELAXED) + 1;
	uint64_t senders = __atomic_load_n(&ledger->senders, __ATOMIC_RELAXED);
	uint64_t among = first ? MAX(turns, senders) : turns;
	uint64_t messages = gcra_burst(&ledger->messages[QUOTA_PRODUCE]);
	uint64_t bytes = gcra_burst(&ledger->bytes[QUOTA_PRODUCE]);
	uint64_t share = MIN(messages / among, bytes / among / MAX(size, 1));

	return MAX(share, 1);
}

bool quota_turn_promise(struct quota_ledger *ledger, uint64_t messages, uint64_t size,
			uint64_t now_ns, struct quota_turn *ret)
{
	uint64_t start_ns, at_ns, bytes_start_ns, bytes_at_ns;

	assert(messages > 0 && ret->ledger == NULL);
	at_ns = gcra_reserve(&ledger->messages[QUOTA_PRODUCE], messages, now_ns, &start_ns);
	if (at_ns == UINT64_MAX)
		return false;
	bytes_at_ns = gcra_reserve(&ledger->bytes[QUOTA_PRODUCE], messages * size, now_ns,
				   &bytes_start_ns);
	if (bytes_at_ns == UINT64_MAX) {
		gcra_give_back(&ledger->messages[QUOTA_PRODUCE], messages);
		return false;
	}
	__atomic_add_fetch(&ledger->turns, 1, __ATOMIC_RELAXED);
	*ret = (struct quota_turn){.ledger = ledger,
				   .start_ns = MAX(start_ns, bytes_start_ns),
				   .at_ns = MAX(at_ns, bytes_at_ns),
				   .promised = messages,
				   .messages = messages,
				   .bytes = messages * size};
	return true;
}

void quota_turn_end(struct quota_turn *turn)
{
	struct quota_ledger *ledger = turn->ledger;

	if (!ledger)
		return;
	gcra_give_back(&ledger->messages[QUOTA_PRODUCE], turn->messages);
	gcra_give_back(&ledger->bytes[QUOTA_PRODUCE], turn->bytes);
	count_down(&ledger->turns);
	*turn = (struct quota_turn){0};
}

// Messages of the promise whose time has come and that are not used. It comes early when others
// have given back what stood before.
static uint64_t turn_due(const struct quota_turn *turn, uint64_t now_ns)
{
	uint64_t used = turn->promised - turn->messages, due = turn->promised;

	if (now_ns < turn->at_ns && !(gcra_is_due(&turn->ledger->messages[QUOTA_PRODUCE], now_ns) &&
				      gcra_is_due(&turn->ledger->bytes[QUOTA_PRODUCE], now_ns))) {
		uint64_t all_ns = turn->at_ns - turn->start_ns;
		uint64_t come_ns = now_ns > turn->start_ns ? now_ns - turn->start_ns : 0;

		due = all_ns ? (uint64_t)((double)turn->promised * (double)come_ns / (double)all_ns)
			     : 0; // all of it comes in one nanosecond
	}
	return due > used ? due - used : 0;
}

// The sizes were not known when it was promised. One message that is too large for it passes, is
// owed and ends the promise.
static size_t turn_take(struct quota_turn *turn, const uint32_t *sizes, size_t stride, size_t count,
			uint64_t now_ns, struct quota_charge *charge)
{
	size_t most = (size_t)MIN(count, turn_due(turn, now_ns)), taken = 0;
	uint64_t bytes = 0, size, start_ns;

	for (; taken < most; ++taken, bytes += size) {
		size = *(const uint32_t *)(const void *)((const char *)sizes + taken * stride);
		if (bytes + size <= turn->bytes)
			continue;
		if (taken > 0)
			break;
		gcra_reserve(&turn->ledger->bytes[QUOTA_PRODUCE], size - turn->bytes, now_ns,
			     &start_ns);
		turn->bytes = size;
		gcra_give_back(&turn->ledger->messages[QUOTA_PRODUCE], turn->messages - 1);
		turn->messages = most = 1;
	}
	if (taken == 0)
		return 0;
	turn->messages -= taken;
	turn->bytes -= bytes;
	__atomic_add_fetch(&turn->ledger->open_charges, 1, __ATOMIC_RELAXED);
	*charge = (struct quota_charge){.ledger = turn->ledger,
					.messages = taken,
					.bytes = bytes,
					.direction = QUOTA_PRODUCE};
	return taken;
}

static void charge_join(struct quota_charge *charge, struct quota_charge *more)
{
	if (!charge->ledger) {
		*charge = *more;
		return;
	}
	charge->messages += more->messages;
	charge->bytes += more->bytes;
	quota_charge_close(more);
}

// Uses the promise first, then what is free now. A promise that is used up ends here. Both parts
// are one charge for the caller.
size_t quota_turn_charge(struct quota_ledger *ledger, struct quota_turn *turn,
			 const uint32_t *sizes, size_t stride, size_t count, uint64_t total,
			 uint64_t now_ns, struct quota_charge *charge)
{
	struct quota_charge free_charge;
	size_t passed = 0;

	*charge = (struct quota_charge){0};
	if (turn->ledger)
		passed = turn_take(turn, sizes, stride, count, now_ns, charge);
	if (turn->ledger && turn->messages == 0)
		quota_turn_end(turn);
	total -= charge->bytes;
	sizes = (const uint32_t *)(const void *)((const char *)sizes + passed * stride);
	passed += quota_charge_batch(ledger, QUOTA_PRODUCE, sizes, stride, count - passed, total,
				     now_ns, &free_charge);
	charge_join(charge, &free_charge);
	return passed;
}

void quota_explain(const struct quota_ledger *ledger, enum quota_direction direction, uint64_t size,
		   uint64_t now_ns, struct quota_answer *ret)
{
	const struct gcra *messages = &ledger->messages[direction],
			  *bytes = &ledger->bytes[direction];
	uint64_t messages_wait = gcra_wait_ns(messages, 1, now_ns),
		 bytes_wait = gcra_wait_ns(bytes, size, now_ns);

	ret->bytes = bytes_wait > messages_wait;
	ret->wait_ns = MAX(messages_wait, bytes_wait);
	ret->limit = gcra_rate(ret->bytes ? bytes : messages);
	ret->remaining = bytes_wait ? 0 : gcra_remaining(messages, now_ns);
}

// Compare-and-swap rather than add and check, so that a refused taker never makes another one fail.
bool quota_count_take(struct quota_ledger *ledger, enum quota_count count, uint64_t amount)
{
	uint64_t used = __atomic_load_n(&ledger->used[count], __ATOMIC_RELAXED);
	uint64_t limit = __atomic_load_n(&ledger->limit[count], __ATOMIC_RELAXED);

	do {
		if (amount > limit || used > limit - amount)
			return false;
	} while (!__atomic_compare_exchange_n(&ledger->used[count], &used, used + amount, true,
					      __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	return true;
}

void quota_count_give_back(struct quota_ledger *ledger, enum quota_count count, uint64_t amount)
{
	uint64_t before = __atomic_fetch_sub(&ledger->used[count], amount, __ATOMIC_RELAXED);

	assert(before >= amount);
	(void)before;
}

uint64_t quota_count_used(const struct quota_ledger *ledger, enum quota_count count)
{
	return __atomic_load_n(&ledger->used[count], __ATOMIC_RELAXED);
}
