// PRODUCE: the head of a batch of records, its number and count.
//
// The layout is fixed, little-endian, and nothing is allocated. Not here: the records that follow
// (record.c).

#include "core/wire/produce.h"

const char *produce_head_read(const uint8_t *payload, size_t size, struct produce_head *ret)
{
	if (size < PRODUCE_HEAD_SIZE)
		return "PRODUCE is shorter than its head";
	ret->batch = le64_get(payload);
	ret->count = le32_get(payload + 8);
	if (ret->count == 0 || ret->count > PRODUCE_MAX_RECORDS)
		return "PRODUCE holds 1 to 65535 records";
	return NULL;
}

void produce_head_write(uint8_t *payload, const struct produce_head *head)
{
	assert(head->count > 0 && head->count <= PRODUCE_MAX_RECORDS);
	le64_put(payload, head->batch);
	le32_put(payload + 8, head->count);
}
