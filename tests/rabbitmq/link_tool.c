// One link to a RabbitMQ cluster in the hands of a test: commands on standard input, what happens
// on standard output, a line each.
//
//	link_tool OPTIONS_JSON [SECRETS_JSON]
//
//	open N · close N · kill N                  a channel; kill: by an error of ours
//	queue N NAME KIND · delete N NAME          declare (quorum, classic), delete
//	look N NAME                                declare passively
//	confirm N · consume N NAME COUNT           COUNT: prefetch
//	publish N EXCHANGE KEY SIZE COUNT          EXCHANGE "-": the default one; mandatory
//	get N NAME · ack N TAG
//	table N ENTRIES                            ENTRIES: headers of the one message
//	watch MS · version · stop

#include "adapters/rabbitmq/link/link.h"

#include "core/base/clock.h"
#include "core/base/code.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

#define CHANNELS 2100

struct channel {
	struct rabbitmq_channel channel;
	uint64_t tag, body_sum, body_left;
};

static struct channel channels[CHANNELS];
static struct rabbitmq_link *rabbitmq;
static uint8_t payload[64 << 20];

static void say(const char *fmt, ...) PRINTF_LIKE(1, 2);
static void say(const char *fmt, ...)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	va_list args;

	pthread_mutex_lock(&lock);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
	pthread_mutex_unlock(&lock);
}

static long number_of(struct rabbitmq_channel *channel)
{
	return CONTAINER_OF(channel, struct channel, channel) - channels;
}

static void on_changed(void *ctx, enum code code, const char *text)
{
	say("%s %s %s", code == CODE_OK ? "up" : "down", code_name(code), text);
}

static void on_blocked(void *ctx, const char *reason)
{
	say("%s %s", reason ? "blocked" : "unblocked", reason ? reason : "");
}

static void on_opened(struct rabbitmq_channel *channel)
{
	say("opened %ld", number_of(channel));
}

static void on_closed(struct rabbitmq_channel *channel, enum code code, uint16_t reply,
		      const char *text)
{
	say("closed %ld %s %u %s", number_of(channel), code_name(code), reply, text);
}

static void on_method(struct rabbitmq_channel *channel, const amqp_method_t *method)
{
	const amqp_queue_declare_ok_t *declared = method->decoded;
	const amqp_basic_ack_t *ack = method->decoded;

	if (method->id == AMQP_QUEUE_DECLARE_OK_METHOD)
		say("declared %ld %u %u", number_of(channel), declared->message_count,
		    declared->consumer_count);
	else if (method->id == AMQP_BASIC_ACK_METHOD)
		say("ack %ld %" PRIu64 " %d", number_of(channel), ack->delivery_tag, ack->multiple);
	else
		say("method %ld %s", number_of(channel), amqp_method_name(method->id));
}

static void body_end(struct channel *channel)
{
	say("body %ld %" PRIu64, number_of(&channel->channel), channel->body_sum);
}

static void on_head(struct rabbitmq_channel *base, const struct rabbitmq_head *head)
{
	struct channel *channel = CONTAINER_OF(base, struct channel, channel);

	channel->body_sum = 0;
	channel->body_left = head->body_size;
	if (head->returned)
		say("returned %ld %u %.*s", number_of(base), head->code, (int)head->routing_key.len,
		    (const char *)head->routing_key.bytes);
	else
		say("%s %ld %" PRIu64 " %d %" PRIu64 " %.*s %.*s", head->got ? "got" : "delivered",
		    number_of(base), head->tag, head->redelivered, head->body_size,
		    (int)head->consumer.len, (const char *)head->consumer.bytes,
		    (int)head->routing_key.len, (const char *)head->routing_key.bytes);
	if (head->body_size == 0)
		body_end(channel);
}

static void on_body(struct rabbitmq_channel *base, const uint8_t *data, size_t size)
{
	struct channel *channel = CONTAINER_OF(base, struct channel, channel);

	for (size_t i = 0; i < size; ++i)
		channel->body_sum += data[i];
	channel->body_left -= size;
	if (channel->body_left == 0)
		body_end(channel);
}

static const struct rabbitmq_channel_handlers handlers = {on_opened, on_closed, on_method, on_head,
							  on_body};

struct command {
	struct loop_task task;
	char line[1024];
	const char *verb, *words[4]; // of the line
};

static struct channel *channel_of(const struct command *command)
{
	return &channels[strtoul(command->words[0], NULL, 10) % CHANNELS];
}

static void queue_declare(struct rabbitmq_channel *channel, const char *name, const char *kind)
{
	amqp_table_entry_t entry = {.key = amqp_cstring_bytes("x-queue-type"),
				    .value = {.kind = AMQP_FIELD_KIND_UTF8}};
	amqp_queue_declare_t declare = {.queue = amqp_cstring_bytes(name),
					.durable = 1,
					.passive = !kind,
					.arguments = {1, &entry}};

	entry.value.value.bytes = amqp_cstring_bytes(kind ? kind : "");
	rabbitmq_channel_send(channel, AMQP_QUEUE_DECLARE_METHOD, &declare);
}

static void consume(struct rabbitmq_channel *channel, const char *name, const char *count)
{
	amqp_basic_qos_t qos = {.prefetch_count = (uint16_t)strtoul(count, NULL, 10)};
	amqp_basic_consume_t begin = {.queue = amqp_cstring_bytes(name)};

	rabbitmq_channel_send(channel, AMQP_BASIC_QOS_METHOD, &qos);
	rabbitmq_channel_send(channel, AMQP_BASIC_CONSUME_METHOD, &begin);
}

static void publish(struct rabbitmq_channel *channel, const struct command *command)
{
	const char *exchange = strcmp(command->words[1], "-") == 0 ? "" : command->words[1];
	amqp_basic_properties_t properties = {._flags = AMQP_BASIC_DELIVERY_MODE_FLAG,
					      .delivery_mode = 2};
	char text[32], *rest;
	size_t size = strtoul(command->words[3], &rest, 10), count = strtoul(rest, NULL, 10), i;

	for (i = 0; i < count; ++i)
		if (!rabbitmq_channel_publish(channel, amqp_cstring_bytes(exchange),
					      amqp_cstring_bytes(command->words[2]), true,
					      &properties, (amqp_bytes_t){size, payload}))
			break;
	snprintf(text, sizeof text, i == count ? "all" : "%zu", i);
	say("published %ld %s", number_of(channel), text);
}

// With a table of headers that may be too large for a frame.
static void publish_table(struct rabbitmq_channel *channel, const char *count)
{
	static amqp_table_entry_t entries[100000];
	amqp_basic_properties_t properties = {._flags = AMQP_BASIC_HEADERS_FLAG,
					      .headers = {atoi(count), entries}};

	for (size_t i = 0; i < ARRAY_SIZE(entries); ++i)
		entries[i] = (amqp_table_entry_t){amqp_cstring_bytes("header"),
						  {.kind = AMQP_FIELD_KIND_VOID}};
	say("sent %d",
	    rabbitmq_channel_publish(channel, amqp_empty_bytes, amqp_cstring_bytes("nowhere"), true,
				     &properties, amqp_cstring_bytes("body")));
}

static void run(struct loop_task *task)
{
	struct command *command = CONTAINER_OF(task, struct command, task);
	struct rabbitmq_channel *channel = &channel_of(command)->channel;
	const char *verb = command->verb, *name = command->words[1];

	if (strcmp(verb, "open") == 0)
		rabbitmq_channel_open(rabbitmq, channel, &handlers);
	else if (strcmp(verb, "close") == 0)
		rabbitmq_channel_close(channel);
	else if (strcmp(verb, "kill") == 0)
		rabbitmq_channel_send(channel, AMQP_BASIC_ACK_METHOD,
				      &(amqp_basic_ack_t){.delivery_tag = UINT64_MAX});
	else if (strcmp(verb, "ack") == 0)
		rabbitmq_channel_send(
			channel, AMQP_BASIC_ACK_METHOD,
			&(amqp_basic_ack_t){.delivery_tag = strtoull(name, NULL, 10)});
	else if (strcmp(verb, "queue") == 0)
		queue_declare(channel, name, command->words[2]);
	else if (strcmp(verb, "look") == 0)
		queue_declare(channel, name, NULL);
	else if (strcmp(verb, "delete") == 0)
		rabbitmq_channel_send(channel, AMQP_QUEUE_DELETE_METHOD,
				      &(amqp_queue_delete_t){.queue = amqp_cstring_bytes(name)});
	else if (strcmp(verb, "confirm") == 0)
		rabbitmq_channel_send(channel, AMQP_CONFIRM_SELECT_METHOD,
				      &(amqp_confirm_select_t){0});
	else if (strcmp(verb, "consume") == 0)
		consume(channel, name, command->words[2]);
	else if (strcmp(verb, "get") == 0)
		rabbitmq_channel_send(channel, AMQP_BASIC_GET_METHOD,
				      &(amqp_basic_get_t){.queue = amqp_cstring_bytes(name)});
	else if (strcmp(verb, "publish") == 0)
		publish(channel, command);
	else if (strcmp(verb, "table") == 0)
		publish_table(channel, name);
	else
		say("what? %s", verb);
	free(command);
}

static struct {
	uint64_t limit_ns; // 0: there is no thread
	bool ends;         // atomic
	pthread_t thread;
} watching;

static void *watch(void *ctx)
{
	while (!__atomic_load_n(&watching.ends, __ATOMIC_ACQUIRE)) {
		rabbitmq_link_watch(rabbitmq, clock_now_ns(), watching.limit_ns);
		usleep(50000);
	}
	return NULL;
}

static void watch_start(const char *ms)
{
	watching.limit_ns = strtoul(ms, NULL, 10) * MS_NS;
	pthread_create(&watching.thread, NULL, watch, NULL);
}

static void watch_end(void)
{
	__atomic_store_n(&watching.ends, true, __ATOMIC_RELEASE);
	if (watching.limit_ns)
		pthread_join(watching.thread, NULL);
}

static void version_say(void)
{
	char version[32];

	rabbitmq_link_version(rabbitmq, version, sizeof version);
	say("version %s", version);
}

// Posted, not waited for: the link may be inside of a send. False: it is the last.
static bool command_do(const char *line)
{
	struct command *command = calloc(1, sizeof *command);
	char *rest = command->line;
	bool is_last;

	command->task.fn = run;
	snprintf(command->line, sizeof command->line, "%s", line);
	command->verb = strsep(&rest, " ");
	for (size_t i = 0; i < 3; ++i)
		command->words[i] = rest ? strsep(&rest, " ") : "";
	command->words[3] = rest ? rest : "";
	is_last = strcmp(command->verb, "stop") == 0;
	if (strcmp(command->verb, "watch") == 0) {
		watch_start(command->words[0]);
	} else if (strcmp(command->verb, "version") == 0) {
		version_say();
	} else if (!is_last) {
		loop_post(rabbitmq_link_loop(rabbitmq), &command->task);
		return true;
	}
	free(command);
	return !is_last;
}

int main(int argc, char **argv)
{
	const struct cluster cluster = {.name = "c",
					.kind = "rabbitmq",
					.options_json = argc > 1 ? argv[1] : "{}",
					.secrets_json = argc > 2 ? argv[2] : NULL};
	struct rabbitmq_options options;
	struct log_ctx log = {.cluster = "c"};
	struct rabbitmq_link_config config = {.name = "rabbitmq-test",
					      .options = &options,
					      .cluster = "c",
					      .log = &log,
					      .changed = on_changed,
					      .blocked = on_blocked};
	char *error = NULL, line[1024];

	if (rabbitmq_options_read(&cluster, &options, &error) < 0) {
		say("refused %s", error);
		free(error);
		return 1;
	}
	for (size_t i = 0; i < sizeof payload; ++i)
		payload[i] = (uint8_t)i;
	if (rabbitmq_link_start(&config, &rabbitmq) < 0)
		return 1;
	while (fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\n")] = '\0';
		if (!command_do(line))
			break;
	}
	watch_end();
	rabbitmq_link_stop(rabbitmq);
	rabbitmq_options_deinit(&options);
	say("stopped");
	return 0;
}
