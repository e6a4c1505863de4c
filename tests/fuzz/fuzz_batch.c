// The fixed layouts, chosen by the first byte: what passes the check can be walked without leaving
// the payload, and comes out as the same bytes when it is written again.

#include "core/wire/credit.h"
#include "core/wire/deliver.h"
#include "core/wire/produce.h"
#include "core/wire/produced.h"
#include "core/wire/record.h"
#include "core/wire/settle.h"
#include "tests/fuzz/fuzz.h"

static void credit(const uint8_t *data, size_t size)
{
	struct credit read;
	uint8_t written[CREDIT_BEGUN_SIZE];
	bool begun = size == CREDIT_BEGUN_SIZE;

	if (credit_read(data, size, begun, &read))
		return;
	assert(credit_write(written, begun, &read) == size);
	assert(memcmp(written, data, size) == 0);
}

static void produce(const uint8_t *data, size_t size)
{
	struct produce_head head;
	size_t at = PRODUCE_HEAD_SIZE;

	if (produce_head_read(data, size, &head))
		return;
	for (uint32_t i = 0; i < head.count; ++i) {
		struct record_view view;
		uint32_t record;
		enum record_problem problem = record_check(data + at, size - at, &record);

		if (problem == RECORD_BROKEN)
			return;
		assert(record >= RECORD_HEAD_SIZE && record <= size - at);
		if (problem == RECORD_OK)
			record_read(data + at, &view);
		at += record;
	}
}

static void produced(const uint8_t *data, size_t size)
{
	struct produce_head head;
	uint8_t written[PRODUCED_RUN_SIZE];
	uint64_t covered = 0;
	size_t runs;

	if (produced_check(data, size, &head, &runs))
		return;
	for (size_t i = 0; i < runs; ++i) {
		const uint8_t *at = data + PRODUCED_HEAD_SIZE + i * PRODUCED_RUN_SIZE;
		struct produced_run run;

		produced_run_read(at, &run);
		produced_run_write(written, &run);
		assert(memcmp(written, at, sizeof written) == 0);
		covered += run.count;
	}
	assert(covered == head.count);
}

static void deliver(const uint8_t *data, size_t size)
{
	struct deliver_head head;
	struct deliver_entry entry;
	uint8_t written[DELIVER_ENTRY_SIZE];
	size_t cursor = 0, count = 0;

	if (deliver_check(data, size, true, &head)) {
		assert(deliver_check(data, size, false, &head));
		return;
	}
	for (; deliver_next(data, size, &cursor, &entry); ++count) {
		assert(cursor <= size);
		deliver_entry_write(written, &entry);
		assert(memcmp(written, entry.record - DELIVER_ENTRY_SIZE, sizeof written) == 0);
	}
	assert(count == head.count);
}

static void settle(const uint8_t *data, size_t size)
{
	struct settle_head head;
	uint8_t written[SETTLE_ENTRY_SIZE];

	if (settle_check(data, size, true, &head)) {
		assert(settle_check(data, size, false, &head));
		return;
	}
	for (size_t i = 0; i < head.count; ++i) {
		const uint8_t *at = data + SETTLE_HEAD_SIZE + i * SETTLE_ENTRY_SIZE;
		struct settle_entry entry;

		settle_entry_read(at, &entry);
		assert(entry.count > 0 && entry.offset + entry.count > entry.offset);
		settle_entry_write(written, &entry);
		assert(memcmp(written, at, sizeof written) == 0);
	}
}

static void settled(const uint8_t *data, size_t size)
{
	struct settle_head head;
	uint8_t written[SETTLED_ENTRY_SIZE];

	if (settle_outcome_check(data, size, &head))
		return;
	for (size_t i = 0; i < head.count; ++i) {
		const uint8_t *at = data + SETTLED_HEAD_SIZE + i * SETTLED_ENTRY_SIZE;
		struct settle_outcome entry;

		settle_outcome_read(at, &entry);
		settle_outcome_write(written, &entry);
		assert(memcmp(written, at, sizeof written) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	// In the order of KINDS_OF_BATCH in tests/vectors/make.py.
	static void (*const kinds[])(const uint8_t *, size_t) = {credit,  produce, produced,
								 deliver, settle,  settled};

	if (size > 0)
		kinds[data[0] % ARRAY_SIZE(kinds)](data + 1, size - 1);
	return 0;
}
