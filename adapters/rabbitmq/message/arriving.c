// Makes a wire record of an AMQP message, whoever sent it.
//
// The headers are walked three times: for what is ours, for sizes, and to write. Of each of our
// names the first header that is right in every byte is ours; any other is a user's. What a broker
// adds is left out. A message without envelope is a native client's, or one of ours to a native
// topic; its properties become headers behind those of its table.
//
// Invariant: once the announced body is there, the record is one that record_check() accepts.

#include "adapters/rabbitmq/message/arriving.h"

#include "adapters/envelope.h"
#include "adapters/rabbitmq/message/field_text.h"
#include "adapters/rabbitmq/message/header_name.h"
#include "adapters/rabbitmq/message/message_id.h"
#include "core/base/clock.h"
#include "core/base/utf8.h"
#include "core/wire/partition.h"

#include <errno.h>
#include <sys/random.h>

#define PRIORITY_MOST 9

// What is found out about a message before its record is written.
struct plan {
	const amqp_basic_properties_t *properties;
	const amqp_table_entry_t *ours[RABBITMQ_HEADER_NAMES]; // NULL: there is none
	bool enveloped, identified;
	uint8_t id[RECORD_ID_SIZE];      // of the property message-id, when identified
	uint8_t rest[ENVELOPE_REST_MAX]; // its record without key, body and headers
	int64_t accepted_ms;             // 0: it does not say
	uint32_t placed;                 // ENVELOPE_NOT_PLACED: it does not say
	struct slice key;                // data NULL: absent
	bool body;
	uint64_t header_bytes; // of the entries
	uint32_t header_count;
};

static struct slice slice_of(amqp_bytes_t bytes)
{
	return (struct slice){bytes.bytes ? bytes.bytes : (const uint8_t *)"", bytes.len};
}

static int table_size(const amqp_basic_properties_t *properties)
{
	return properties->_flags & AMQP_BASIC_HEADERS_FLAG ? properties->headers.num_entries : 0;
}

// ---- what is ours

// Entries exactly as a record has them, behind their bytes and count.
static bool headers_are_right(struct slice value)
{
	return value.size >= 6 && le32_get(value.data) == value.size - 6 &&
	       record_headers_check((struct slice){value.data + 6, value.size - 6},
				    le16_get(value.data + 4));
}

// Whether a header of this name is ours, and not a user's.
static bool entry_is_ours(struct plan *plan, enum rabbitmq_header_name name,
			  const amqp_field_value_t *value)
{
	bool bytes = value->kind == AMQP_FIELD_KIND_BYTES || value->kind == AMQP_FIELD_KIND_UTF8;
	struct slice slice = bytes ? slice_of(value->value.bytes) : (struct slice){NULL, 0};
	struct rabbitmq_copy copy;

	switch (name) {
	case RABBITMQ_HEADER_NAME_BODY: return value->kind == AMQP_FIELD_KIND_VOID;
	case RABBITMQ_HEADER_NAME_KEY: return bytes;
	case RABBITMQ_HEADER_NAME_COPY:
		return bytes && rabbitmq_copy_read(slice.data, slice.size, &copy);
	case RABBITMQ_HEADER_NAME_HEADERS: return bytes && headers_are_right(slice);
	case RABBITMQ_HEADER_NAME_ENVELOPE:
		return bytes && envelope_read(slice.data, slice.size, plan->rest,
					      &plan->accepted_ms, &plan->placed);
	default: return false;
	}
}

static struct slice name_of(const amqp_table_entry_t *entry)
{
	return slice_of(entry->key);
}

static void ours_find(struct plan *plan)
{
	for (int i = 0; i < table_size(plan->properties); ++i) {
		const amqp_table_entry_t *entry = &plan->properties->headers.entries[i];
		enum rabbitmq_header_name name = rabbitmq_header_name_of(name_of(entry));

		if (!plan->ours[name] && entry_is_ours(plan, name, &entry->value))
			plan->ours[name] = entry;
	}
	plan->enveloped = plan->ours[RABBITMQ_HEADER_NAME_ENVELOPE];
	if (!plan->enveloped) // every copy of ours has one
		plan->ours[RABBITMQ_HEADER_NAME_COPY] = NULL;
}

static struct slice ours_value(const struct plan *plan, enum rabbitmq_header_name name)
{
	return plan->ours[name] ? slice_of(plan->ours[name]->value.value.bytes)
				: (struct slice){NULL, 0};
}

// ---- the headers of a user, one after the other

// Properties that become headers: bit, place, name.
#define PROPERTY(FLAG, member, name)                                                               \
	{AMQP_BASIC_##FLAG##_FLAG, offsetof(amqp_basic_properties_t, member), name}
static const struct property {
	amqp_flags_t flag;
	size_t offset;
	const char *name;
} properties_as_headers[] = {
	PROPERTY(CONTENT_TYPE, content_type, "content-type"),
	PROPERTY(CONTENT_ENCODING, content_encoding, "content-encoding"),
	PROPERTY(CORRELATION_ID, correlation_id, "correlation-id"),
	PROPERTY(REPLY_TO, reply_to, "reply-to"),
	PROPERTY(EXPIRATION, expiration, "expiration"),
	PROPERTY(MESSAGE_ID, message_id, "message-id"),
	PROPERTY(TYPE, type, "type"),
	PROPERTY(USER_ID, user_id, "user-id"),
	PROPERTY(APP_ID, app_id, "app-id"),
};

struct walk {
	const struct plan *plan;
	size_t next;
	uint32_t taken;
	amqp_table_entry_t property; // the entry that was told, when it is no header
};

static const amqp_table_entry_t *property_entry(struct walk *walk, const struct property *property)
{
	const amqp_basic_properties_t *properties = walk->plan->properties;

	if (!(properties->_flags & property->flag) ||
	    (property->flag == AMQP_BASIC_MESSAGE_ID_FLAG && walk->plan->identified))
		return NULL;
	walk->property.key = amqp_cstring_bytes(property->name);
	walk->property.value.kind = AMQP_FIELD_KIND_UTF8;
	memcpy(&walk->property.value.value.bytes, (const uint8_t *)properties + property->offset,
	       sizeof(amqp_bytes_t));
	return &walk->property;
}

static const amqp_table_entry_t *table_entry(const struct plan *plan,
					     const amqp_table_entry_t *entry)
{
	struct slice name = name_of(entry);
	enum rabbitmq_header_name whose = rabbitmq_header_name_of(name);

	return whose == RABBITMQ_HEADER_NAME_BROKER || plan->ours[whose] == entry ||
			       name.size == 0 || !utf8_valid(name.data, name.size)
		       ? NULL
		       : entry;
}

// NULL: there is no further one.
static const amqp_table_entry_t *walk_next(struct walk *walk)
{
	const amqp_basic_properties_t *properties = walk->plan->properties;
	size_t table = (size_t)table_size(properties);
	const amqp_table_entry_t *entry = NULL;

	while (!entry && walk->next < table + ARRAY_SIZE(properties_as_headers) &&
	       walk->taken < RECORD_HEADERS_MAX) {
		entry = walk->next < table
				? table_entry(walk->plan, &properties->headers.entries[walk->next])
				: property_entry(walk, &properties_as_headers[walk->next - table]);
		++walk->next;
	}
	walk->taken += entry ? 1 : 0;
	return entry;
}

static void headers_measure(struct plan *plan)
{
	struct slice exact = ours_value(plan, RABBITMQ_HEADER_NAME_HEADERS);
	struct walk walk = {.plan = plan};
	const amqp_table_entry_t *entry;

	if (exact.data) {
		plan->header_bytes = exact.size - 6;
		plan->header_count = le16_get(exact.data + 4);
		return;
	}
	while ((entry = walk_next(&walk)))
		plan->header_bytes +=
			6 + entry->key.len + rabbitmq_field_text(&entry->value, NULL, 0);
	plan->header_count = walk.taken;
}

static uint8_t *bytes_write(uint8_t *at, const uint8_t *bytes, size_t size)
{
	if (size)
		memcpy(at, bytes, size);
	return at + size;
}

static uint8_t *headers_write(const struct plan *plan, uint8_t *at)
{
	struct slice exact = ours_value(plan, RABBITMQ_HEADER_NAME_HEADERS);
	struct walk walk = {.plan = plan};
	const amqp_table_entry_t *entry;

	if (exact.data)
		return bytes_write(at, exact.data, exact.size);
	le32_put(at, (uint32_t)plan->header_bytes);
	le16_put(at + 4, (uint16_t)plan->header_count);
	at += 6;
	while ((entry = walk_next(&walk))) {
		size_t size = rabbitmq_field_text(&entry->value, NULL, 0);

		le16_put(at, (uint16_t)entry->key.len);
		at = bytes_write(at + 2, entry->key.bytes, entry->key.len);
		le32_put(at, entry->value.kind == AMQP_FIELD_KIND_VOID ? RECORD_ABSENT
								       : (uint32_t)size);
		at += 4;
		at += rabbitmq_field_text(&entry->value, at, size);
	}
	return at;
}

// ---- the rest of a message that has no envelope

// In milliseconds; -1: it has none that could be a time.
static int64_t timestamp_ms(const amqp_basic_properties_t *properties)
{
	if (!(properties->_flags & AMQP_BASIC_TIMESTAMP_FLAG) ||
	    properties->timestamp > INT64_MAX / 1000)
		return -1;
	return (int64_t)properties->timestamp * 1000;
}

// Time, then 80 random bits.
static void id_make(int64_t now_ms, uint8_t *id)
{
	for (unsigned i = 0; i < 6; ++i)
		id[i] = (uint8_t)((uint64_t)now_ms >> (40 - 8 * i));
	if (getrandom(id + 6, RECORD_ID_SIZE - 6, GRND_NONBLOCK) != RECORD_ID_SIZE - 6)
		le64_put(id + 6, clock_now_ns());
	id[6] |= 1; // an id of zeros stands for none
}

static void rest_make(struct plan *plan)
{
	const amqp_basic_properties_t *properties = plan->properties;
	int64_t now_ms = clock_wall_ms(), created_ms = timestamp_ms(properties);
	uint32_t flags = 0, size = RECORD_HEAD_SIZE;

	memset(plan->rest, 0, RECORD_HEAD_SIZE);
	if (properties->_flags & AMQP_BASIC_PRIORITY_FLAG) {
		flags = RECORD_PRIORITY;
		plan->rest[size++] = MIN(properties->priority, PRIORITY_MOST);
	}
	le32_put(plan->rest, size);
	le32_put(plan->rest + 4, flags);
	le64_put(plan->rest + 24, (uint64_t)(created_ms < 0 ? now_ms : created_ms));
	if (plan->identified)
		memcpy(plan->rest + 8, plan->id, RECORD_ID_SIZE);
	else
		id_make(now_ms, plan->rest + 8);
}

// Whether the property message-id is ours, and so no header. Without envelope it is the id.
static bool id_find(struct plan *plan)
{
	const amqp_basic_properties_t *properties = plan->properties;
	bool enveloped;

	return (properties->_flags & AMQP_BASIC_MESSAGE_ID_FLAG) &&
	       rabbitmq_message_id_read(properties->message_id, &enveloped, plan->id) &&
	       enveloped == plan->enveloped && (le64_get(plan->id) | le64_get(plan->id + 8));
}

// ---- the record

static void plan_make(amqp_bytes_t routing_key, const amqp_basic_properties_t *properties,
		      uint64_t body_size, struct plan *ret)
{
	*ret = (struct plan){.properties = properties, .placed = ENVELOPE_NOT_PLACED};
	ours_find(ret);
	ret->identified = id_find(ret);
	if (!ret->enveloped)
		rest_make(ret);
	headers_measure(ret);
	if (ret->ours[RABBITMQ_HEADER_NAME_KEY])
		ret->key = ours_value(ret, RABBITMQ_HEADER_NAME_KEY);
	else if (routing_key.len && !ret->ours[RABBITMQ_HEADER_NAME_COPY])
		ret->key = slice_of(routing_key);
	ret->body = body_size || !ret->ours[RABBITMQ_HEADER_NAME_BODY];
}

static uint32_t partition_of(const struct plan *plan, uint32_t wanted, uint32_t partitions)
{
	if (wanted < partitions)
		return wanted;
	return plan->key.data ? partition_of_key(plan->key.data, plan->key.size, partitions) : 0;
}

// The property is in seconds: a message that was made within the same one was stored when it was
// made, for all that can be told.
static int64_t stored_of(const struct plan *plan)
{
	int64_t stored_ms = timestamp_ms(plan->properties);
	int64_t created_ms = (int64_t)le64_get(plan->rest + 24);

	if (plan->accepted_ms)
		return plan->accepted_ms;
	if (stored_ms < 0)
		return clock_wall_ms();
	return created_ms > stored_ms && created_ms < stored_ms + 1000 ? created_ms : stored_ms;
}

static uint8_t *record_head_write(const struct plan *plan, uint32_t size, uint32_t body_size,
				  uint8_t *room)
{
	uint8_t *at = bytes_write(room, plan->rest, record_size(plan->rest));
	uint32_t flags = record_flags(plan->rest);

	flags |= plan->key.data ? RECORD_KEY : 0;
	flags |= plan->body ? RECORD_BODY : 0;
	flags |= plan->header_count ? RECORD_HEADERS : 0;
	if (plan->header_count)
		at = headers_write(plan, at);
	at = bytes_write(at, plan->key.data, plan->key.size);
	le32_put(room, size);
	le32_put(room + 4, flags);
	le32_put(room + 32, (uint32_t)plan->key.size);
	le32_put(room + 36, body_size);
	return at;
}

static void result_set(const struct plan *plan, uint32_t partitions, struct rabbitmq_arriving *ret)
{
	struct slice copy = ours_value(plan, RABBITMQ_HEADER_NAME_COPY);

	ret->anonymous = !plan->enveloped && !plan->identified;
	ret->is_copy = copy.data;
	if (ret->is_copy)
		rabbitmq_copy_read(copy.data, copy.size, &ret->copy);
	ret->partition =
		partition_of(plan, ret->is_copy ? ret->copy.partition : plan->placed, partitions);
	ret->stored_ms = ret->is_copy ? ret->copy.stored_ms : stored_of(plan);
}

int rabbitmq_arriving_begin(amqp_bytes_t routing_key, const amqp_basic_properties_t *properties,
			    uint64_t body_size, uint32_t partitions, uint32_t most,
			    struct rabbitmq_arriving *ret)
{
	struct rabbitmq_arriving arriving = {0};
	struct plan plan;
	uint64_t size;

	if (body_size > most)
		return -EMSGSIZE;
	plan_make(routing_key, properties, body_size, &plan);
	size = record_size(plan.rest) + (plan.header_count ? 6 + plan.header_bytes : 0) +
	       plan.key.size + body_size;
	if (size > most)
		return -EMSGSIZE;
	if (buf_new(size, &arriving.buf) < 0)
		return -ENOMEM;
	arriving.buf->size = (uint32_t)size;
	arriving.body =
		record_head_write(&plan, (uint32_t)size, (uint32_t)body_size, arriving.buf->data);
	result_set(&plan, partitions, &arriving);
	*ret = arriving;
	return 0;
}

bool rabbitmq_arriving_body(struct rabbitmq_arriving *arriving, const uint8_t *data, size_t size)
{
	size_t left = (size_t)(arriving->buf->data + arriving->buf->size - arriving->body);

	if (size > left)
		return false;
	arriving->body = bytes_write(arriving->body, data, size);
	return true;
}
