// Fixed layouts, little-endian; a payload is checked once as a whole, then walked without further
// checks.

#include "core/wire/deliver.h"

#include "core/wire/record.h"

const char *credit_read(const uint8_t *payload, size_t size, bool begun, struct credit *ret)
{
	if (size != (begun ? CREDIT_BEGUN_SIZE : CREDIT_SIZE))
		return begun ? "CREDIT has 32 bytes where the feature BEGUN is in use"
			     : "CREDIT has 24 bytes";
	*ret = (struct credit){le64_get(payload), le64_get(payload + 8), le64_get(payload + 16),
			       begun ? le64_get(payload + 24) : 0};
	return NULL;
}

size_t credit_write(uint8_t *payload, bool begun, const struct credit *credit)
{
	le64_put(payload, credit->messages);
	le64_put(payload + 8, credit->bytes);
	le64_put(payload + 16, credit->drain);
	if (!begun)
		return CREDIT_SIZE;
	le64_put(payload + 24, credit->begun);
	return CREDIT_BEGUN_SIZE;
}

void deliver_head_write(uint8_t *payload, const struct deliver_head *head)
{
	le32_put(payload, head->partition);
	le32_put(payload + 4, head->count);
	le64_put(payload + 8, head->epoch);
}

void deliver_entry_write(uint8_t *at, const struct deliver_entry *entry)
{
	le64_put(at, entry->offset);
	le64_put(at + 8, (uint64_t)entry->stored_ms);
	le32_put(at + 16, entry->attempt);
	le32_put(at + 20, entry->flags);
}

const char *deliver_check(const uint8_t *payload, size_t size, bool begun, struct deliver_head *ret)
{
	uint32_t unknown = begun ? ~(uint32_t)DELIVER_FLAGS : UINT32_MAX;
	size_t at = DELIVER_HEAD_SIZE;
	uint32_t record;

	if (size < DELIVER_HEAD_SIZE)
		return "DELIVER is shorter than its head";
	*ret = (struct deliver_head){le32_get(payload), le32_get(payload + 4),
				     le64_get(payload + 8)};
	if (ret->count == 0)
		return "DELIVER holds no record";
	for (uint32_t i = 0; i < ret->count; ++i) {
		if (size - at < DELIVER_ENTRY_SIZE)
			return "DELIVER is cut off";
		if (le32_get(payload + at + 16) == 0 || (le32_get(payload + at + 20) & unknown))
			return "DELIVER has an attempt 0 or an unknown flag";
		at += DELIVER_ENTRY_SIZE;
		if (record_check(payload + at, size - at, &record) != RECORD_OK)
			return "DELIVER holds a malformed record";
		at += record;
	}
	return at == size ? NULL : "DELIVER goes on after its last record";
}

bool deliver_next(const uint8_t *payload, size_t size, size_t *cursor, struct deliver_entry *ret)
{
	const uint8_t *at;

	if (*cursor == 0)
		*cursor = DELIVER_HEAD_SIZE;
	if (*cursor >= size)
		return false;
	at = payload + *cursor;
	ret->offset = le64_get(at);
	ret->stored_ms = (int64_t)le64_get(at + 8);
	ret->attempt = le32_get(at + 16);
	ret->flags = le32_get(at + 20);
	ret->record = at + DELIVER_ENTRY_SIZE;
	*cursor += DELIVER_ENTRY_SIZE + record_size(ret->record);
	return true;
}

void settle_head_write(uint8_t *payload, const struct settle_head *head)
{
	le64_put(payload, head->settle);
	le32_put(payload + 8, head->count);
	le32_put(payload + 12, 0);
}

void settle_entry_write(uint8_t *at, const struct settle_entry *entry)
{
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

void settled_entry_write(uint8_t *at, const struct settled_entry *entry)
{
	le16_put(at, entry->code);
	le16_put(at + 2, 0);
	le32_put(at + 4, entry->settled);
}

void settled_entry_read(const uint8_t *at, struct settled_entry *ret)
{
	ret->code = le16_get(at);
	ret->settled = le32_get(at + 4);
}

const char *settled_check(const uint8_t *payload, size_t size, struct settle_head *ret)
{
	if (!head_ok(payload, size, SETTLED_ENTRY_SIZE, ret))
		return "SETTLED does not hold the entries that it counts";
	for (size_t at = SETTLED_HEAD_SIZE; at < size; at += SETTLED_ENTRY_SIZE)
		if (le16_get(payload + at + 2) != 0)
			return "SETTLED has a reserved field that is not 0";
	return NULL;
}
