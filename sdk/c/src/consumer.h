// A consumer inside: what is received and not yet seen, the callback threads, what a pull waits
// for.
#pragma once

#include "sdk/c/src/client.h"
#include "sdk/c/src/subscription.h"

enum pull_phase {
	PULL_NONE,     // no pull
	PULL_START,    // waits for a subscription
	PULL_ASKED,    // what is ready now was asked for
	PULL_WAITING,  // nothing was: waits for the first message
	PULL_DRAINING, // gives back the credit that is left
	PULL_TELLING,  // messages are there: their begin is told
	PULL_DONE,
	// The caller has left at its deadline; the I/O finishes what it began.
	PULL_LEFT,         // gives back the credit
	PULL_LEFT_UNASKED, // asks once for what is ready: the next pull takes it
};

// What a callback thread is at.
struct slot {
	struct mqp_message *message; // NULL: none, or it is gone
	const struct hand_sub *sub;  // with the number: what it runs
	uint64_t number;
	uint64_t began_ns; // 0: no callback runs
	bool hangs;        // longer than extend_max_ms: not counted as running any more
};

struct mqp_consumer {
	struct member member;
	struct mqp_client *client;
	atomic_uint refs; // the handle's, and one of each subscription
	char *group;
	struct mqp_consumer_config config;

	pthread_mutex_t lock; // guards all down to I/O
	pthread_cond_t changed;
	pthread_cond_t work; // for callback threads
	struct list subscriptions;
	struct hand hand; // what waits, and what was told
	uint64_t counted_in_hand;
	uint64_t unconfirmed; // settles that were lost with a connection
	enum mqp_code status;
	bool open;
	bool paused;
	bool closing;
	bool stopping; // callback threads return
	bool parting;
	bool detached;

	pthread_t *threads;
	struct slot *slots; // one a thread, or the loop's
	uint32_t thread_count;

	enum pull_phase phase;
	uint32_t pull_max;
	uint64_t pull_return_ns; // when the credit begins to be given back
	size_t pull_ready;       // DONE: number of messages that may be taken
	enum mqp_code pull_code; // when done without a message

	// I/O
	struct subscription *current;
	struct timer timer;
	bool attached;
	uint64_t reopen_ns;
	uint32_t reopen_wait_ms;
};

struct mqp_consumer *consumer_ref(struct mqp_consumer *consumer);
void consumer_unref(struct mqp_consumer *consumer);

void consumer_post(struct mqp_consumer *consumer);    // under the lock
void consumer_wake(struct mqp_consumer *consumer);    // I/O: later in this round
void consumer_changed(struct mqp_consumer *consumer); // under the lock
bool consumer_pushes(const struct mqp_consumer *consumer);
struct mqp_message *consumer_pop(struct mqp_consumer *consumer); // under the lock; NULL: empty
