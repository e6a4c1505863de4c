// The client program of the history tests: its options and its two halves.
#pragma once

#include <mqpaas/mqpaas.h>

#include <stdbool.h>
#include <stdint.h>

struct workload {
	const char *history; // path of the file to write
	const char *topic;   // produce
	const char *group;   // consume
	// produce
	uint32_t producer;        // number of the first producer; each sender has one of its own
	uint32_t sync_senders;    // threads that wait for each send
	uint32_t rate;            // messages/s of the async sender; a sync one sends 200
	uint32_t keys;            // how many keys, each sender its own; a fifth has none
	uint32_t body_bytes;      // 0: of every size
	uint32_t batch_messages;  // 0: as the library likes it
	uint32_t send_timeout_ms; // until a send is given up
	// consume
	bool push;
	uint32_t threads; // push: that run callbacks
	bool mixed;       // every verb; else only acks
};

// Ends the process with a sentence where an answer is not MQP_OK.
void workload_check(enum mqp_code code, const char *what);

// Waits at most so long. Returns true once the parent has asked to end (or is gone).
bool workload_ending(int timeout_ms);

// Send, or take messages, until workload_ending(); then end in order and write RECORD_END.
void produce_run(const struct workload *workload);
void consume_run(const struct workload *workload);
