// A connection to Redis on one loop: connects and connects anew, logs in, runs scripts with
// deadlines.
//
// Everything is for the loop's own thread. Every call is answered exactly once, and never inside of
// redis_call(). A name is resolved when it connects, and the loop waits for that: it wants a loop
// of its own where `host` is no address.
#pragma once

#include "core/loop/loop.h"

#include <stddef.h>

#define REDIS_TEXTS_MAX   1024u              // in an answer
#define REDIS_PENDING_MAX (4u * 1024 * 1024) // bytes of an answer that is not complete

struct redis;

struct redis_options {
	const char *host; // borrowed, as all of these, until redis_new() returns
	uint16_t port;
	const char *user, *password; // NULL: none
	bool tls;
};

// A script as it is built in; sent by its name once Redis has it.
struct redis_script {
	const unsigned char *text;
	size_t size;
};

enum redis_outcome {
	REDIS_ANSWERED,
	REDIS_FAILED,   // Redis answered an error; `words` has it
	REDIS_GONE,     // no connection, or it was lost; the script may have been executed
	REDIS_LATE,     // no answer in time; may have been executed, or be executed later
	REDIS_UNUSABLE, // an answer of another form, or larger than its bounds
};

struct redis_answer {
	enum redis_outcome outcome;
	const char *words; // of what is not REDIS_ANSWERED, for operators
	size_t count;
	const char *const *texts; // of an array; of one value: count is 1
};

typedef void (*redis_answer_fn)(void *data, const struct redis_answer *answer);
typedef void (*redis_state_fn)(void *data, bool ready, const char *words);

// What cannot ever work is said at once: -ENOTSUP with TLS where it is not built in (redis_tls()).
int redis_new(struct loop *loop, const struct redis_options *options, redis_state_fn state,
	      void *data, struct redis **ret);
void redis_free(struct redis *redis); // answers what is open with REDIS_GONE
bool redis_has_tls(void);

// Runs a script on the keys and arguments (`key_count` keys first); copied. The answer is valid in
// the callback only.
void redis_call(struct redis *redis, const struct redis_script *script, size_t key_count,
		size_t count, const char *const *args, uint64_t wait_ns, redis_answer_fn fn,
		void *data);
void redis_reconnect(struct redis *redis); // drops the connection, with what is under way
