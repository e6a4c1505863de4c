// SETTLE and SETTLED: what a consumer says of runs of messages, and what became of each run.
//
// The layouts are fixed, little-endian, and both frames have the same head. A payload is checked
// once as a whole; then its entries are read without further checks. Not here: what the verbs do.

#include "core/wire/settle.h"

void settle_head_write(uint8_t *payload, const struct settle_head *head)
{
	assert(head->count > 0);
	le64_put(payload, head->settle);
	le32_put(payload + 8, head->count);
	le32_put(payload + 12, 0);
}

void settle_entry_write(uint8_t *at, const struct settle_entry *entry)
{
	assert(entry->verb < WIRE_VERB_COUNT);
	assert(entry->count > 0 && entry->offset + entry->count > entry->offset);
	le32_put(at, entry->verb);
	le32_put(at + 4, entry->partition);
	le64_put(at + 8, entry->epoch);
	le64_put(at + 16, entry->offset);
	le32_put(at + 24, entry->count);
	le32_put(at + 28, entry->attempt);
	le32_put(at + 32, entry->ms);
	le32_put(at + 36, entry->number);
}

void settle_entry_read(const uint8_t *at, struct settle_entry *ret)
{
	*ret = (struct settle_entry){
		.verb = at[0],
		.partition = le32_get(at + 4),
		.epoch = le64_get(at + 8),
		.offset = le64_get(at + 16),
		.count = le32_get(at + 24),
		.attempt = le32_get(at + 28),
		.ms = le32_get(at + 32),
		.number = le32_get(at + 36),
	};
}

// The head of SETTLE and SETTLED, and that `count` entries of a size follow it exactly.
static bool head_ok(const uint8_t *payload, size_t size, size_t entry_size, struct settle_head *ret)
{
	if (size < SETTLE_HEAD_SIZE || le32_get(payload + 12) != 0)
		return false;
	*ret = (struct settle_head){le64_get(payload), le32_get(payload + 8)};
	return ret->count > 0 && (uint64_t)ret->count * entry_size == size - SETTLE_HEAD_SIZE;
}

const char *settle_check(const uint8_t *payload, size_t size, bool begun, struct settle_head *ret)
{
	if (!head_ok(payload, size, SETTLE_ENTRY_SIZE, ret))
		return "SETTLE does not hold the entries that it counts";
	for (size_t at = SETTLE_HEAD_SIZE; at < size; at += SETTLE_ENTRY_SIZE) {
		struct settle_entry entry;

		settle_entry_read(payload + at, &entry);
		if (le32_get(payload + at) >= WIRE_VERB_COUNT || (!begun && entry.number != 0))
			return "SETTLE has an unknown verb or a reserved field that is not 0";
		if (entry.count == 0 || entry.offset + entry.count < entry.offset)
			return "SETTLE names an impossible run of offsets";
	}
	return NULL;
}

void settle_outcome_write(uint8_t *at, const struct settle_outcome *entry)
{
	le16_put(at, entry->code);
	le16_put(at + 2, 0);
	le32_put(at + 4, entry->settled);
}

void settle_outcome_read(const uint8_t *at, struct settle_outcome *ret)
{
	ret->code = le16_get(at);
	ret->settled = le32_get(at + 4);
}

const char *settle_outcome_check(const uint8_t *payload, size_t size, struct settle_head *ret)
{
	if (!head_ok(payload, size, SETTLED_ENTRY_SIZE, ret))
		return "SETTLED does not hold the entries that it counts";
	for (size_t at = SETTLED_HEAD_SIZE; at < size; at += SETTLED_ENTRY_SIZE)
		if (le16_get(payload + at + 2) != 0)
			return "SETTLED has a reserved field that is not 0";
	return NULL;
}
