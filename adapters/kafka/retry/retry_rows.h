// The messages of a group's retry topic, and what they say about its cursors. Pure.
//
// Key: partition, offset and generation, big-endian. Value of a row: version, attempts, due time,
// store time, then the record. No value: the row is removed.
//
// A fence begins a generation of partitions. It stands under an offset that no message has, and its
// epoch is the generation: rows of another generation are void, and so are cursors that were
// written in an older epoch (docs/adapters/kafka-internals.md, Stale owners). Before the first
// fence the generation is 0. It is one message for all partitions: an owner that saw the fence of
// one and not that of another would take its epoch for the other's. Value: version, 0x46, epoch,
// how many partitions, and the position of each (UINT64_MAX: it goes on as it was), little-endian.
#pragma once

#include "adapters/kafka/retry/retry_index.h"
#include "adapters/log/log.h"

#define RETRY_KEY  20u
#define RETRY_HEAD 24u // before the record

struct retry_fence {
	uint64_t epoch; // 0: there is none
	uint64_t position;
};

// What the rows of one group come to.
struct retry_rows {
	struct retry_index index;
	struct retry_fence *fences; // by partition
	uint32_t fence_count;
};

void retry_rows_init(struct retry_rows *rows);
void retry_rows_deinit(struct retry_rows *rows);

void retry_rows_key_put(uint8_t room[RETRY_KEY], uint32_t partition, uint64_t offset,
			uint64_t generation);
void retry_rows_head_put(uint8_t room[RETRY_HEAD], const struct log_retry *retry,
			 int64_t stored_ms);
// The key under which a fence of that epoch stands.
void retry_rows_fence_key_put(uint8_t room[RETRY_KEY], uint64_t epoch);
// Its value, malloc'ed. Positions may be NULL: all are 0. NULL: no memory.
uint8_t *retry_rows_fence_make(uint64_t epoch, const uint64_t *positions, uint32_t count,
			       uint32_t *ret_size);
int64_t retry_rows_head_stored_ms(const uint8_t head[RETRY_HEAD]);

uint64_t retry_rows_generation(const struct retry_rows *rows, uint32_t partition);

// One message of the retry topic, which may be older than what is known.
enum { RETRY_E_FOREIGN = 1, RETRY_E_VERSION }; // not ours; of a version to come
int retry_rows_apply(struct retry_rows *rows, uint64_t written, struct slice key,
		     struct slice value); // value.data NULL: none; -ENOMEM

// Makes cursors, as they were committed, into what a source may begin with: a void one goes back to
// its fence, a row counts as done, and is counted. `log_generation` of their log: like a fence of
// that epoch at 0, in all partitions. -ENOMEM: some may be changed, all are valid.
int retry_rows_fit(const struct retry_rows *rows, struct log_cursor *cursors, uint32_t count,
		   uint64_t log_generation);
