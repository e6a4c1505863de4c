// A partition as the fetcher sees it: its streams, and who waits for what they bring.
#pragma once

#include "adapters/kafka/read/catchup_slot.h"
#include "adapters/kafka/read/stream.h"

#define FOLLOW_LANES 3u // consumer handles: one for all followers, the others for lanes

// A fetch that was not answered at once.
struct follow_request {
	struct list node;
	struct log_fetch *fetch;
	uint64_t since_ns;
};

// What is known of the consumer handles, for one partition.
struct follow_handles {
	bool closed[FOLLOW_LANES];           // no stream can begin there now
	uint64_t throttled_ns[FOLLOW_LANES]; // until then a broker may let it wait
	bool down;                           // no broker has been reached since somebody was heard
};

struct follow {
	struct fetcher *fetcher;
	struct kafka_partition *partition; // under the lock; NULL: forgotten
	char *physical;
	uint32_t number;
	struct stream *streams[FOLLOW_LANES]; // written under the lock by the thread
	struct list requests;                 // under the lock
	struct list in_fetcher;               // under the lock
	struct list in_asked;                 // of the wake lock
	uint64_t retry_ns;                    // the thread's: no new stream before
};

struct follow *follow_new(struct fetcher *fetcher,
			  struct kafka_partition *partition); // NULL: no memory
void follow_free(struct follow *follow);                      // without streams and requests

// All of these under the lock.

bool follow_is_gone(const struct follow *follow);
// Answers from one of the rings. *ret_wake: its stream may go on now.
bool follow_answer(struct follow *follow, struct log_fetch *fetch, uint64_t now_ns, bool *ret_wake);
// false: no memory.
bool follow_wait(struct follow *follow, struct log_fetch *fetch, uint64_t now_ns);
// Answers who can be answered, and who has waited too long or for what is gone, and finds out what
// to do for the first of the others. LANE_WAIT: nothing.
enum lane_verdict follow_look(struct follow *follow, const struct follow_handles *handles,
			      uint64_t now_ns, size_t *ret_lane, uint64_t *ret_offset);
// Ends who waits for the stream, which has failed.
void follow_fail(struct follow *follow, const struct stream *stream, uint64_t now_ns);
void follow_end_all(struct follow *follow, enum code code);
