// Messages, made by the application or received, and their getters and setters.
//
// Made messages hold pointers to the application's bytes; received ones point into the frame that
// they came in. Both are the parts of a record, so the getters, and sending on a received message,
// need no second path.
//
// Invariants: a received message has a delivery and takes no setters; one thread uses a message at
// a time. Key, body and headers are borrowed until the message is sent or freed; tag, id and trace
// are copied. Not here: settling (delivery.c).

#include "sdk/c/src/message.h"

#include "core/base/utf8.h"
#include "core/base/util.h"
#include "sdk/c/src/delivery.h"

#include <errno.h>

#define VALUE_SIZE_MAX  ((size_t)1 << 30)
#define HEADERS_MAX     65535u
#define PRIORITY_NORMAL 4u

// What only a made message carries besides the common part.
struct made {
	struct mqp_message message;
	uint8_t id[MQP_ID_SIZE];
	uint8_t trace[MQP_TRACE_SIZE];
	char tag[256];
};

static struct made *message_made(struct mqp_message *message)
{
	return message && !message->delivery ? CONTAINER_OF(message, struct made, message) : NULL;
}

enum mqp_code mqp_message_new(struct mqp_message **ret_message)
{
	struct made *made;

	if (!ret_message)
		return MQP_INVALID_ARGUMENT;
	made = calloc(1, sizeof *made);
	if (!made)
		return MQP_NO_MEMORY;
	made->message.parts.priority = PRIORITY_NORMAL;
	*ret_message = &made->message;
	return MQP_OK;
}

void mqp_message_free(struct mqp_message *message)
{
	if (!message)
		return;
	if (message->delivery) {
		delivery_free_message(message);
		return;
	}
	free(message->headers);
	free(message_made(message));
}

enum mqp_code mqp_message_reset(struct mqp_message *message)
{
	if (!message_made(message))
		return MQP_INVALID_ARGUMENT;
	*message = (struct mqp_message){
		.headers = message->headers,
		.header_capacity = message->header_capacity,
		.parts.priority = PRIORITY_NORMAL,
	};
	return MQP_OK;
}

// ---- Setters --------------------------------------------------------------------------------

static bool bytes_ok(const struct mqp_message *message, const void *data, size_t size)
{
	return message && !message->delivery && size <= VALUE_SIZE_MAX && (data || !size);
}

enum mqp_code mqp_message_set_key(struct mqp_message *message, const void *key, size_t size)
{
	if (!bytes_ok(message, key, size))
		return MQP_INVALID_ARGUMENT;
	message->parts.key = (struct slice){key, size};
	return MQP_OK;
}

enum mqp_code mqp_message_set_body(struct mqp_message *message, const void *body, size_t size)
{
	if (!bytes_ok(message, body, size))
		return MQP_INVALID_ARGUMENT;
	message->parts.body = (struct slice){body, size};
	return MQP_OK;
}

static int headers_grow(struct mqp_message *message)
{
	uint32_t capacity = message->header_capacity ? message->header_capacity * 2 : 8;
	struct record_header *headers =
		realloc(message->headers, capacity * sizeof *message->headers);

	if (!headers)
		return -ENOMEM;
	message->headers = headers;
	message->header_capacity = capacity;
	return 0;
}

enum mqp_code mqp_message_add_header(struct mqp_message *message, const char *name,
				     const void *value, size_t size)
{
	size_t name_size = name ? strlen(name) : 0;

	if (!bytes_ok(message, value, size) || name_size < 1 || name_size > UINT16_MAX ||
	    !utf8_valid(name, name_size) || message->parts.header_count == HEADERS_MAX)
		return MQP_INVALID_ARGUMENT;
	if (message->parts.header_count == message->header_capacity && headers_grow(message) < 0)
		return MQP_NO_MEMORY;
	message->headers[message->parts.header_count++] = (struct record_header){
		.name = {(const uint8_t *)name, name_size},
		.value = {value, size},
	};
	message->parts.headers = message->headers;
	return MQP_OK;
}

enum mqp_code mqp_message_set_tag(struct mqp_message *message, const char *tag)
{
	struct made *made = message_made(message);
	size_t size = tag ? strlen(tag) : 0;

	if (!made || (tag && (size < 1 || size > UINT8_MAX || !utf8_valid(tag, size))))
		return MQP_INVALID_ARGUMENT;
	memcpy(made->tag, tag ? tag : "", size);
	message->parts.tag = (struct slice){tag ? (const uint8_t *)made->tag : NULL, size};
	return MQP_OK;
}

enum mqp_code mqp_message_set_created_ms(struct mqp_message *message, int64_t created_ms)
{
	if (!message_made(message))
		return MQP_INVALID_ARGUMENT;
	message->parts.created_ms = created_ms;
	message->has_created = true;
	return MQP_OK;
}

enum mqp_code mqp_message_set_id(struct mqp_message *message, const uint8_t *id)
{
	static const uint8_t zero[MQP_ID_SIZE];
	struct made *made = message_made(message);

	if (!made || (id && memcmp(id, zero, sizeof zero) == 0))
		return MQP_INVALID_ARGUMENT;
	if (id)
		memcpy(made->id, id, sizeof made->id);
	message->parts.id = id ? made->id : NULL;
	return MQP_OK;
}

static enum mqp_code option_set(struct mqp_message *message, uint32_t flag, bool on)
{
	message->parts.flags = on ? message->parts.flags | flag : message->parts.flags & ~flag;
	return MQP_OK;
}

enum mqp_code mqp_message_set_due_ms(struct mqp_message *message, int64_t due_ms)
{
	if (!message_made(message))
		return MQP_INVALID_ARGUMENT;
	message->parts.due_ms = due_ms;
	return option_set(message, RECORD_DUE, true);
}

enum mqp_code mqp_message_set_ttl_ms(struct mqp_message *message, uint32_t ttl_ms)
{
	if (!message_made(message) || ttl_ms == 0)
		return MQP_INVALID_ARGUMENT;
	message->parts.ttl_ms = ttl_ms;
	return option_set(message, RECORD_TTL, true);
}

enum mqp_code mqp_message_set_priority(struct mqp_message *message, unsigned priority)
{
	if (!message_made(message) || priority > 9)
		return MQP_INVALID_ARGUMENT;
	message->parts.priority = (uint8_t)priority;
	return option_set(message, RECORD_PRIORITY, true);
}

enum mqp_code mqp_message_set_partition(struct mqp_message *message, uint32_t partition)
{
	if (!message_made(message))
		return MQP_INVALID_ARGUMENT;
	message->parts.partition = partition;
	return option_set(message, RECORD_PARTITION, partition != MQP_PARTITION_ANY);
}

enum mqp_code mqp_message_set_trace(struct mqp_message *message, const uint8_t *trace)
{
	struct made *made = message_made(message);

	if (!made)
		return MQP_INVALID_ARGUMENT;
	if (trace)
		memcpy(made->trace, trace, sizeof made->trace);
	message->parts.trace = trace ? made->trace : NULL;
	return MQP_OK;
}

// ---- Getters --------------------------------------------------------------------------------

static const void *slice_data(struct slice slice, size_t *ret_size)
{
	if (ret_size)
		*ret_size = slice.size;
	return slice.data;
}

const void *mqp_message_key(const struct mqp_message *message, size_t *ret_size)
{
	return message ? slice_data(message->parts.key, ret_size) : NULL;
}

const void *mqp_message_body(const struct mqp_message *message, size_t *ret_size)
{
	return message ? slice_data(message->parts.body, ret_size) : NULL;
}

const char *mqp_message_tag(const struct mqp_message *message, size_t *ret_size)
{
	return message ? slice_data(message->parts.tag, ret_size) : NULL;
}

unsigned mqp_message_header_count(const struct mqp_message *message)
{
	return message ? message->parts.header_count + message->parts.raw_header_count : 0u;
}

// A made message has an array, a received one raw entries; never both.
static void header_at(const struct mqp_message *message, unsigned index, struct record_header *ret)
{
	// Only the place of the last look changes; a message is used by one thread at a time.
	struct mqp_message *cursor = (struct mqp_message *)(uintptr_t)message;
	struct record_view view = {.headers = message->parts.raw_headers};

	if (!message->delivery) {
		*ret = message->headers[index];
		return;
	}
	if (index < cursor->cursor_index) {
		cursor->cursor_index = 0;
		cursor->cursor_at = 0;
	}
	while (record_header_next(&view, &cursor->cursor_at, ret))
		if (cursor->cursor_index++ == index)
			return;
}

int mqp_message_header(const struct mqp_message *message, unsigned index, const char **ret_name,
		       size_t *ret_name_size, const void **ret_value, size_t *ret_value_size)
{
	struct record_header header;

	if (index >= mqp_message_header_count(message) || !ret_name || !ret_name_size ||
	    !ret_value || !ret_value_size)
		return 0;
	header_at(message, index, &header);
	*ret_name = slice_data(header.name, ret_name_size);
	*ret_value = slice_data(header.value, ret_value_size);
	return 1;
}

int mqp_message_find_header(const struct mqp_message *message, const char *name,
			    const void **ret_value, size_t *ret_size)
{
	size_t name_size = name ? strlen(name) : 0;

	if (!message || !name || !ret_value || !ret_size)
		return 0;
	for (unsigned i = 0; i < mqp_message_header_count(message); ++i) {
		struct record_header header;

		header_at(message, i, &header);
		if (header.name.size == name_size &&
		    memcmp(header.name.data, name, name_size) == 0) {
			*ret_value = slice_data(header.value, ret_size);
			return 1;
		}
	}
	return 0;
}

const uint8_t *mqp_message_id(const struct mqp_message *message)
{
	return message ? message->parts.id : NULL;
}

static int give_number(bool there, int64_t value, int64_t *ret)
{
	if (!there || !ret)
		return 0;
	*ret = value;
	return 1;
}

int mqp_message_created_ms(const struct mqp_message *message, int64_t *ret_ms)
{
	return message ? give_number(message->has_created, message->parts.created_ms, ret_ms) : 0;
}

int mqp_message_stored_ms(const struct mqp_message *message, int64_t *ret_ms)
{
	return message ? give_number(message->delivery != NULL, message->stored_ms, ret_ms) : 0;
}

int mqp_message_due_ms(const struct mqp_message *message, int64_t *ret_ms)
{
	return message ? give_number(message->parts.flags & RECORD_DUE, message->parts.due_ms,
				     ret_ms)
		       : 0;
}

int mqp_message_ttl_ms(const struct mqp_message *message, uint32_t *ret_ms)
{
	if (!message || !(message->parts.flags & RECORD_TTL) || !ret_ms)
		return 0;
	*ret_ms = message->parts.ttl_ms;
	return 1;
}

unsigned mqp_message_priority(const struct mqp_message *message)
{
	return message ? message->parts.priority : PRIORITY_NORMAL;
}

uint32_t mqp_message_partition(const struct mqp_message *message)
{
	if (!message)
		return MQP_PARTITION_ANY;
	if (message->delivery)
		return message->delivery->partition;
	return message->parts.flags & RECORD_PARTITION ? message->parts.partition
						       : MQP_PARTITION_ANY;
}

const uint8_t *mqp_message_trace(const struct mqp_message *message)
{
	return message ? message->parts.trace : NULL;
}

uint64_t mqp_message_offset(const struct mqp_message *message)
{
	return message && message->delivery ? message->offset : MQP_OFFSET_NONE;
}

uint32_t mqp_message_attempt(const struct mqp_message *message)
{
	return message && message->delivery ? message->attempt : 0;
}

// ---- Records --------------------------------------------------------------------------------

void message_parts(const struct mqp_message *message, const uint8_t *id, int64_t created_ms,
		   struct record_parts *ret)
{
	*ret = message->parts;
	// What was received is sent on as a message of its own: where and when it was stored, and
	// under which id, is the old one's.
	if (message->delivery)
		ret->flags &= ~(uint32_t)(RECORD_PARTITION | RECORD_DUE);
	if (message->delivery || !ret->id)
		ret->id = id;
	if (message->delivery || !message->has_created)
		ret->created_ms = created_ms;
}

void message_receive(struct mqp_message *message, struct delivery *delivery, const uint8_t *record)
{
	struct record_view view;

	record_read(record, &view);
	*message = (struct mqp_message){
		.has_created = true,
		.delivery = delivery,
		.size = view.size,
	};
	record_parts_of(&view, &message->parts);
}
