// Makes an AMQP message of a wire record. The other way round: arriving.c.
//
// A broker of 4.0 sorts the headers of every message by name and keeps the first of each; one of
// 3.10 sorts them in a quorum queue. So user headers go into the table in that order, the first of
// each name, for native clients; and where that is not all there is to know (another order,
// repeated names, names that a table cannot hold or that a broker takes for its own), all of them
// stand once more in `mqp-headers`, as they lie in the record.
//
// The room grows to what the largest list of headers needs, and is used again: no allocation a
// message. Invariant: head_bytes is what rabbitmq-c makes of the properties.

#include "adapters/rabbitmq/message/message.h"

#include "adapters/rabbitmq/message/header_name.h"
#include "adapters/rabbitmq/message/message_id.h"
#include "core/base/utf8.h"

#include <errno.h>

#define SHORT_STRING_MAX 255u // bytes of a routing key or the name of a header
#define ENTRIES_OF_OURS  5u   // envelope, copy, key, headers, body
#define FRAME_FIXED_SIZE 22u  // frame, class, weight, size of the body, flags, end
#define PERSISTENT       2

struct rabbitmq_message_room {
	amqp_table_entry_t *entries;
	size_t size, used; // of entries
	uint8_t envelope[ENVELOPE_MAX];
	uint8_t copy[RABBITMQ_COPY_SIZE];
	uint8_t id[RABBITMQ_MESSAGE_ID_MAX];
};

struct rabbitmq_message_room *rabbitmq_message_room_new(void)
{
	return calloc(1, sizeof(struct rabbitmq_message_room));
}

void rabbitmq_message_room_free(struct rabbitmq_message_room *room)
{
	if (room)
		free(room->entries);
	free(room);
}

static int entries_reserve(struct rabbitmq_message_room *room, size_t size)
{
	amqp_table_entry_t *entries;

	if (size <= room->size)
		return 0;
	entries = reallocarray(room->entries, size, sizeof *entries);
	if (!entries)
		return -ENOMEM;
	room->entries = entries;
	room->size = size;
	return 0;
}

static amqp_bytes_t bytes_of(const void *data, size_t size)
{
	return (amqp_bytes_t){size, (void *)data};
}

static void entry_add(struct rabbitmq_message_room *room, amqp_bytes_t name, uint8_t kind,
		      const void *data, size_t size)
{
	amqp_table_entry_t *entry = &room->entries[room->used++];

	assert(room->used <= room->size);
	entry->key = name;
	entry->value.kind = kind;
	entry->value.value.bytes = bytes_of(data, size);
}

static void entry_add_ours(struct rabbitmq_message_room *room, const char *name, uint8_t kind,
			   const void *data, size_t size)
{
	entry_add(room, bytes_of(name, strlen(name)), kind, data, size);
}

// ---- user headers

static int name_compare(amqp_bytes_t a, amqp_bytes_t b)
{
	int order = memcmp(a.bytes, b.bytes, MIN(a.len, b.len));

	return order ? order : (a.len > b.len) - (a.len < b.len);
}

// By name; of the same name the one that comes first in the record.
static int entry_compare(const void *left, const void *right)
{
	const amqp_table_entry_t *a = left, *b = right;
	int order = name_compare(a->key, b->key);

	return order ? order : (a->key.bytes > b->key.bytes) - (a->key.bytes < b->key.bytes);
}

// Of the entries from `first` on, sorted, the first of each name stays.
static void entries_sort(struct rabbitmq_message_room *room, size_t first)
{
	amqp_table_entry_t *entries = room->entries;
	size_t kept = first;

	qsort(entries + first, room->used - first, sizeof *entries, entry_compare);
	for (size_t i = first; i < room->used; ++i)
		if (i == first || name_compare(entries[kept - 1].key, entries[i].key) != 0)
			entries[kept++] = entries[i];
	room->used = kept;
}

static uint8_t kind_of(struct slice value)
{
	return !value.data                          ? AMQP_FIELD_KIND_VOID
	       : utf8_valid(value.data, value.size) ? AMQP_FIELD_KIND_UTF8
						    : AMQP_FIELD_KIND_BYTES;
}

static bool is_visible(struct slice name)
{
	return name.size <= SHORT_STRING_MAX &&
	       rabbitmq_header_name_of(name) == RABBITMQ_HEADER_NAME_USER;
}

static void user_headers_add(struct rabbitmq_message_room *room, const struct record_view *view)
{
	bool ascending = true, hidden = false;
	struct record_header header;
	size_t cursor = 0, first = room->used;

	while (record_header_next(view, &cursor, &header)) {
		amqp_bytes_t name = bytes_of(header.name.data, header.name.size);

		if (!is_visible(header.name)) {
			hidden = true;
			continue;
		}
		ascending =
			ascending && (room->used == first ||
				      name_compare(room->entries[room->used - 1].key, name) < 0);
		entry_add(room, name, kind_of(header.value), header.value.data, header.value.size);
	}
	if (!ascending)
		entries_sort(room, first);
	if (!ascending || hidden)
		entry_add_ours(room, RABBITMQ_HEADERS_HEADER, AMQP_FIELD_KIND_BYTES,
			       view->headers.data - 6, view->headers.size + 6);
}

// ---- what is ours

static bool is_routing_key(struct slice key)
{
	return key.size > 0 && key.size <= SHORT_STRING_MAX && utf8_valid(key.data, key.size);
}

// The routing key of a copy is the name of its queue, so its key is a header.
static void key_add(struct rabbitmq_message_room *room, const struct record_view *view, bool copy,
		    struct rabbitmq_message *ret)
{
	if (!view->key.data)
		return;
	if (!copy && is_routing_key(view->key))
		ret->routing_key = bytes_of(view->key.data, view->key.size);
	else
		entry_add_ours(room, RABBITMQ_KEY_HEADER, AMQP_FIELD_KIND_BYTES, view->key.data,
			       view->key.size);
}

// ---- the message

// Priority orders a quorum queue of 4.0, so only a native topic, whose clients ask for that, has
// it.
static void properties_set(amqp_basic_properties_t *ret, const struct record_view *view,
			   bool native, int64_t accepted_ms)
{
	ret->_flags = AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_MESSAGE_ID_FLAG |
		      AMQP_BASIC_TIMESTAMP_FLAG;
	ret->delivery_mode = PERSISTENT;
	ret->timestamp = (uint64_t)MAX(accepted_ms, 0) / 1000;
	if (native && (view->flags & RECORD_PRIORITY)) {
		ret->_flags |= AMQP_BASIC_PRIORITY_FLAG;
		ret->priority = view->priority;
	}
}

static void table_set(amqp_basic_properties_t *ret, struct rabbitmq_message_room *room)
{
	if (!room->used)
		return;
	ret->_flags |= AMQP_BASIC_HEADERS_FLAG;
	ret->headers.num_entries = (int)room->used;
	ret->headers.entries = room->entries;
}

static size_t head_bytes(const amqp_basic_properties_t *properties)
{
	const amqp_table_t *table = &properties->headers;
	size_t bytes = FRAME_FIXED_SIZE + 1 + 8 + 1 + properties->message_id.len; // modes, id

	bytes += properties->_flags & AMQP_BASIC_PRIORITY_FLAG ? 1 : 0;
	bytes += table->num_entries ? 4 : 0;
	for (int i = 0; i < table->num_entries; ++i) {
		bytes += 2 + table->entries[i].key.len;
		if (table->entries[i].value.kind != AMQP_FIELD_KIND_VOID)
			bytes += 4 + table->entries[i].value.value.bytes.len;
	}
	return bytes;
}

int rabbitmq_message_make(struct rabbitmq_message_room *room, const uint8_t *record, bool native,
			  uint32_t placed, int64_t accepted_ms, const struct rabbitmq_copy *copy,
			  struct rabbitmq_message *ret)
{
	struct record_view view;
	bool enveloped;

	record_read(record, &view);
	if (entries_reserve(room, ENTRIES_OF_OURS + view.header_count) < 0)
		return -ENOMEM;
	room->used = 0;
	*ret = (struct rabbitmq_message){.body = bytes_of(view.body.data, view.body.size)};
	enveloped = copy || envelope_size(&view, native) > 0;
	if (enveloped)
		entry_add_ours(room, ENVELOPE_HEADER, AMQP_FIELD_KIND_BYTES, room->envelope,
			       envelope_write(&view, accepted_ms, placed, room->envelope));
	if (copy) {
		rabbitmq_copy_write(copy, room->copy);
		entry_add_ours(room, RABBITMQ_COPY_HEADER, AMQP_FIELD_KIND_BYTES, room->copy,
			       sizeof room->copy);
	}
	key_add(room, &view, copy, ret);
	if (!view.body.data)
		entry_add_ours(room, RABBITMQ_BODY_HEADER, AMQP_FIELD_KIND_VOID, NULL, 0);
	user_headers_add(room, &view);
	properties_set(&ret->properties, &view, native && !copy, accepted_ms);
	ret->properties.message_id =
		bytes_of(room->id, rabbitmq_message_id_write(view.id, enveloped, room->id));
	table_set(&ret->properties, room);
	ret->head_bytes = head_bytes(&ret->properties);
	return 0;
}
