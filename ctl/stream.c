// produce: every line of standard input becomes a message. consume: every message becomes a line of
// standard output.
//
// In format "json" both sides use the same object, so that consume | produce copies messages with
// everything they have:
// {"key": …, "body": …, "headers": [[name, value], …], "tag": …, "created_ms": …} where a value
// that is not UTF-8 is {"base64": …} and an absent one is null. A message is acknowledged only
// after its line was written and flushed.

#include "ctl/stream.h"

#include "core/base/arena.h"
#include "core/base/base64.h"
#include "core/base/util.h"

#include "ctl/session.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>

#define CLOSE_MS 30000
#define PULL_MAX 256
#define PULL_MS  500

const struct option produce_options[] = {
	{"format", "format", VALUE_TEXT,
	 "lines (a line is a body; default) or json (a line is a message)"},
	{"key-separator", "key_separator", VALUE_TEXT,
	 "lines: what stands between key and body on a line; without it there is no key"},
	{"key-field", "key_field", VALUE_TEXT, "lines of JSON: the member whose value is the key"},
	{"tag", "tag", VALUE_TEXT, "tag of every message"},
	{"oneway", "oneway", VALUE_FLAG, "send without waiting for acknowledgements"},
	{NULL, NULL, 0, NULL},
};

const struct option consume_options[] = {
	{"format", "format", VALUE_TEXT,
	 "lines (the body and a line feed; default) or json (one object a line)"},
	{"max", "max", VALUE_COUNT, "stop after so many messages"},
	{"wait", "wait", VALUE_DURATION, "stop when none has come for so long (default: never)"},
	{"no-ack", "no_ack", VALUE_FLAG, "look only: release every message again"},
	{NULL, NULL, 0, NULL},
};

// ---- messages as JSON

static json_t *bytes_to_json(const void *bytes, size_t size)
{
	json_t *text;

	if (!bytes)
		return json_null();
	text = json_stringn(bytes, size);
	if (!text) {
		_cleanup_(freep) char *encoded = base64_encode(bytes, size);

		text = json_pack("{s:s}", "base64", encoded);
	}
	return text;
}

// A message borrows its bytes until it is sent, so what was decoded for a line stays in the arena
// until then.
struct input {
	struct mqp_message *message;
	struct arena arena;
};

// false: the value is neither text, null nor {"base64": …}.
static bool bytes_from_json(struct input *input, const json_t *value, const void **ret_bytes,
			    size_t *ret_size)
{
	const char *encoded = json_string_value(json_object_get(value, "base64"));
	_cleanup_(freep) void *decoded = NULL;

	*ret_bytes = NULL;
	*ret_size = 0;
	if (!value || json_is_null(value))
		return true;
	if (json_is_string(value)) {
		*ret_size = json_string_length(value);
		*ret_bytes = arena_copy(&input->arena, json_string_value(value), *ret_size);
	} else if (encoded) {
		decoded = base64_decode(encoded, ret_size);
		*ret_bytes = decoded ? arena_copy(&input->arena, decoded, *ret_size) : NULL;
	}
	return *ret_bytes != NULL;
}

static json_t *message_to_json(const struct mqp_message *message)
{
	size_t key_size, body_size, tag_size;
	const void *key = mqp_message_key(message, &key_size),
		   *body = mqp_message_body(message, &body_size);
	const char *tag = mqp_message_tag(message, &tag_size);
	json_t *headers = json_array();
	int64_t ms;
	json_t *object = json_pack("{s:o,s:o,s:o,s:I,s:I,s:i}", "key", bytes_to_json(key, key_size),
				   "body", bytes_to_json(body, body_size), "headers", headers,
				   "partition", (json_int_t)mqp_message_partition(message),
				   "offset", (json_int_t)mqp_message_offset(message), "attempt",
				   (int)mqp_message_attempt(message));

	for (unsigned i = 0; i < mqp_message_header_count(message); ++i) {
		const char *name;
		const void *value;
		size_t name_size, value_size;

		mqp_message_header(message, i, &name, &name_size, &value, &value_size);
		json_array_append_new(headers, json_pack("[o,o]", json_stringn(name, name_size),
							 bytes_to_json(value, value_size)));
	}
	if (tag)
		json_object_set_new(object, "tag", json_stringn(tag, tag_size));
	if (mqp_message_created_ms(message, &ms))
		json_object_set_new(object, "created_ms", json_integer(ms));
	if (mqp_message_stored_ms(message, &ms))
		json_object_set_new(object, "stored_ms", json_integer(ms));
	return object;
}

typedef enum mqp_code (*set_bytes_fn)(struct mqp_message *message, const void *bytes, size_t size);

static const char *member_from_json(struct input *input, const json_t *value, set_bytes_fn set)
{
	const void *bytes;
	size_t size;

	if (!bytes_from_json(input, value, &bytes, &size))
		return "key, body and header values are text, null or {\"base64\": …}";
	return bytes && set(input->message, bytes, size) != MQP_OK ? "a member is too large" : NULL;
}

static const char *headers_from_json(struct input *input, const json_t *headers)
{
	const json_t *header;
	size_t i;

	json_array_foreach(headers, i, header)
	{
		const char *name =
			arena_text(&input->arena, json_string_value(json_array_get(header, 0)));
		const void *bytes;
		size_t size;

		if (!name || !bytes_from_json(input, json_array_get(header, 1), &bytes, &size))
			return "headers are a list of [name, value]";
		if (mqp_message_add_header(input->message, name, bytes, size) != MQP_OK)
			return "a header is empty or too large";
	}
	return NULL;
}

// Returns what is wrong, or NULL.
static const char *message_from_json(struct input *input, const char *line, size_t size)
{
	json_t *object = json_loadb(line, size, JSON_REJECT_DUPLICATES, NULL);
	const char *problem, *tag = json_string_value(json_object_get(object, "tag"));
	const json_t *created = json_object_get(object, "created_ms");

	if (!json_is_object(object)) {
		json_decref(object);
		return "not a JSON object";
	}
	problem = member_from_json(input, json_object_get(object, "key"), mqp_message_set_key);
	if (!problem)
		problem = member_from_json(input, json_object_get(object, "body"),
					   mqp_message_set_body);
	if (!problem)
		problem = headers_from_json(input, json_object_get(object, "headers"));
	if (!problem && tag && mqp_message_set_tag(input->message, tag) != MQP_OK)
		problem = "the tag must have 1 to 255 bytes";
	if (!problem && created)
		mqp_message_set_created_ms(input->message, json_integer_value(created));
	json_decref(object);
	return problem;
}

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

static const char *key_from_field(struct input *input, const char *line, size_t size,
				  const char *field)
{
	json_t *object = json_loadb(line, size, 0, NULL);
	const json_t *value = json_object_get(object, field);
	_cleanup_(freep) char *number =
		value && !json_is_string(value) ? json_dumps(value, JSON_ENCODE_ANY) : NULL;
	const char *text = number ? number : json_string_value(value);

	if (text)
		mqp_message_set_key(input->message, arena_text(&input->arena, text), strlen(text));
	json_decref(object);
	return text ? NULL : "there is no such member to take the key from";
}

static const char *message_from_line(struct input *input, const char *line, size_t size,
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
		mqp_message_set_key(input->message, line, (size_t)(at - line));
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
	struct input input = {0};
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
	mqp_message_free(input.message);
	return r;
}

static int format_is_json(const json_t *options, bool *ret_json)
{
	const char *format = json_string_value(json_object_get(options, "format"));

	*ret_json = format && strcmp(format, "json") == 0;
	if (format && !*ret_json && strcmp(format, "lines") != 0)
		return ctl_fail(CTL_USAGE, "--format \"%s\": not lines or json", format);
	return 0;
}

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

static int message_print(const struct mqp_message *message, bool json)
{
	if (json) {
		json_t *object = message_to_json(message);

		json_dumpf(object, stdout, JSON_COMPACT);
		json_decref(object);
	} else {
		size_t size;
		const void *body = mqp_message_body(message, &size);

		if (body)
			fwrite(body, 1, size, stdout);
	}
	putchar('\n');
	return fflush(stdout) == 0 ? 0
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
