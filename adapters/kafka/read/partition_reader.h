// A partition as the fetcher sees it: its streams, and the fetches that wait for what they bring.
#pragma once

#include "adapters/kafka/read/catchup_slot.h"
#include "adapters/kafka/read/stream.h"

#define PARTITION_READER_SLOTS 3u // consumer handles: one for all followers, the others for slots

// A fetch that was not answered at once.
struct reader_request {
	struct list node;
	struct log_fetch *fetch;
	uint64_t since_ns;
};

// What is known of the consumer handles, for one partition.
struct reader_handles {
	bool closed[PARTITION_READER_SLOTS];           // no stream can begin there now
	uint64_t throttled_ns[PARTITION_READER_SLOTS]; // until then a broker may let it wait
	bool down; // no broker has been reached since the last message came
};

struct partition_reader {
	struct fetcher *fetcher;
	struct kafka_partition *partition; // under the lock; NULL: forgotten
	char *physical;
	uint32_t number;
	struct stream *streams[PARTITION_READER_SLOTS]; // written under the lock by the thread
	struct list requests;                           // under the lock
	struct list in_fetcher;                         // under the lock
	struct list in_asked;                           // of the wake lock
	uint64_t retry_ns;                              // the thread's: no new stream before
};

struct partition_reader *partition_reader_new(struct fetcher *fetcher,
					      struct kafka_partition *partition); // NULL: no memory
void partition_reader_free(struct partition_reader *reader); // without streams and requests

// All of these under the lock.

bool partition_reader_is_gone(const struct partition_reader *reader);
// Answers from one of the rings. *ret_wake: its stream may go on now.
bool partition_reader_answer(struct partition_reader *reader, struct log_fetch *fetch,
			     uint64_t now_ns, bool *ret_wake);
// false: no memory.
bool partition_reader_wait(struct partition_reader *reader, struct log_fetch *fetch,
			   uint64_t now_ns);
// Answers fetches that can be answered, have waited too long, or wait for what is gone, and finds
// out what to do for the first of the others. CATCHUP_SLOT_WAIT: nothing.
enum catchup_slot_verdict partition_reader_look(struct partition_reader *reader,
						const struct reader_handles *handles,
						uint64_t now_ns, size_t *ret_slot,
						uint64_t *ret_offset);
// Ends the fetches that wait for the stream, which has failed.
void partition_reader_fail(struct partition_reader *reader, const struct stream *stream,
			   uint64_t now_ns);
void partition_reader_end_all(struct partition_reader *reader, enum code code);
