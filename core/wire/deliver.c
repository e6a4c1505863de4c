// DELIVER: messages of one partition for a consumer, each with its offset, time and attempt.
//
// The layouts are fixed, little-endian. A payload is checked once as a whole, and then walked
// without further checks.
//
// Invariant: deliver_next() is called only on a payload that deliver_check() accepted. Nothing is
// copied: entries point into the payload.

#include "core/wire/deliver.h"

#include "core/wire/record.h"

void deliver_head_write(uint8_t *payload, const struct deliver_head *head)
{
	assert(head->count > 0);
	le32_put(payload, head->partition);
	le32_put(payload + 4, head->count);
	le64_put(payload + 8, head->epoch);
}

void deliver_entry_write(uint8_t *at, const struct deliver_entry *entry)
{
	assert(entry->attempt > 0);
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
