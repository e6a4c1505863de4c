// The body of a resource from a stranger: the first byte chooses the kind and whether it is new.
// Whatever is read can be written, and what was written is read again as the same.

#include "core/base/util.h"
#include "core/model/json.h"
#include "tests/fuzz/fuzz.h"

static uint64_t any_id(void *ctx, enum model_kind kind, const char *name)
{
	(void)ctx;
	(void)kind;
	return (uint8_t)name[0];
}

static const char *any_name(void *ctx, enum model_kind kind, uint64_t id)
{
	static char name[2];

	(void)ctx;
	(void)kind;
	name[0] = (char)(id & 0x7f ? id & 0x7f : 'x');
	return name;
}

static const struct json_names names = {.id = any_id, .name = any_name};

static void strip_read_only(const struct field_table *table, json_t *body)
{
	for (size_t i = 0; i < table->count; ++i)
		if (table->fields[i].flags & FIELD_READ_ONLY)
			json_object_del(body, table->fields[i].name);
}

static json_t *read_and_write(enum model_kind kind, bool create, const json_t *body)
{
	struct json_shape shape = {{field_table(kind), NULL}};
	struct arena arena = {NULL};
	struct json_reader reader = {
		.shape = &shape, .names = &names, .arena = &arena, .create = create};
	union model_any object = {0};
	json_t *written = NULL;

	for (size_t i = 0; i < shape.tables[0]->count; ++i)
		field_set_initial(&shape.tables[0]->fields[i], &object);
	if (json_read(&reader, body, &object) == 0) {
		written = json_write(&shape, &names, &object);
		assert(written);
	} else {
		assert(json_array_size(reader.errors) > 0);
	}
	json_decref(reader.errors);
	arena_deinit(&arena);
	return written;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum model_kind kind = size ? data[0] % MODEL_KIND_COUNT : 0;
	json_t *body, *once, *twice;

	if (size < 2)
		return 0;
	body = json_loadb((const char *)data + 1, size - 1, JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL);
	if (!body)
		return 0;
	once = read_and_write(kind, true, body);
	json_decref(read_and_write(kind, false, body));
	if (once && kind == MODEL_ACCESS_KEY) { // no references, which this test makes up
		strip_read_only(field_table(kind), once);
		twice = read_and_write(kind, true, once);
		assert(twice);
		strip_read_only(field_table(kind), twice);
		assert(json_equal(once, twice));
		json_decref(twice);
	}
	json_decref(once);
	json_decref(body);
	return 0;
}
