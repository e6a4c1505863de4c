// A consumer inside: what is received and not yet seen, who runs callbacks, what a pull waits for.
#pragma once

#include "sdk/c/src/client.h"
#include "sdk/c/src/delivery.h"

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
	bool hangs;        // longer than extend_max_ms: nobody waits for it any more
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
	size_t pull_ready;       // DONE: so many may be taken
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

// consumer_io.c
void consumer_io_init(struct mqp_consumer *consumer);
void consumer_post(struct mqp_consumer *consumer); // under the lock

void consumer_wake(struct mqp_consumer *consumer);    // I/O: later in this round
void consumer_changed(struct mqp_consumer *consumer); // under the lock
bool consumer_pushes(const struct mqp_consumer *consumer);
bool subscription_is_open(const struct subscription *subscription);

// consumer_report.c: I/O
void credit_note(struct subscription *subscription);
void credit_changed(struct subscription *subscription); // a frame is due
void credit_return(struct subscription *subscription);
void credit_top_up(struct mqp_consumer *consumer); // push
void report_send(struct mqp_consumer *consumer);   // all that is due over all subscriptions
void report_tick(struct mqp_consumer *consumer);   // life, extensions
uint64_t report_next_ns(struct mqp_consumer *consumer);
int report_settled(struct subscription *subscription, const uint8_t *payload, size_t size);
void report_written(struct stream *stream);
// What waits is given back once no more can come; at once, if none can.
void give_back(struct subscription *subscription, enum give_back why);
void give_back_drained(struct subscription *subscription);

// consumer_pull.c: I/O
void pull_step(struct mqp_consumer *consumer);
void pull_drained(struct mqp_consumer *consumer, struct subscription *subscription);
void pull_restart(struct mqp_consumer *consumer); // the subscription that was asked is gone
void pull_cut(struct mqp_consumer *consumer);
// Before the hand loses what came over the subscription; under the lock.
void pull_forget(struct mqp_consumer *consumer, const struct subscription *subscription);
uint64_t pull_next_ns(const struct mqp_consumer *consumer); // under the lock

// consumer.c
enum mqp_code consumer_close(struct mqp_consumer *consumer, uint64_t deadline_ns); // not I/O
struct mqp_message *consumer_pop(struct mqp_consumer *consumer); // under the lock; NULL: empty
void consumer_release_queued(struct mqp_consumer *consumer);     // takes the lock

// push.c
int push_start(struct mqp_consumer *consumer);            // callback threads; -errno
void push_stop(struct mqp_consumer *consumer);            // waits for running callbacks
void push_run_some(struct mqp_consumer *consumer);        // in the application's loop
bool push_is_inside(const struct mqp_consumer *consumer); // this is one of its callback threads
