// Which tags of a RabbitMQ channel are acknowledged with which commands
// (adapters/rabbitmq/receive/outstanding.h).

#include "adapters/rabbitmq/receive/outstanding.h"

#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>

static struct rabbitmq_outstanding set;
static char commands[512];

static void on_command(void *ctx, uint64_t tag, bool multiple)
{
	size_t used = strlen(commands);

	snprintf(commands + used, sizeof commands - used, "%llu%s ", (unsigned long long)tag,
		 multiple ? "*" : "");
}

static void add(uint64_t from, uint64_t to, uint8_t queue)
{
	for (uint64_t tag = from; tag <= to; ++tag)
		CHECK_EQ(rabbitmq_outstanding_add(&set, tag, queue, 7), 0);
}

#define ACK(expected, ...)                                                                         \
	do {                                                                                       \
		uint64_t tags[] = {__VA_ARGS__};                                                   \
		*commands = '\0';                                                                  \
		rabbitmq_outstanding_ack(&set, tags, ARRAY_SIZE(tags), on_command, NULL);          \
		CHECK_STR(commands, expected);                                                     \
	} while (0)

static void the_acknowledged_front_is_one_command(void)
{
	add(1, 10, 0);
	ACK("3* ", 2, 1, 3);
	ACK("7 5 ", 7, 5);
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
	uint64_t first[] = {1}, second[] = {2}, both[] = {3, 4};

	add(1, 1, 0);
	add(2, 3, 1);
	add(4, 4, 0);
	CHECK_EQ(set.open[0], 2);
	CHECK_EQ(set.open[1], 2);
	CHECK_EQ(rabbitmq_outstanding_ack(&set, first, 1, on_command, NULL), 1);
	CHECK_EQ(rabbitmq_outstanding_ack(&set, second, 1, on_command, NULL), 2);
	CHECK(!rabbitmq_outstanding_find(&set, 2));
	CHECK_EQ(rabbitmq_outstanding_find(&set, 3)->queue, 1);
	CHECK_EQ(rabbitmq_outstanding_find(&set, 3)->consumer, 7);
	CHECK_EQ(rabbitmq_outstanding_ack(&set, both, 2, on_command, NULL), 3);
	CHECK(!rabbitmq_outstanding_find(&set, 3));
	CHECK(!rabbitmq_outstanding_find(&set, 5));
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
		*commands = '\0';
		rabbitmq_outstanding_ack(&set, &tag, 1, on_command, NULL);
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
		{"tags must rise", tags_must_rise},
		{"one held message costs no memory", one_held_message_costs_no_memory},
	};

	return unit_main(cases, ARRAY_SIZE(cases));
}
