// produce: every line of standard input becomes a message. consume: every message becomes a line of
// standard output.
//
// In format "json" both use the same object (message.h), so that consume | produce copies messages
// with everything they have, to the same partitions.
//
// Invariants: a message is acknowledged only after its line was written and flushed. A terminal is
// shown bodies with hidden characters made visible; a pipe or file gets the bytes. A line that is
// wrong ends produce; what was sent before stays sent.

#include "ctl/stream.h"

#include "core/base/util.h"
#include "core/base/visible.h"
#include "ctl/message.h"
#include "ctl/output.h"
#include "ctl/session.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>

#define CLOSE_MS 30000
#define PULL_MAX 256
#define PULL_MS  500

const struct option stream_produce_options[] = {
	{"format", "format", VALUE_TEXT,
	 "lines (a line is a body; default) or json (a line is a message: body, key, headers, tag, "
	 "partition, priority, ttl_ms, due_ms, created_ms)"},
	{"key-separator", "key_separator", VALUE_TEXT,
	 "lines: what stands between key and body on a line; without it there is no key"},
	{"key-field", "key_field", VALUE_TEXT, "lines of JSON: the member whose value is the key"},
	{"tag", "tag", VALUE_TEXT, "tag of every message"},
	{"oneway", "oneway", VALUE_FLAG, "send without waiting for acknowledgements"},
	{NULL, NULL, 0, NULL},
};

const struct option stream_consume_options[] = {
	{"format", "format", VALUE_TEXT,
	 "lines (the body and a line feed; default) or json (one object a line)"},
	{"max", "max", VALUE_COUNT, "stop after this number of messages"},
	{"wait", "wait", VALUE_DURATION, "stop when none has come for this long (default: never)"},
	{"no-ack", "no_ack", VALUE_FLAG, "look only: release every message again"},
	{NULL, NULL, 0, NULL},
};

// ---- produce

struct produced {
	atomic_ullong acknowledged;
	atomic_ullong failed;
	_Atomic(enum mqp_code) first_failure;
};

static void on_sent(const struct mqp_result *result, void *arg)
{
	struct produced *produced = arg;

	if (mqp_result_outcome(result) == MQP_OUTCOME_OK) {
		++produced->acknowledged;
		return;
	}
	if (produced->failed++ == 0)
		produced->first_failure = mqp_result_code(result);
}

static const char *key_from_field(struct message_input *input, const char *line, size_t size,
				  const char *field)
{
	json_t *object = json_loadb(line, size, 0, NULL);
	const json_t *value = json_object_get(object, field);
	_cleanup_(freep) char *number =
		value && !json_is_string(value) ? json_dumps(value, JSON_ENCODE_ANY) : NULL;
	const char *text = number ? number : json_string_value(value), *problem = NULL;

	if (!text || json_is_null(value))
		problem = "there is no such member to take the key from, or it is null";
	else if (mqp_message_set_key(input->message, arena_text(&input->arena, text),
				     strlen(text)) != MQP_OK)
		problem = "the key is too large";
	json_decref(object);
	return problem;
}

static const char *message_from_line(struct message_input *input, const char *line, size_t size,
				     const json_t *options)
{
	const char *separator = json_string_value(json_object_get(options, "key_separator"));
	const char *field = json_string_value(json_object_get(options, "key_field"));
	const char *tag = json_string_value(json_object_get(options, "tag"));
	const char *problem = field ? key_from_field(input, line, size, field) : NULL;

	if (problem)
		return problem;
	if (separator && *separator) {
		const char *at = memmem(line, size, separator, strlen(separator));

		if (!at)
			return "the key separator does not occur";
		if (mqp_message_set_key(input->message, line, (size_t)(at - line)) != MQP_OK)
			return "the key is too large";
		at += strlen(separator);
		size -= (size_t)(at - line);
		line = at;
	}
	if (tag && mqp_message_set_tag(input->message, tag) != MQP_OK)
		return "the tag must have 1 to 255 bytes";
	return mqp_message_set_body(input->message, line, size) == MQP_OK ? NULL
									  : "the line is too long";
}

static enum mqp_code send_one(struct mqp_producer *producer, struct produced *produced,
			      const struct mqp_message *message, bool oneway)
{
	return oneway ? mqp_send_oneway(producer, message)
		      : mqp_send_async(producer, message, on_sent, produced);
}

static int produce_lines(struct mqp_producer *producer, struct produced *produced,
			 const json_t *options, bool json, uint64_t *ret_lines)
{
	bool oneway = json_is_true(json_object_get(options, "oneway"));
	_cleanup_(freep) char *line = NULL;
	struct message_input input = {0};
	enum mqp_code code = mqp_message_new(&input.message);
	size_t room = 0;
	ssize_t size;
	int r = code == MQP_OK ? 0 : session_fail("reading", code);

	while (!r && !session_interrupted && (size = getline(&line, &room, stdin)) >= 0) {
		const char *problem;

		if (size > 0 && line[size - 1] == '\n')
			--size;
		++*ret_lines;
		mqp_message_reset(input.message);
		problem = json ? message_from_json(&input, line, (size_t)size)
			       : message_from_line(&input, line, (size_t)size, options);
		if (problem)
			r = ctl_fail(CTL_USAGE, "line %llu of standard input: %s",
				     (unsigned long long)*ret_lines, problem);
		else if ((code = send_one(producer, produced, input.message, oneway)) != MQP_OK)
			r = session_fail("sending", code);
		arena_deinit(&input.arena);
	}
	if (!r && ferror(stdin))
		r = ctl_fail(CTL_FAILED, "standard input: %s", strerror(errno));
	if (!r && session_interrupted)
		r = ctl_fail(CTL_FAILED, "interrupted: the rest of standard input was not sent");
	mqp_message_free(input.message);
	return r;
}

// Options that say how to read a line of text mean nothing where a line says everything.
static int json_alone(const json_t *options)
{
	static const char *const members[][2] = {{"key_separator", "--key-separator"},
						 {"key_field", "--key-field"},
						 {"tag", "--tag"}};

	for (size_t i = 0; i < ARRAY_SIZE(members); ++i)
		if (json_object_get(options, members[i][0]))
			return ctl_fail(CTL_USAGE,
					"%s goes with --format lines; in json each line has its "
					"own key and tag",
					members[i][1]);
	return 0;
}

static int format_is_json(const json_t *options, bool *ret_json)
{
	const char *format = json_string_value(json_object_get(options, "format"));

	*ret_json = format && strcmp(format, "json") == 0;
	if (format && !*ret_json && strcmp(format, "lines") != 0)
		return ctl_fail(CTL_USAGE, "--format \"%s\": not lines or json", format);
	return 0;
}

// Closing waits for the answers of what was sent, also after an error or a signal, so that the
// counts are final when they are printed.
int stream_produce(const struct ctl *ctl, const char *topic, const json_t *options)
{
	struct produced produced = {0};
	struct mqp_producer_config config;
	struct mqp_producer *producer = NULL;
	struct mqp_client *client;
	uint64_t lines = 0;
	enum mqp_code code;
	bool json;
	int r = format_is_json(options, &json);

	if (!r && json)
		r = json_alone(options);
	if (r || (r = session_open(&ctl->context, &client)))
		return r;
	session_catch_signals();
	mqp_producer_config_init(&config, sizeof config);
	config.topic = topic;
	code = mqp_producer_new(client, &config, &producer);
	if (code == MQP_OK)
		code = mqp_producer_ready(producer, CLOSE_MS);
	if (code == MQP_OK) {
		r = produce_lines(producer, &produced, options, json, &lines);
		code = mqp_producer_close(producer, CLOSE_MS);
		if (code != MQP_OK && !r)
			r = session_fail("finishing", code);
	} else {
		r = session_fail(topic, code);
	}
	mqp_client_close(client, CLOSE_MS);
	mqp_producer_free(producer);
	if (!ctl->quiet)
		fprintf(stderr, "%llu lines, %llu acknowledged, %llu failed\n",
			(unsigned long long)lines, (unsigned long long)produced.acknowledged,
			(unsigned long long)produced.failed);
	if (produced.failed && !r)
		r = session_fail("at least one message was not stored; the first",
				 produced.first_failure);
	mqp_client_free(client);
	return r;
}

// ---- consume

static void body_print(const struct mqp_message *message)
{
	size_t size;
	const char *body = mqp_message_body(message, &size);
	_cleanup_(freep) char *shown =
		body && isatty(STDOUT_FILENO) ? visible_text(body, size) : NULL;

	if (shown)
		fputs(shown, stdout);
	else if (body)
		fwrite(body, 1, size, stdout);
	putchar('\n');
}

static int message_print(const struct mqp_message *message, bool json)
{
	if (json) {
		json_t *object = message_to_json(message);

		output_json(object, JSON_COMPACT);
		json_decref(object);
	} else {
		body_print(message);
	}
	return fflush(stdout) == 0 && !ferror(stdout)
		       ? 0
		       : ctl_fail(CTL_FAILED, "standard output: %s", strerror(errno));
}

// Messages that are only looked at are kept to the end and then released together: released at
// once, they would come again at once.
struct looked {
	struct mqp_message **messages;
	size_t count;
};

static int looked_keep(struct looked *looked, struct mqp_message **messages, unsigned count)
{
	struct mqp_message **grown =
		realloc(looked->messages, (looked->count + count) * sizeof *grown);

	if (!grown)
		return ctl_fail(CTL_FAILED, "out of memory");
	memcpy(grown + looked->count, messages, count * sizeof *grown);
	looked->messages = grown;
	looked->count += count;
	return 0;
}

static int messages_settle(struct mqp_message **messages, size_t count, enum mqp_verb verb)
{
	enum mqp_code code =
		count ? mqp_settle_sync(messages, count, verb, 0, CLOSE_MS, NULL) : MQP_OK;

	for (size_t i = 0; i < count; ++i)
		mqp_message_free(messages[i]);
	return code == MQP_OK ? 0 : session_fail("settling", code);
}

static int consume_batch(struct mqp_message **messages, unsigned count, bool json,
			 struct looked *looked)
{
	unsigned written = 0;
	int r = 0, settled;

	while (written < count && !(r = message_print(messages[written], json)))
		++written;
	if (looked)
		return r ? r : looked_keep(looked, messages, count);
	settled = messages_settle(messages, written, MQP_ACK);
	for (unsigned i = written; i < count; ++i)
		mqp_message_free(messages[i]);
	return r ? r : settled;
}

static uint64_t count_option(const json_t *options, const char *name)
{
	const json_t *value = json_object_get(options, name);

	return json_is_integer(value) ? (uint64_t)json_integer_value(value) : UINT64_MAX;
}

static int consume_loop(struct mqp_consumer *consumer, const json_t *options, bool json,
			struct looked *looked, uint64_t *ret_taken)
{
	uint64_t max = count_option(options, "max"), idle_limit = count_option(options, "wait"),
		 idle = 0;
	struct mqp_message *messages[PULL_MAX];
	unsigned count;
	int r = 0;

	while (!r && !session_interrupted && *ret_taken < max) {
		int wait_ms = (int)MIN((uint64_t)PULL_MS, idle_limit - idle);
		enum mqp_code code =
			mqp_pull(consumer, (unsigned)MIN((uint64_t)PULL_MAX, max - *ret_taken),
				 wait_ms, messages, &count);

		if (code == MQP_TIMEOUT) {
			idle += (uint64_t)wait_ms;
			if (idle >= idle_limit)
				break;
		} else if (code != MQP_OK) {
			r = session_fail("receiving", code);
		} else {
			idle = 0;
			*ret_taken += count;
			r = consume_batch(messages, count, json, looked);
		}
	}
	return r;
}

static int consume_run(struct mqp_consumer *consumer, const json_t *options, bool json,
		       uint64_t *ret_taken)
{
	bool look_only = json_is_true(json_object_get(options, "no_ack"));
	struct looked looked = {0};
	int r = consume_loop(consumer, options, json, look_only ? &looked : NULL, ret_taken);
	int released = messages_settle(looked.messages, looked.count, MQP_RELEASE);

	free(looked.messages);
	return r ? r : released;
}

int stream_consume(const struct ctl *ctl, const char *group, const json_t *options)
{
	struct mqp_consumer_config config;
	struct mqp_consumer *consumer = NULL;
	struct mqp_client *client;
	uint64_t taken = 0;
	enum mqp_code code;
	bool json;
	int r = format_is_json(options, &json);

	if (r || (r = session_open(&ctl->context, &client)))
		return r;
	session_catch_signals();
	mqp_consumer_config_init(&config, sizeof config);
	config.group = group;
	code = mqp_consumer_new(client, &config, &consumer);
	if (code == MQP_OK)
		code = mqp_consumer_ready(consumer, CLOSE_MS);
	if (code == MQP_OK) {
		r = consume_run(consumer, options, json, &taken);
		mqp_consumer_close(consumer, CLOSE_MS);
	} else {
		r = session_fail(group, code);
	}
	mqp_client_close(client, CLOSE_MS);
	mqp_consumer_free(consumer);
	mqp_client_free(client);
	if (!ctl->quiet)
		fprintf(stderr, "%llu messages\n", (unsigned long long)taken);
	return r;
}
