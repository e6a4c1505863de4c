// Which tags of a RabbitMQ channel are acknowledged with which commands
// (adapters/rabbitmq/receive/outstanding.h).

#include "adapters/rabbitmq/receive/outstanding.h"

#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>

static struct rabbitmq_outstanding set;
static char commands[512];

static unsigned begun[RABBITMQ_QUEUES], acked;

static void on_acked(void *ctx, const struct rabbitmq_tag *tag, bool begins)
{
	++acked;
	begun[tag->queue] += begins;
}

static void go_on(void)
{
	struct rabbitmq_ack ack;

	*commands = '\0';
	memset(begun, 0, sizeof begun);
	while (rabbitmq_outstanding_next(&set, on_acked, NULL, &ack)) {
		size_t used = strlen(commands);

		snprintf(commands + used, sizeof commands - used, "%llu%s ",
			 (unsigned long long)ack.tag, ack.multiple ? "*" : "");
	}
	CHECK_EQ(set.wanted, 0);
}

static void add_of(uint32_t consumer, uint64_t from, uint64_t to, uint8_t queue)
{
	for (uint64_t tag = from; tag <= to; ++tag)
		CHECK_EQ(rabbitmq_outstanding_add(&set, tag, queue, consumer), 0);
}

static void add(uint64_t from, uint64_t to, uint8_t queue)
{
	add_of(7, from, to, queue);
}

static void want(uint64_t from, uint64_t to)
{
	for (uint64_t tag = from; tag <= to; ++tag)
		rabbitmq_outstanding_want(&set, &tag, 1);
}

#define ACK(expected, ...)                                                                         \
	do {                                                                                       \
		uint64_t tags[] = {__VA_ARGS__};                                                   \
		rabbitmq_outstanding_want(&set, tags, ARRAY_SIZE(tags));                           \
		go_on();                                                                           \
		CHECK_STR(commands, expected);                                                     \
	} while (0)

static void the_acknowledged_front_is_one_command(void)
{
	add(1, 10, 0);
	ACK("3* ", 2, 1, 3);
	ACK("5 7 ", 7, 5);
	ACK("6* ", 6, 4); // 4 to 7, of which two are new
	ACK("8 ", 8);
	ACK("10 ", 10);
	ACK("9 ", 9); // everything
	CHECK_EQ(set.open[0], 0);
	rabbitmq_outstanding_deinit(&set);
}

static void a_batch_may_be_both(void)
{
	add(1, 40, 0);
	ACK("2* 20 30 ", 20, 1, 30, 2);
	CHECK_EQ(set.open[0], 36);
	rabbitmq_outstanding_deinit(&set);
}

static void what_is_not_open_is_no_command(void)
{
	add(5, 6, 0);
	ACK("5 ", 5);
	ACK("", 5, 7, 1);
	ACK("6 ", 6, 6);
	rabbitmq_outstanding_deinit(&set);
}

static void queues_are_told_apart(void)
{
	add(1, 1, 0);
	add(2, 3, 1);
	add(4, 4, 0);
	CHECK_EQ(set.open[0], 2);
	CHECK_EQ(set.open[1], 2);
	want(1, 1);
	CHECK_EQ(set.open[0], 2); // it is not acknowledged yet
	ACK("1 ", 1);
	ACK("2 ", 2);
	CHECK_EQ(set.open[0], 1);
	CHECK_EQ(set.open[1], 1);
	ACK("4* ", 3, 4);
	CHECK_EQ(begun[0], 1);
	CHECK_EQ(begun[1], 1);
	rabbitmq_outstanding_deinit(&set);
}

static void a_consumer_more_is_a_command_more(void)
{
	add_of(1, 1, 10, 0);
	add_of(2, 11, 12, 1);
	add_of(3, 13, 20, 0);
	add_of(2, 21, 22, 1);
	acked = 0;
	want(1, 22);
	go_on();
	CHECK_STR(commands, "22* ");
	CHECK_EQ(acked, 22);
	CHECK_EQ(begun[0], 2);
	CHECK_EQ(begun[1], 1);
	add_of(0, 23, 25, 0); // each got by itself
	want(23, 25);
	go_on();
	CHECK_STR(commands, "25* ");
	CHECK_EQ(begun[0], 3);
	rabbitmq_outstanding_deinit(&set);
}

// Whatever is wanted in whatever order: each is acknowledged once.
static void every_tag_once(void)
{
	enum { TAGS = 2000 };
	uint32_t random = 1;

	add_of(1, 1, TAGS, 0);
	acked = 0;
	for (uint32_t i = 0; i < 10 * TAGS; ++i) {
		random = random * 1103515245 + 12345;
		want(1 + (random >> 8) % TAGS, 1 + (random >> 8) % TAGS);
		if (random >> 30)
			go_on();
	}
	want(1, TAGS);
	go_on();
	CHECK_EQ(acked, TAGS);
	CHECK_EQ(set.open[0], 0);
	CHECK_EQ(set.first, set.end);
	rabbitmq_outstanding_deinit(&set);
}

static void tags_must_rise(void)
{
	add(3, 3, 0);
	CHECK_EQ(rabbitmq_outstanding_add(&set, 3, 0, 7), -EINVAL);
	CHECK_EQ(rabbitmq_outstanding_add(&set, 2, 0, 7), -EINVAL);
	rabbitmq_outstanding_clear(&set);
	add(1, 1, 1);
	CHECK_EQ(set.open[0], 0);
	CHECK_EQ(set.open[1], 1);
	rabbitmq_outstanding_deinit(&set);
}

// One message is held while a million others pass.
static void one_held_message_costs_no_memory(void)
{
	add(1, 1, 0);
	for (uint64_t tag = 2; tag < 1000000; ++tag) {
		add(tag, tag, 0);
		want(tag, tag);
		go_on();
		CHECK(commands[0] && !strchr(commands, '*'));
	}
	CHECK(set.room <= 64);
	ACK("1 ", 1);
	rabbitmq_outstanding_deinit(&set);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"the acknowledged front is one command", the_acknowledged_front_is_one_command},
		{"a batch may be both", a_batch_may_be_both},
		{"what is not open is no command", what_is_not_open_is_no_command},
		{"queues are told apart", queues_are_told_apart},
		{"a consumer more is a command more", a_consumer_more_is_a_command_more},
		{"every tag once", every_tag_once},
		{"tags must rise", tags_must_rise},
		{"one held message costs no memory", one_held_message_costs_no_memory},
	};

	return unit_main(cases, ARRAY_SIZE(cases));
}
