// Messages as JSON objects, one a line, for produce and consume.
//
// The members are rows of a table, and what is not in it is refused: a misspelt body would be a
// tombstone, and a misspelt due time a message that arrives at once. Bytes that are UTF-8 are text,
// others {"base64": …}. What `consume` writes `produce` reads: the members that the store assigns
// (offset, attempt, stored_ms) are known and have no effect.
//
// Memory of an input is its arena's, which the caller empties after the message was sent.

#include "ctl/message.h"

#include "core/base/base64.h"
#include "core/base/util.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

// ---- to JSON

static json_t *bytes_to_json(const void *bytes, size_t size)
{
	_cleanup_(freep) char *encoded = NULL;
	json_t *text;

	if (!bytes)
		return json_null();
	text = json_stringn(bytes, size);
	if (text)
		return text;
	encoded = base64_encode(bytes, size);
	return json_pack("{s:s}", "base64", encoded);
}

static json_t *headers_to_json(const struct mqp_message *message)
{
	json_t *headers = json_array();

	for (unsigned i = 0; i < mqp_message_header_count(message); ++i) {
		const char *name;
		const void *value;
		size_t name_size, value_size;

		mqp_message_header(message, i, &name, &name_size, &value, &value_size);
		json_array_append_new(headers, json_pack("[o,o]", bytes_to_json(name, name_size),
							 bytes_to_json(value, value_size)));
	}
	return headers;
}

json_t *message_to_json(const struct mqp_message *message)
{
	size_t key_size, body_size, tag_size;
	const void *key = mqp_message_key(message, &key_size),
		   *body = mqp_message_body(message, &body_size);
	const char *tag = mqp_message_tag(message, &tag_size);
	int64_t ms;
	json_t *object =
		json_pack("{s:o,s:o,s:o,s:I,s:I,s:i}", "key", bytes_to_json(key, key_size), "body",
			  bytes_to_json(body, body_size), "headers", headers_to_json(message),
			  "partition", (json_int_t)mqp_message_partition(message), "offset",
			  (json_int_t)mqp_message_offset(message), "attempt",
			  (int)mqp_message_attempt(message));

	if (tag)
		json_object_set_new(object, "tag", bytes_to_json(tag, tag_size));
	if (mqp_message_created_ms(message, &ms))
		json_object_set_new(object, "created_ms", json_integer(ms));
	if (mqp_message_stored_ms(message, &ms))
		json_object_set_new(object, "stored_ms", json_integer(ms));
	return object;
}

// ---- from JSON

typedef const char *(*member_fn)(struct message_input *input, const json_t *value);

static const char *set_problem(struct message_input *input, const char *fmt, ...) PRINTF_LIKE(2, 3);

static const char *set_problem(struct message_input *input, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(input->problem, sizeof input->problem, fmt, args);
	va_end(args);
	return input->problem;
}

// false: the value is neither text, null nor {"base64": …}.
static bool bytes_from_json(struct message_input *input, const json_t *value,
			    const void **ret_bytes, size_t *ret_size)
{
	const char *encoded = json_object_size(value) == 1
				      ? json_string_value(json_object_get(value, "base64"))
				      : NULL;
	_cleanup_(freep) void *decoded = NULL;

	*ret_bytes = NULL;
	*ret_size = 0;
	if (json_is_null(value))
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

static const char *take_key(struct message_input *input, const json_t *value)
{
	const void *bytes;
	size_t size;

	if (!bytes_from_json(input, value, &bytes, &size))
		return "key is text, null or {\"base64\": …}";
	return mqp_message_set_key(input->message, bytes, size) == MQP_OK ? NULL
									  : "the key is too large";
}

static const char *take_body(struct message_input *input, const json_t *value)
{
	const void *bytes;
	size_t size;

	if (!bytes_from_json(input, value, &bytes, &size))
		return "body is text, null (a tombstone) or {\"base64\": …}";
	return mqp_message_set_body(input->message, bytes, size) == MQP_OK
		       ? NULL
		       : "the body is too large";
}

static const char *add_header(struct message_input *input, const char *name, const json_t *value)
{
	const char *kept = name ? arena_text(&input->arena, name) : NULL;
	const void *bytes;
	size_t size;

	if (!kept || !bytes_from_json(input, value, &bytes, &size))
		return "headers are a list of [name, value] or an object; a value is text, null or "
		       "{\"base64\": …}";
	return mqp_message_add_header(input->message, kept, bytes, size) == MQP_OK
		       ? NULL
		       : "a header's name is empty, or it is too large";
}

// A list keeps names that come several times; an object is what most would write.
static const char *take_headers(struct message_input *input, const json_t *value)
{
	const char *problem = NULL, *name;
	json_t *header;
	size_t i;

	if (json_is_object(value)) {
		json_object_foreach((json_t *)(uintptr_t)value, name, header)
		{
			problem = problem ? problem : add_header(input, name, header);
		}
		return problem;
	}
	if (!json_is_array(value) && !json_is_null(value))
		return add_header(input, NULL, NULL);
	json_array_foreach(value, i, header)
	{
		bool pair = json_array_size(header) == 2;

		if (!problem)
			problem = add_header(
				input, pair ? json_string_value(json_array_get(header, 0)) : NULL,
				json_array_get(header, 1));
	}
	return problem;
}

static const char *take_tag(struct message_input *input, const json_t *value)
{
	if (json_is_null(value))
		return NULL;
	if (!json_is_string(value) ||
	    mqp_message_set_tag(input->message, json_string_value(value)) != MQP_OK)
		return "tag is text of 1 to 255 bytes";
	return NULL;
}

// False: null, nothing to do, or wrong, and then *ret_problem is set.
static bool take_integer(struct message_input *input, const char *name, const json_t *value,
			 json_int_t least, json_int_t most, json_int_t *ret,
			 const char **ret_problem)
{
	*ret_problem = NULL;
	if (json_is_null(value))
		return false;
	*ret = json_integer_value(value);
	if (json_is_integer(value) && *ret >= least && *ret <= most)
		return true;
	*ret_problem = set_problem(input, "%s is a whole number from %lld to %lld", name,
				   (long long)least, (long long)most);
	return false;
}

static const char *take_created(struct message_input *input, const json_t *value)
{
	const char *problem;
	json_int_t ms;

	if (take_integer(input, "created_ms", value, INT64_MIN, INT64_MAX, &ms, &problem))
		mqp_message_set_created_ms(input->message, ms);
	return problem;
}

static const char *take_due(struct message_input *input, const json_t *value)
{
	const char *problem;
	json_int_t ms;

	if (take_integer(input, "due_ms", value, 0, INT64_MAX, &ms, &problem))
		mqp_message_set_due_ms(input->message, ms);
	return problem;
}

static const char *take_ttl(struct message_input *input, const json_t *value)
{
	const char *problem;
	json_int_t ms;

	if (take_integer(input, "ttl_ms", value, 1, UINT32_MAX, &ms, &problem))
		mqp_message_set_ttl_ms(input->message, (uint32_t)ms);
	return problem;
}

static const char *take_priority(struct message_input *input, const json_t *value)
{
	const char *problem;
	json_int_t priority;

	if (take_integer(input, "priority", value, 0, 9, &priority, &problem))
		mqp_message_set_priority(input->message, (unsigned)priority);
	return problem;
}

static const char *take_partition(struct message_input *input, const json_t *value)
{
	const char *problem;
	json_int_t partition;

	if (take_integer(input, "partition", value, 0, UINT32_MAX - 1, &partition, &problem))
		mqp_message_set_partition(input->message, (uint32_t)partition);
	return problem;
}

static const char *take_nothing(struct message_input *input, const json_t *value)
{
	return NULL;
}

static const struct {
	const char *name;
	member_fn take;
} members[] = {
	{"key", take_key},        {"body", take_body},          {"headers", take_headers},
	{"tag", take_tag},        {"created_ms", take_created}, {"due_ms", take_due},
	{"ttl_ms", take_ttl},     {"priority", take_priority},  {"partition", take_partition},
	{"offset", take_nothing}, {"attempt", take_nothing},    {"stored_ms", take_nothing},
};

static const char *refuse_unknown(struct message_input *input, const char *name)
{
	return set_problem(
		input,
		"\"%.60s\" is not a member of a message; it has key, body, headers, tag, "
		"created_ms, due_ms, ttl_ms, priority and partition",
		name);
}

static const char *take_member(struct message_input *input, const char *name, const json_t *value)
{
	for (size_t i = 0; i < ARRAY_SIZE(members); ++i)
		if (strcmp(members[i].name, name) == 0)
			return members[i].take(input, value);
	return refuse_unknown(input, name);
}

static const char *take_all(struct message_input *input, json_t *object)
{
	const char *problem = NULL, *name;
	json_t *value;

	json_object_foreach(object, name, value)
	{
		problem = problem ? problem : take_member(input, name, value);
	}
	if (!problem && !json_object_get(object, "body"))
		problem = "there is no body; \"body\": null is a tombstone";
	return problem;
}

const char *message_from_json(struct message_input *input, const char *line, size_t size)
{
	json_error_t error;
	json_t *object = json_loadb(line, size, JSON_REJECT_DUPLICATES, &error);
	const char *problem;

	if (!json_is_object(object))
		problem = object ? "not a JSON object"
				 : set_problem(input, "not a JSON object: %.200s", error.text);
	else
		problem = take_all(input, object);
	json_decref(object);
	return problem;
}
