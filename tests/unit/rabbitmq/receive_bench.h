// What the cases of a RabbitMQ source stand on: an attachment over a link, an ask link, a sender
// and a clock that are the test's. One loop plays every thread.
#pragma once

#include "adapters/rabbitmq/receive/receiver.h"
#include "tests/unit/unit.h"

#include <stdio.h>

enum { BENCH_HEARTBEAT_S = 5, BENCH_CONSUMER_TIMEOUT_MS = 1800000 };

// A queue as the broker has it.
struct bench_queue {
	uint32_t messages, consumers;
	bool missing;
};

struct bench_arrived {
	uint64_t tag, due_ms, epoch;
	uint32_t partition, attempts;
	int64_t stored_ms;
	bool given_back, anonymous;
	char body[16];
};

// What was seen, since bench_begin().
extern struct bench {
	struct loop *loop;
	struct adapter adapter;
	struct topic topic; // imported; else its marker is looked for
	struct group group;
	struct queue_attachment *attachment;
	uint64_t now_ns, wall_ms;
	bool up; // the link
	// Told of the group's queue.
	unsigned seen, missing, aside;
	uint64_t aside_bytes;
	uint64_t seen_ago_ns; // the last time
	bool no_frame;        // no memory for a message that arrives

	// Of the channel.
	struct bench_queue main, retry, replay;
	bool unmarked;   // the topic's marker is not there
	char sent[4096]; // "declare g; ack 3; ", since bench_sent() looked
	unsigned opens, closes;
	bool open, opening, closing;

	// Told to the source.
	unsigned opened, passed, cancelled, lost, gone, counted, detached, written, batches;
	uint64_t epoch; // of the last one
	enum code code;
	char text[300];
	struct bench_arrived arrived[700];
	size_t arrived_count;
	bool counts_known;
	struct queue_counts counts;
	enum queue_outcome outcome;
	uint64_t written_number;

	// Asked of the ask link: one at a time.
	struct rabbitmq_ask *ask;
	unsigned asks;
	// Posted to the sender: one at a time.
	struct rabbitmq_post *post;
	unsigned posts;
} bench;

extern const struct queue_ops *ops;

void bench_begin(void);
void bench_end(void); // detaches, and nothing is left
void bench_run(void); // until nothing goes on by itself
void bench_pass_ms(uint64_t ms);
// What was sent since the last look is this.
#define BENCH_SENT(text)                                                                           \
	do {                                                                                       \
		CHECK_STR(bench.sent, text);                                                       \
		*bench.sent = '\0';                                                                \
	} while (0)
void bench_answer(void);      // the oldest method that is not answered, as the queues are
void bench_answer_late(void); // the oldest one, of a consumer, behind all others
void bench_answer_all(void);  // and what they lead to
void bench_channel_opened(void);
void bench_closed(enum code code, uint16_t reply, const char *text);
void bench_method(amqp_method_number_t id, void *decoded);
amqp_bytes_t bench_tag(const char *queue); // of its consumer
void bench_deliver(const char *queue, uint64_t tag, bool redelivered, const char *body);
// The oldest method is a get, and this is what it brings.
void bench_answer_get(uint64_t tag, const char *body);
void bench_get_unasked(uint64_t tag);
void bench_deliver_half(const char *queue, uint64_t tag); // a part of its body is missing
void bench_deliver_more(const char *queue, uint64_t tag); // in the same round as the next one
// The ask link answers what was asked: names that are there, separated by a space, each with
// 3 messages.
void bench_found(const char *names);
void bench_ask_fails(enum code code);
void bench_posted(enum outcome outcome, enum code code);
void bench_open_with(const char *names); // a channel, when the retry store has these queues
bool bench_write(uint64_t number, uint32_t attempts, uint64_t due_in_ms, bool renewal);
