// Messages are charged first, then bytes; what bytes do not allow is given back to messages, so
// that both limits always charge the same things.

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

void quota_ledger_set(struct quota_ledger *ledger, const struct tenant_limits *limits)
{
	gcra_set_rate(&ledger->messages[QUOTA_PRODUCE], limits->produce_tps);
	gcra_set_rate(&ledger->bytes[QUOTA_PRODUCE], limits->produce_bps);
	gcra_set_rate(&ledger->messages[QUOTA_CONSUME], limits->consume_tps);
	gcra_set_rate(&ledger->bytes[QUOTA_CONSUME], limits->consume_bps);
	__atomic_store_n(&ledger->limit[QUOTA_CONNECTIONS], count_limit(limits->connections),
			 __ATOMIC_RELAXED);
}

void quota_ledger_deinit(struct quota_ledger *ledger)
{
	assert(ledger->open_charges == 0);
	for (unsigned i = 0; i < QUOTA_COUNTS; ++i)
		assert(ledger->used[i] == 0);
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

static uint64_t sum(const uint32_t *sizes, size_t stride, size_t count)
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
			    fit == count ? total : sum(sizes, stride, fit), now_ns, &charged_bytes);
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
		__atomic_sub_fetch(&charge->ledger->open_charges, 1, __ATOMIC_RELAXED);
	*charge = (struct quota_charge){0};
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
	ret->limit = __atomic_load_n(ret->bytes ? &bytes->rate : &messages->rate, __ATOMIC_RELAXED);
	ret->remaining = bytes_wait ? 0 : gcra_remaining(messages, now_ns);
}

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
