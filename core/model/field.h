// Every member of the control data, one row each: where it lies, how it is written in JSON, what it
// may be.
//
// From the rows come copying (model.c), the snapshot's binary form (core/catalog/change.c), the
// registry's columns and the REST interface's JSON with its checks. The order of a table is the
// order of the binary form: new rows go to the end, rows never leave.
#pragma once

#include "core/model/model.h"

enum field_type {
	FIELD_BOOL,
	FIELD_ENUM, // uint8_t; JSON: one of `values`
	FIELD_U32,
	FIELD_U64,
	FIELD_TIME, // int64_t milliseconds since 1970
	FIELD_TEXT,
	FIELD_NAME,     // text that obeys name_check()
	FIELD_OBJECT,   // text that holds a JSON object
	FIELD_SECRET,   // the same, encrypted wherever it is stored and never given out
	FIELD_BYTES,    // array of `size` bytes
	FIELD_REF,      // id of an object of kind `ref`; JSON: its name
	FIELD_REFS,     // list of such
	FIELD_NETWORKS, // list of texts, each an address or a CIDR block
	FIELD_GRANTS,
	FIELD_TYPE_COUNT
};

enum field_flag {
	FIELD_REQUIRED = 1,    // must be given when the resource is made
	FIELD_IMMUTABLE = 2,   // cannot change afterwards
	FIELD_READ_ONLY = 4,   // set by the registry
	FIELD_HIDDEN = 8,      // not in the JSON form
	FIELD_NONE = 16,       // JSON null stands for the value `none`
	FIELD_WRITE_ONLY = 32, // taken, never given out
	FIELD_GROWS = 64,      // afterwards it may only become more
};

struct field {
	const char *name; // "name", or "limits.produce_tps" for a member of an object
	enum field_type type;
	uint16_t offset, count_offset, size;
	uint8_t flags;
	enum model_kind ref;
	uint64_t min, max; // of a number; of a text in characters; of a list in entries
	uint64_t initial;  // what a new resource has when nothing is said
	uint64_t none;
	const char *const *values; // FIELD_ENUM; ends in NULL
	const char *unit;          // "" where there is none
	const char *sentence;      // for the API description
};

struct field_table {
	const char *name; // singular, as in the audit log: "topic"
	const struct field *fields;
	size_t count;
	size_t size; // of the struct
};

// Room for a draft of any kind.
union model_any {
	struct model_object object;
	struct tenant tenant;
	struct access_key key;
	struct cluster cluster;
	struct topic topic;
	struct group group;
};

const struct field_table *field_table(enum model_kind kind);
const struct field *field_find(const struct field_table *table, const char *name); // NULL: none

// Integer members of every width. FIELD_BOOL, ENUM, U32, U64, TIME and REF only.
uint64_t field_get(const struct field *field, const void *object);
void field_set(const struct field *field, void *object, uint64_t value);

// The same for every type; text and lists become absent.
void field_set_initial(const struct field *field, void *object);
