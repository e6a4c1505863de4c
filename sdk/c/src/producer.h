// A producer inside: the two send queues (acknowledged and oneway), its stream, what threads wait
// for.
#pragma once

#include "sdk/c/src/client.h"
#include "sdk/c/src/ids.h"
#include "sdk/c/src/pace.h"
#include "sdk/c/src/send_queue.h"

struct mqp_producer {
	struct member member;
	struct mqp_client *client;
	char *topic;
	struct mqp_producer_config config;

	pthread_mutex_t lock; // guards all down to I/O
	pthread_cond_t changed;
	pthread_cond_t room; // an eighth of the memory is free again: waiters may go on
	struct send_queue acked;
	struct send_queue oneway;
	struct ids ids;
	uint64_t taken;         // messages
	uint64_t counted;       // of these, added to the client's counters
	uint64_t counted_bytes; // of memory, likewise
	uint32_t max_record;
	enum mqp_code status; // of the last OPEN_TOPIC; MQP_TIMEOUT: none has been answered
	bool open;
	bool throttled; // the proxy withholds its window because of the quota
	bool closing;   // takes nothing more
	bool cancel;    // gives up what it has
	bool parting;   // is to leave the I/O
	bool detached;  // has left it

	// I/O
	struct stream stream;
	struct pace pace;
	struct window_wait window_wait;
	struct timer timer;
	bool attached;
	uint64_t reopen_ns;
	uint32_t reopen_wait_ms;
};

// Why what it has taken is not sent now; MQP_TIMEOUT: for no reason that is known. @thread any
enum mqp_code producer_why(struct mqp_producer *producer);
enum mqp_code producer_close(struct mqp_producer *producer, uint64_t deadline_ns); // not I/O
