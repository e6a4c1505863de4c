// A history file: what one client process did and saw, in the order in which it happened.
#pragma once

#include <mqpaas/mqpaas.h>

#include <stdbool.h>
#include <stdint.h>

enum record_kind {
	RECORD_SEND = 1,     // a send is about to begin
	RECORD_SENT = 2,     // it ended: outcome, code, position
	RECORD_ATTEMPT = 3,  // one attempt at it ended UNKNOWN
	RECORD_DELIVERY = 4, // a message has been received
	RECORD_SETTLE = 5,   // it is about to be settled: verb
	RECORD_SETTLED = 6,  // the service has answered: code
	RECORD_NOTED = 7,    // the library has noted the settle: code
	RECORD_END = 8,      // the process is done: code of closing, what was refused
};

#define RECORD_NO_KEY UINT32_MAX

// What is begun holds in `id` how long it may take, in ms, by the deadline that the library was
// given; 0: no client waits for its end.

// 64 bytes, little-endian, as it lies in the file. What a kind does not need is 0.
struct record {
	uint64_t time_ns; // monotonic
	uint8_t kind;     // enum record_kind
	uint8_t what;     // outcome of a send, verb of a settle
	uint16_t code;
	uint32_t attempt;
	uint64_t sequence; // of the message at its producer; RECORD_END: settles refused
	uint32_t producer;
	uint32_t key; // number of the key; RECORD_NO_KEY: none
	uint64_t digest;
	uint64_t id; // the second half of the message's id; RECORD_SEND, RECORD_SETTLE: see below
	uint32_t partition;
	uint32_t extra; // RECORD_SENT: durability; consumers: number of the delivery
	uint64_t offset;
};

// What a consumer's file says of it: deliveries are recorded in the order of their arrival.
#define RECORD_ORDERED 1u

// Opens the history of this process; ends the process where it cannot be written.
void record_open(const char *path, char role, uint8_t flags, const char *name);
// Appends records with the present time; they survive the death of the process. @thread any
void record_append(struct record *records, unsigned count);
void record_close(void);

uint64_t record_id(const uint8_t *id);
