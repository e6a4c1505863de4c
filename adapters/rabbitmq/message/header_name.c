// The tables of names of header_name.h.
//
// What a broker takes for its own must not come from a user: a header `CC` or `BCC` that is no
// array makes it close the channel (406, tried on 3.10 and 4.0), and what it counts and notes
// itself it writes over a user's.

#include "adapters/rabbitmq/message/header_name.h"

#include "adapters/rabbitmq/message/message.h"

struct row {
	const char *text;
	uint8_t size;
	uint8_t name;   // enum rabbitmq_header_name
	bool beginning; // every name that begins with it
};

#define ROW(text, name, beginning) {text, sizeof(text) - 1, RABBITMQ_HEADER_NAME_##name, beginning}

static const struct row rows[] = {
	ROW(ENVELOPE_HEADER, ENVELOPE, false),
	ROW(RABBITMQ_COPY_HEADER, COPY, false),
	ROW(RABBITMQ_KEY_HEADER, KEY, false),
	ROW(RABBITMQ_HEADERS_HEADER, HEADERS, false),
	ROW(RABBITMQ_BODY_HEADER, BODY, false),
	ROW("CC", BROKER, false),
	ROW("BCC", BROKER, false),
	ROW("x-acquired-count", BROKER, false),
	ROW("x-death", BROKER, false),
	ROW("x-delay", BROKER, false),
	ROW("x-delivery-count", BROKER, false),
	ROW("x-first-death-", BROKER, true),
	ROW("x-last-death-", BROKER, true),
	ROW("x-opt-", BROKER, true),
	ROW("x-received-from", BROKER, false),
	ROW("x-shovelled", BROKER, true),
	ROW("x-stream-", BROKER, true),
};

enum rabbitmq_header_name rabbitmq_header_name_of(struct slice name)
{
	if (name.size < 2 || !memchr("mCBx", name.data[0], 4))
		return RABBITMQ_HEADER_NAME_USER;
	for (size_t i = 0; i < ARRAY_SIZE(rows); ++i)
		if ((rows[i].beginning ? name.size >= rows[i].size : name.size == rows[i].size) &&
		    memcmp(name.data, rows[i].text, rows[i].size) == 0)
			return rows[i].name;
	return RABBITMQ_HEADER_NAME_USER;
}
