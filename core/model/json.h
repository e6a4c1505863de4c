// The JSON form of the control data, read, checked and written by the field tables.
#pragma once

#include "core/base/arena.h"
#include "core/base/util.h"
#include "core/model/field.h"

#include <jansson.h>

// Names stand for ids in JSON.
struct json_names {
	void *ctx;
	uint64_t (*id)(void *ctx, enum model_kind kind, const char *name); // 0: none
	const char *(*name)(void *ctx, enum model_kind kind,
			    uint64_t id); // NULL: none; lives until the next call
};

// The members of one struct, maybe spread over several tables.
struct json_shape {
	const struct field_table *tables[2]; // the second may be NULL
};

struct json_reader {
	const struct json_shape *shape;
	const struct json_names *names;
	struct arena *arena; // what is read points into it and into the body
	bool create;         // required members must be there, immutable ones may be set
	bool named;          // the name comes from elsewhere and is not accepted in the body
	json_t *errors;      // out: [{field, detail}]; NULL while there are none; the caller's
	bool conflict;       // out: an immutable member would have changed
};

// Reads `body` over what `object` holds: members left out keep their value. Positive JSON_E_WRONG:
// errors are there, and `object` is not to be used. -ENOMEM.
enum { JSON_E_WRONG = 1 };
int json_read(struct json_reader *reader, const json_t *body, void *object);

// One more entry in `errors`, for checks beyond the tables. `pointer` as "/limits/over".
void json_problem(struct json_reader *reader, const char *pointer, const char *fmt, ...)
	PRINTF_LIKE(3, 4);

// Hidden and write-only members are left out. NULL: no memory.
json_t *json_write(const struct json_shape *shape, const struct json_names *names,
		   const void *object);
