// One source on RabbitMQ: what its files share. Each member belongs to the thread that is named
// above it; the two exchange nothing but tasks (orders.h to the link, events.h to the home loop).
#pragma once

#include "adapters/queue/queue.h"
#include "adapters/rabbitmq/ask/incident.h"
#include "adapters/rabbitmq/link/rabbitmq_adapter.h"
#include "adapters/rabbitmq/message/arriving.h"
#include "adapters/rabbitmq/receive/outstanding.h"
#include "adapters/rabbitmq/receive/proof.h"
#include "adapters/rabbitmq/receive/store.h"

#define RABBITMQ_MAIN        0u // of RABBITMQ_QUEUES: the group's queue
#define RABBITMQ_RETRY       1u // .retry
#define RABBITMQ_REPLAY      2u // .replay
#define RABBITMQ_ACKS        1024u
#define RABBITMQ_RETRY_SHARE 4u // of a prefetch, one place in 4 is for .retry

struct rabbitmq_batch;
struct rabbitmq_store_job;

enum rabbitmq_source_state {
	RABBITMQ_SOURCE_NONE,    // no channel
	RABBITMQ_SOURCE_OPENING, // the link opens it
	RABBITMQ_SOURCE_LOOKING, // for consumers of an earlier channel
	RABBITMQ_SOURCE_WAITING, // to look again
	RABBITMQ_SOURCE_OPEN,
	RABBITMQ_SOURCE_ENDING, // closed() is on its way
};

enum rabbitmq_consumer_state {
	RABBITMQ_CONSUMER_NONE,
	RABBITMQ_CONSUMER_STARTING, // basic.consume is sent
	RABBITMQ_CONSUMER_RUNNING,
	RABBITMQ_CONSUMER_CANCELLING, // basic.cancel is sent
};

#define RABBITMQ_CONSUMERS 16u // of both queues, those included that are being cancelled

struct rabbitmq_consumer {
	char tag[32];      // what the broker calls it
	uint32_t number;   // in its tag, never used twice
	uint8_t state;     // enum rabbitmq_consumer_state
	uint8_t queue;     // which of RABBITMQ_QUEUES
	uint32_t prefetch; // what it may have handed out
	uint32_t open;     // what it has, and what is not acknowledged
	uint64_t settled;  // what it had, and what is
	uint64_t asked;    // the last basic.ack before the request that is sent
};

// What the source waits for on its channel.
enum rabbitmq_expected {
	RABBITMQ_EXPECT_LOOK,    // passive declare, when the channel is opened
	RABBITMQ_EXPECT_BARRIER, // passive declare
	RABBITMQ_EXPECT_COUNT,   // passive declare
	RABBITMQ_EXPECT_FATE,    // passive declare: what became of the queue
	RABBITMQ_EXPECT_STILL,   // passive declare: is the queue still there?
	RABBITMQ_EXPECT_PROOF,   // passive declare: is there nothing to be got?
	RABBITMQ_EXPECT_GET,
	RABBITMQ_EXPECT_DRAINED, // passive declare: is `.replay` empty?
	RABBITMQ_EXPECT_MARKER,  // passive declare of the topic's marker: is this life of it there?
	RABBITMQ_EXPECT_QOS,
	RABBITMQ_EXPECT_CONSUME,
	RABBITMQ_EXPECT_CANCEL,
};

struct rabbitmq_expectation {
	uint8_t what;   // enum rabbitmq_expected
	uint8_t queue;  // which of RABBITMQ_QUEUES
	uint64_t asked; // the last basic.ack before it
};

#define RABBITMQ_EXPECTATIONS 64u // three for each consumer, and looks

// The end of a channel, in words.
struct rabbitmq_end {
	enum code code;
	char text[256];
	bool look_again;  // what is there of the retry store is to be looked at anew
	uint64_t hold_ms; // how long the broker leaves a delivery unacknowledged
};

struct queue_attachment {
	// Fixed.
	struct adapter *adapter;
	struct queue_attach to;
	struct rabbitmq_name retry_name, replay_name, marker;
	const char *names[RABBITMQ_QUEUES];

	// ---- the receive link's

	// The channel (source_channel.c).
	struct rabbitmq_channel channel;
	uint8_t state; // enum rabbitmq_source_state
	uint64_t epoch;
	struct rabbitmq_expectation expected[RABBITMQ_EXPECTATIONS];
	unsigned expected_count;
	bool has_retry, detach, counting;
	unsigned looks;                    // of the group's queues that are not answered yet
	uint64_t looked_ns;                // since when consumers are waited for; 0: they are not
	struct loop_timer look_timer;      // the next look
	struct loop_timer still_timer;     // the next look of a channel that is open
	uint64_t seen_ns;                  // when the queue was there; 0: not seen yet
	uint32_t there[RABBITMQ_QUEUES];   // consumers at the last look
	uint32_t others[RABBITMQ_QUEUES];  // those that are not ours
	uint32_t ready[RABBITMQ_QUEUES];   // messages at the last look
	uint32_t counted[RABBITMQ_QUEUES]; // messages at the last count
	struct rabbitmq_end end;           // why it is being ended here
	uint64_t hold_ms;                  // how long the broker leaves a delivery unacknowledged

	// Consuming (source_consumer.c).
	struct rabbitmq_consumer consumers[RABBITMQ_CONSUMERS];
	uint32_t consumer_number;             // of the last one
	struct rabbitmq_consumer *last_acked; // of which something was acknowledged last
	uint32_t prefetch;                    // that is asked for; 0: nothing is handed on
	uint64_t handed_tag;                  // the last that was handed on
	uint64_t since_tag;                   // the same, when the consuming began
	uint32_t handed[RABBITMQ_QUEUES];     // since then, and not acknowledged
	struct loop_timer kept_timer;
	struct list kept;                     // what has arrived and is not handed on
	uint32_t kept_count[RABBITMQ_QUEUES]; // of it

	// `.replay` before the group's queue (source_replay.c).
	bool replaying;           // it may have messages: the group's queue is not consumed
	bool removing;            // it has none, and is deleted when all of it is acknowledged
	bool drain_asked;         // whether it is empty
	unsigned drained;         // looks that found it so
	uint64_t replayed;        // what has come of it
	uint64_t replayed_before; // the same, at the last look
	struct loop_timer drain_timer;

	// Deliveries (source_arrival.c).
	struct rabbitmq_outstanding outstanding;
	struct rabbitmq_arriving arriving;
	uint8_t arriving_state, arriving_queue;
	uint64_t arriving_left; // bytes of the body
	uint32_t aside;         // messages of the channel that are too large
	struct queue_arrival arrival;
	uint32_t unproven[RABBITMQ_QUEUES]; // given back by the channel before, and not seen yet

	// Acknowledgements (source_ack.c).
	struct rabbitmq_proof proof[RABBITMQ_QUEUES];
	uint64_t acks;    // basic.acks that were sent
	unsigned unacked; // a bit for each queue that got acknowledgements since the last barrier
	bool barrier;     // one is asked for, and is sent behind a proof
	bool proving[RABBITMQ_QUEUES];      // a look or a get is on its way
	uint64_t short_ns[RABBITMQ_QUEUES]; // since when a proof is looked for; 0: it is not
	struct loop_timer proof_timer;      // the next look

	// ---- on their way (orders.c, events.c)

	struct loop_task order_open, order_cut, order_consume, order_cancel, order_ack,
		order_barrier, order_count, order_retry, order_detach; // to the link
	uint64_t ordered_epoch;
	bool ordered_retry, ordered_replay, ordered_retry_posted; // the last: atomic
	uint32_t ordered_prefetch;
	uint64_t ordered_tags[RABBITMQ_ACKS];
	size_t ordered_tag_count;

	struct rabbitmq_batch *batch; // the link's: it leaves at the end of the round
	struct loop_task batch_task;
	bool batch_task_posted, detached_due;
	struct loop_task event_opened, event_passed, event_cancelled, event_lost, event_gone,
		event_counted, event_detached; // to the home loop
	uint64_t opened_epoch, passed_epoch, cancelled_epoch, lost_epoch;
	struct rabbitmq_end lost;
	char gone_text[RABBITMQ_INCIDENT_TEXT];
	bool counted_ok;

	// ---- the home loop's

	uint64_t home_epoch;   // of the channel that is wanted
	uint64_t home_hold_ms; // as hold_ms
	bool opening, detaching, link_detached;
	struct rabbitmq_store store; // what is there of the retry store
	bool store_known;
	struct rabbitmq_store_job *finding; // NULL: nothing is looked for
	struct loop_timer find_timer;
	unsigned counts_left; // parts of the count that is under way; 0: none
	bool counts_failed;
	struct queue_counts counts;
	struct rabbitmq_store_job *levels_job; // one part
	bool levels_abandoned;                 // it will not be answered
	uint64_t renewals; // copies in `.retry` that take the place of what is held
	unsigned copies;   // on their way
};
