// A proxy for the tests of the SDK: the real protocol over a real socket, messages in memory, and
// the faults that a test asks for.
#pragma once

#include "core/base/code.h"
#include "core/wire/frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fake;

struct fake_config {
	const char *access_key;
	const char *secret;
	const char *topic; // the only topic; its messages are what `group` gets
	const char *group;
	uint64_t window;        // produce window; 0: 8 MiB
	uint32_t max_frame;     // 0: 1 MiB
	uint32_t visibility_ms; // 0: 30,000
	uint32_t keepalive_ms;  // 0: 20,000
	bool old;               // without the feature BEGUN
	const char *cert_file;  // NULL: no TLS
	const char *key_file;
};

// What becomes of the records of a PRODUCE frame.
enum fake_plan {
	PLAN_STORE,        // stored, OK
	PLAN_REJECT,       // the first `plan_pass` are stored, the others REJECTED(plan_code)
	PLAN_UNKNOWN,      // stored, but answered UNKNOWN(plan_code)
	PLAN_LOSE_ANSWER,  // stored, then the connection is closed without an answer
	PLAN_LOSE_REQUEST, // not stored, the connection is closed
	PLAN_SILENT,       // not stored, never answered
};

int fake_new(const struct fake_config *config, struct fake **ret);
void fake_free(struct fake *fake);
void fake_address(const struct fake *fake, char *text, size_t size);

// The next `times` PRODUCE frames are treated so, later ones are stored.
void fake_plan(struct fake *fake, enum fake_plan plan, unsigned times, enum code code,
	       uint32_t retry_after_ms, uint32_t pass);
// Whether the last login was bound to its channel (SCRAM-SHA-256-PLUS).
bool fake_bound(struct fake *fake);
void fake_hold_answers(struct fake *fake, bool hold); // PRODUCED is kept back until released
void fake_set_secret(struct fake *fake, const char *access_key, const char *secret);
void fake_refuse_group(struct fake *fake, enum code code); // OK: no longer
void fake_goaway(struct fake *fake, const char *address);  // to all connections; NULL: none named
void fake_close_topics(struct fake *fake, enum code code); // streams of producers; unasked
void fake_throttle(struct fake *fake);                     // a THROTTLE of sends to all connections
void fake_stop_listening(struct fake *fake);
void fake_kick(struct fake *fake);   // closes all connections
void fake_freeze(struct fake *fake); // those that are there now stay open and hear nothing more
void fake_expire(struct fake *fake); // all deliveries time out

// Puts a message into the log as if it had been produced.
void fake_store(struct fake *fake, const char *key, const char *body);
size_t fake_stored(struct fake *fake); // messages in the log
// Copies of a stored message's parts, cut to size; false: there is none at `index`.
bool fake_message(struct fake *fake, size_t index, char *key, char *body, size_t size,
		  uint8_t id[16]);
size_t fake_oneway(struct fake *fake);         // of these, by oneway
size_t fake_batches(struct fake *fake);        // PRODUCE frames received
size_t fake_largest(struct fake *fake);        // most records in one of them
size_t fake_largest_settle(struct fake *fake); // most offsets in one SETTLE
size_t fake_acked(struct fake *fake);
uint64_t fake_begun(struct fake *fake);                        // told by all subscriptions
void fake_suspect(struct fake *fake, size_t index, bool last); // its next deliveries are marked
size_t fake_verb(struct fake *fake, unsigned verb);            // settled offsets by verb
size_t fake_in_flight(struct fake *fake);                      // delivered and not settled
size_t fake_connections(struct fake *fake);                    // that are ready now
size_t fake_logins(struct fake *fake);                         // that ever became ready
size_t fake_reused(struct fake *fake);        // streams under an id that was used before
size_t fake_closes(struct fake *fake);        // CLOSE frames
size_t fake_unused_credit(struct fake *fake); // granted by subscriptions and not used
