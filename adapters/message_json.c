// A stored message as the answer of QUERY_MESSAGES shows it.

#include "adapters/message_json.h"

#include "core/base/base64.h"
#include "core/wire/record.h"

#include <stdio.h>

static json_t *bytes_json(struct slice bytes)
{
	_cleanup_(freep) char *text = bytes.data ? base64_encode(bytes.data, bytes.size) : NULL;

	return text ? json_string(text) : json_null();
}

static json_t *headers_json(const struct record_view *view)
{
	struct record_header header;
	json_t *headers = json_array();
	size_t cursor = 0;

	while (record_header_next(view, &cursor, &header))
		json_array_append_new(
			headers,
			json_pack("{s:o,s:o}", "name",
				  json_stringn((const char *)header.name.data, header.name.size),
				  "value", bytes_json(header.value)));
	return headers;
}

json_t *message_json(const uint8_t *record, uint32_t partition, uint64_t offset, int64_t stored_ms,
		     bool body)
{
	struct record_view view;
	char id[2 * RECORD_ID_SIZE + 1];

	record_read(record, &view);
	for (size_t i = 0; i < RECORD_ID_SIZE; ++i)
		snprintf(id + 2 * i, 3, "%02x", view.id[i]);
	return json_pack("{s:I,s:I,s:s,s:I,s:o,s:o,s:o,s:o,s:I,s:o}", "partition",
			 (json_int_t)partition, "offset", (json_int_t)offset, "id", id, "stored_ms",
			 (json_int_t)stored_ms, "created_ms",
			 view.created_ms >= 0 ? json_integer(view.created_ms) : json_null(), "key",
			 bytes_json(view.key), "tag",
			 view.tag.data ? json_stringn((const char *)view.tag.data, view.tag.size)
				       : json_null(),
			 "headers", headers_json(&view), "size", (json_int_t)view.body.size, "body",
			 body ? bytes_json(view.body) : json_null());
}
