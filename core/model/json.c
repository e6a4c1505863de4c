// Objects of the model as JSON, by the field tables: reading what a caller sent, and writing what
// it may see.
//
// Reading collects all problems, each with what would be right, so that a caller corrects a body
// once. Nothing of a value is used before its check.
//
// Invariants: an object is valid only if json_read() returned 0. Texts that it read belong to the
// body or to the reader's arena, which must outlive the object's use (model_new() copies them).
// Hidden members are neither read nor written, write-only members not written. Not here: rules
// between members (core/registry).

#include "core/model/json.h"

#include "core/model/name.h"
#include "core/model/network.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define POINTER_MAX      96
#define MEMBER_TEXT_MAX  16384 // a chain of certificates fits
#define SECRET_TEXT_MAX  16384
#define OPTION_COUNT_MAX 64
#define SECRET_COUNT_MAX 16

// ---- problems

__attribute__((format(printf, 3, 0))) static void
problem_add(struct json_reader *reader, const char *pointer, const char *fmt, va_list args)
{
	char detail[512];

	vsnprintf(detail, sizeof detail, fmt, args);
	if (!reader->errors)
		reader->errors = json_array();
	json_array_append_new(reader->errors,
			      json_pack("{s:s, s:s}", "field", pointer, "detail", detail));
}

void json_problem(struct json_reader *reader, const char *pointer, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	problem_add(reader, pointer, fmt, args);
	va_end(args);
}

static void pointer_of(const struct field *field, char pointer[POINTER_MAX])
{
	snprintf(pointer, POINTER_MAX, "/%s", field->name);
	for (char *at = pointer; *at; ++at)
		if (*at == '.')
			*at = '/';
}

static void field_problem(struct json_reader *reader, const struct field *field, const char *fmt,
			  ...) PRINTF_LIKE(3, 4);
static void field_problem(struct json_reader *reader, const struct field *field, const char *fmt,
			  ...)
{
	char pointer[POINTER_MAX];
	va_list args;

	pointer_of(field, pointer);
	va_start(args, fmt);
	problem_add(reader, pointer, fmt, args);
	va_end(args);
}

// ---- values

// A whole number however it is written: 5, 5.0, 5e0.
static bool whole_number(const json_t *value, int64_t *ret)
{
	double real;

	if (json_is_integer(value)) {
		*ret = json_integer_value(value);
		return true;
	}
	real = json_real_value(value);
	if (!json_is_real(value) || real < -9007199254740992.0 || real > 9007199254740992.0 ||
	    (double)(int64_t)real != real)
		return false;
	*ret = (int64_t)real;
	return true;
}

static void read_number(struct json_reader *reader, const struct field *field, const json_t *value,
			void *object)
{
	const char *unit = field->unit ? field->unit : "";
	const char *null = field->flags & FIELD_NONE ? ", or null" : "";
	int64_t number;

	if (!whole_number(value, &number) || number < 0 || (uint64_t)number < field->min ||
	    (uint64_t)number > field->max) {
		field_problem(reader, field, "must be a whole number from %llu to %llu%s%s%s",
			      (unsigned long long)field->min, (unsigned long long)field->max,
			      *unit ? " " : "", unit, null);
		return;
	}
	field_set(field, object, (uint64_t)number);
}

static void read_bool(struct json_reader *reader, const struct field *field, const json_t *value,
		      void *object)
{
	if (json_is_boolean(value))
		field_set(field, object, json_is_true(value));
	else
		field_problem(reader, field, "must be true or false");
}

static void read_enum(struct json_reader *reader, const struct field *field, const json_t *value,
		      void *object)
{
	const char *text = json_string_value(value);
	char choices[256] = "";
	size_t size = 0;

	for (uint64_t i = field->min; i <= field->max && field->values[i]; ++i) {
		if (text && strcmp(text, field->values[i]) == 0) {
			field_set(field, object, i);
			return;
		}
		size += (size_t)snprintf(choices + size, sizeof choices - size, "%s\"%s\"",
					 size ? ", " : "", field->values[i]);
	}
	field_problem(reader, field, "must be one of %s", choices);
}

static size_t count_characters(const char *text)
{
	size_t count = 0;

	for (; *text; ++text)
		count += (*text & 0xc0) != 0x80;
	return count;
}

static bool text_fits(const json_t *value, uint64_t min, uint64_t max)
{
	const char *text = json_string_value(value);
	size_t count;

	if (!text || strlen(text) != json_string_length(value))
		return false; // not a text, or one with a zero inside
	count = count_characters(text);
	return count >= min && count <= max;
}

// C0, DEL and C1, which is C2 80 to C2 9F in UTF-8.
static bool has_controls(const char *text)
{
	for (const unsigned char *at = (const unsigned char *)text; *at; ++at)
		if (*at < 0x20 || *at == 0x7f || (*at == 0xc2 && at[1] < 0xa0))
			return true;
	return false;
}

static void read_text(struct json_reader *reader, const struct field *field, const json_t *value,
		      const char **ret)
{
	if (text_fits(value, field->min, field->max) && !has_controls(json_string_value(value)))
		*ret = json_string_value(value);
	else
		field_problem(reader, field,
			      "must be a text of %llu to %llu characters, none of them a control "
			      "character",
			      (unsigned long long)field->min, (unsigned long long)field->max);
}

static void read_name(struct json_reader *reader, const struct field *field, const json_t *value,
		      const char **ret)
{
	const char *problem = "must be a text of 1 to 64 characters";
	char *normal;

	if (!text_fits(value, 0, UINT64_MAX) ||
	    name_normalize(json_string_value(value), &normal, &problem) < 0) {
		field_problem(reader, field, "%s", problem);
		return;
	}
	*ret = arena_text(reader->arena, normal);
	free(normal);
}

// What a name stands for; 0 with a problem when it stands for nothing.
static uint64_t read_reference(struct json_reader *reader, const struct field *field,
			       const json_t *value)
{
	static const char *const words[MODEL_KIND_COUNT] = {"tenant", "access key", "cluster",
							    "topic", "group"};
	const char *problem = "must be a name", *name = json_string_value(value);
	char *normal;
	uint64_t id;

	if (!text_fits(value, 0, UINT64_MAX) || name_normalize(name, &normal, &problem) < 0) {
		field_problem(reader, field, "%s", problem);
		return 0;
	}
	id = reader->names->id(reader->names->ctx, field->ref, normal);
	if (!id)
		field_problem(reader, field, "there is no %s \"%.100s\"", words[field->ref],
			      normal);
	free(normal);
	return id;
}

static void *list_make(struct json_reader *reader, const struct field *field, size_t count,
		       size_t item)
{
	void *list = arena_alloc(reader->arena, count * item);

	if (!list)
		field_problem(reader, field, "does not fit into memory");
	return list;
}

static bool list_fits(struct json_reader *reader, const struct field *field, const json_t *value)
{
	if (json_is_array(value) && json_array_size(value) <= field->max)
		return true;
	field_problem(reader, field, "must be a list of at most %llu",
		      (unsigned long long)field->max);
	return false;
}

static void list_set(const struct field *field, void *object, const void *list, size_t count)
{
	*(const void **)(void *)((char *)object + field->offset) = count ? list : NULL;
	*(size_t *)(void *)((char *)object + field->count_offset) = count;
}

// A list whose entries are wrong is filled all the same: every problem is reported, and json_read()
// then fails as a whole, so nothing uses the list.
static void read_references(struct json_reader *reader, const struct field *field,
			    const json_t *value, void *object)
{
	uint64_t *list;
	size_t count;

	if (!list_fits(reader, field, value))
		return;
	count = json_array_size(value);
	list = list_make(reader, field, count, sizeof *list);
	for (size_t i = 0; list && i < count; ++i) {
		list[i] = read_reference(reader, field, json_array_get(value, i));
		for (size_t before = 0; before < i; ++before)
			if (list[i] && list[i] == list[before])
				field_problem(reader, field, "must not name one twice");
	}
	list_set(field, object, list, list ? count : 0);
}

static void read_networks(struct json_reader *reader, const struct field *field,
			  const json_t *value, void *object)
{
	struct network network;
	const char **list;
	size_t count;

	if (!list_fits(reader, field, value))
		return;
	count = json_array_size(value);
	list = list_make(reader, field, count, sizeof *list);
	for (size_t i = 0; list && i < count; ++i) {
		const json_t *item = json_array_get(value, i);

		if (!text_fits(item, 1, 49) || network_parse(json_string_value(item), &network) < 0)
			field_problem(reader, field,
				      "entry %zu must be an address or a CIDR block, as "
				      "\"10.0.0.0/8\" or \"2001:db8::/32\"",
				      i);
		else
			list[i] = json_string_value(item);
	}
	list_set(field, object, list, list ? count : 0);
}

static uint32_t read_rights(const json_t *rights)
{
	uint32_t bits = 0;
	size_t i;
	json_t *right;

	json_array_foreach(rights, i, right)
	{
		const char *text = json_is_string(right) ? json_string_value(right) : "";
		uint32_t bit = strcmp(text, "produce") == 0   ? ACCESS_PRODUCE
			       : strcmp(text, "consume") == 0 ? ACCESS_CONSUME
							      : 0;

		if (!bit || bits & bit)
			return 0;
		bits |= bit;
	}
	return bits;
}

static void read_grant(struct json_reader *reader, const struct field *field, const json_t *value,
		       size_t at, struct access_grant *grant)
{
	const char *problem = "must be a text";
	const json_t *pattern = json_object_get(value, "pattern");
	char *normal;

	if (!json_is_object(value) || json_object_size(value) != 2 || !pattern ||
	    !json_object_get(value, "rights")) {
		field_problem(reader, field, "entry %zu must be {\"pattern\", \"rights\"}", at);
		return;
	}
	grant->rights = read_rights(json_object_get(value, "rights"));
	if (!grant->rights)
		field_problem(reader, field,
			      "the rights of entry %zu must be a list of \"produce\" and "
			      "\"consume\", each at most once",
			      at);
	if (!text_fits(pattern, 0, UINT64_MAX) ||
	    name_normalize(json_string_value(pattern), &normal, &problem) < 0) {
		field_problem(reader, field, "the pattern of entry %zu %s", at, problem);
		return;
	}
	grant->pattern = arena_text(reader->arena, normal);
	free(normal);
}

static void read_grants(struct json_reader *reader, const struct field *field, const json_t *value,
			void *object)
{
	struct access_grant *list;
	size_t count;

	if (!list_fits(reader, field, value))
		return;
	count = json_array_size(value);
	list = list_make(reader, field, count, sizeof *list);
	for (size_t i = 0; list && i < count; ++i)
		read_grant(reader, field, json_array_get(value, i), i, &list[i]);
	list_set(field, object, list, list ? count : 0);
}

static void object_text(struct json_reader *reader, const json_t *value, const char **ret)
{
	char *text = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS);

	*ret = arena_text(reader->arena, text);
	free(text);
}

// A member as it is stored: 5.0 is the whole number that it is. NULL: not one that may be there.
static json_t *read_option(const json_t *member)
{
	int64_t number;

	if (whole_number(member, &number))
		return json_integer(number);
	if (json_is_boolean(member) || text_fits(member, 0, MEMBER_TEXT_MAX))
		return json_incref((json_t *)(uintptr_t)member);
	return NULL;
}

static void read_object(struct json_reader *reader, const struct field *field, const json_t *value,
			const char **ret)
{
	bool right = json_is_object(value) && json_object_size(value) <= OPTION_COUNT_MAX;
	json_t *options = json_object(), *member;
	const char *key;

	json_object_foreach((json_t *)(uintptr_t)value, key, member) right =
		right && json_object_set_new(options, key, read_option(member)) == 0;
	if (right)
		object_text(reader, options, ret);
	else
		field_problem(reader, field,
			      "must be an object of at most %d members, each a text of at most %d "
			      "characters, a whole number, true or false",
			      OPTION_COUNT_MAX, MEMBER_TEXT_MAX);
	json_decref(options);
}

static void read_secret(struct json_reader *reader, const struct field *field, const json_t *value,
			const char **ret)
{
	bool right = json_is_object(value) && json_object_size(value) <= SECRET_COUNT_MAX;
	const char *key;
	json_t *member;

	if (json_is_null(value)) {
		*ret = NULL;
		return;
	}
	json_object_foreach((json_t *)(uintptr_t)value, key, member) right =
		right && text_fits(member, 0, SECRET_TEXT_MAX);
	if (right)
		object_text(reader, value, ret);
	else
		field_problem(reader, field,
			      "must be null or an object of at most %d members, each a text of at "
			      "most %d characters",
			      SECRET_COUNT_MAX, SECRET_TEXT_MAX);
}

static void read_value(struct json_reader *reader, const struct field *field, const json_t *value,
		       void *object)
{
	const char **text = (const char **)(void *)((char *)object + field->offset);

	if (json_is_null(value) && field->flags & FIELD_NONE) {
		field_set(field, object, field->none);
		return;
	}
	switch (field->type) {
	case FIELD_BOOL: read_bool(reader, field, value, object); break;
	case FIELD_ENUM: read_enum(reader, field, value, object); break;
	case FIELD_U32:
	case FIELD_U64:
	case FIELD_TIME: read_number(reader, field, value, object); break;
	case FIELD_TEXT: read_text(reader, field, value, text); break;
	case FIELD_NAME: read_name(reader, field, value, text); break;
	case FIELD_OBJECT: read_object(reader, field, value, text); break;
	case FIELD_SECRET: read_secret(reader, field, value, text); break;
	case FIELD_REF: field_set(field, object, read_reference(reader, field, value)); break;
	case FIELD_REFS: read_references(reader, field, value, object); break;
	case FIELD_NETWORKS: read_networks(reader, field, value, object); break;
	case FIELD_GRANTS: read_grants(reader, field, value, object); break;
	default: break; // bytes are hidden, and not looked for
	}
}

// ---- members

static bool text_type(const struct field *field)
{
	return field->type == FIELD_TEXT || field->type == FIELD_NAME;
}

// A member that cannot change may be repeated with the value that it has.
static void read_fixed(struct json_reader *reader, const struct field *field, const json_t *value,
		       void *object)
{
	const char **at = (const char **)(void *)((char *)object + field->offset);
	const char *text = text_type(field) ? *at : NULL;
	uint64_t number = text_type(field) ? 0 : field_get(field, object);
	size_t before = json_array_size(reader->errors);
	bool same;

	read_value(reader, field, value, object);
	if (json_array_size(reader->errors) > before)
		return;
	same = text_type(field) ? text && *at && strcmp(text, *at) == 0
				: field_get(field, object) == number;
	if (same)
		return;
	reader->conflict = true;
	field_problem(reader, field, "cannot be changed");
}

// A member that can only grow may be repeated too.
static void read_growing(struct json_reader *reader, const struct field *field, const json_t *value,
			 void *object)
{
	uint64_t number = field_get(field, object);
	size_t before = json_array_size(reader->errors);

	read_value(reader, field, value, object);
	if (json_array_size(reader->errors) > before || field_get(field, object) >= number)
		return;
	reader->conflict = true;
	field_problem(reader, field, "cannot become less");
}

static const json_t *member_find(const json_t *body, const char *name)
{
	const char *dot = strchr(name, '.');
	const json_t *parent;

	if (!dot)
		return json_object_get(body, name);
	parent = json_object_getn(body, name, (size_t)(dot - name));
	return json_object_get(parent, dot + 1);
}

static bool accepts_field(const struct json_reader *reader, const struct field *field)
{
	return !(field->flags & (FIELD_READ_ONLY | FIELD_HIDDEN)) &&
	       !(reader->named && field->type == FIELD_NAME);
}

static void read_member(struct json_reader *reader, const struct field *field, const json_t *body,
			void *object)
{
	const json_t *value = accepts_field(reader, field) ? member_find(body, field->name) : NULL;

	if (!value) {
		if (accepts_field(reader, field) && reader->create && field->flags & FIELD_REQUIRED)
			field_problem(reader, field, "is missing");
	} else if (!reader->create && field->flags & FIELD_IMMUTABLE) {
		read_fixed(reader, field, value, object);
	} else if (!reader->create && field->flags & FIELD_GROWS) {
		read_growing(reader, field, value, object);
	} else {
		read_value(reader, field, value, object);
	}
}

// ---- unknown members

enum known { UNKNOWN, READ_ONLY, GROUP_OF_MEMBERS, KNOWN };

static enum known look_up(const struct json_reader *reader, const char *path)
{
	size_t size = strlen(path);

	for (size_t t = 0; t < 2 && reader->shape->tables[t]; ++t) {
		const struct field_table *table = reader->shape->tables[t];

		for (size_t i = 0; i < table->count; ++i) {
			const struct field *field = &table->fields[i];

			if (strcmp(field->name, path) == 0)
				return accepts_field(reader, field)     ? KNOWN
				       : field->flags & FIELD_READ_ONLY ? READ_ONLY
									: UNKNOWN;
			if (strncmp(field->name, path, size) == 0 && field->name[size] == '.' &&
			    accepts_field(reader, field))
				return GROUP_OF_MEMBERS;
		}
	}
	return UNKNOWN;
}

static void refuse_unknown_members(struct json_reader *reader, const json_t *body,
				   const char *parent)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)body, key, value)
	{
		char path[POINTER_MAX], pointer[POINTER_MAX];
		enum known known;

		snprintf(path, sizeof path, "%s%s%.64s", parent, *parent ? "." : "", key);
		snprintf(pointer, sizeof pointer, "/%s%s%.64s", parent, *parent ? "/" : "", key);
		known = strchr(key, '.') ? UNKNOWN : look_up(reader, path);
		if (known == UNKNOWN)
			json_problem(reader, pointer, "is not a member of this resource");
		else if (known == READ_ONLY)
			json_problem(reader, pointer, "is set by the registry and cannot be given");
		else if (known == GROUP_OF_MEMBERS && json_is_object(value))
			refuse_unknown_members(reader, value, key);
		else if (known == GROUP_OF_MEMBERS)
			json_problem(reader, pointer, "must be an object");
	}
}

int json_read(struct json_reader *reader, const json_t *body, void *object)
{
	if (!json_is_object(body)) {
		json_problem(reader, "", "must be an object");
		return JSON_E_WRONG;
	}
	refuse_unknown_members(reader, body, "");
	for (size_t t = 0; t < 2 && reader->shape->tables[t]; ++t)
		for (size_t i = 0; i < reader->shape->tables[t]->count; ++i)
			read_member(reader, &reader->shape->tables[t]->fields[i], body, object);
	return reader->errors ? JSON_E_WRONG : 0;
}

// ---- writing

static json_t *name_json(const struct json_names *names, enum model_kind kind, uint64_t id)
{
	const char *name = names->name(names->ctx, kind, id);

	return name ? json_string(name) : json_null();
}

static json_t *write_list(const struct field *field, const struct json_names *names,
			  const void *object)
{
	const char *base = object;
	const void *list = *(void *const *)(const void *)(base + field->offset);
	size_t count = *(const size_t *)(const void *)(base + field->count_offset);
	json_t *array = json_array();

	for (size_t i = 0; i < count; ++i) {
		const struct access_grant *grant = (const struct access_grant *)list + i;
		json_t *rights;

		if (field->type == FIELD_REFS) {
			json_array_append_new(
				array, name_json(names, field->ref, ((const uint64_t *)list)[i]));
			continue;
		}
		if (field->type == FIELD_NETWORKS) {
			json_array_append_new(array, json_string(((const char *const *)list)[i]));
			continue;
		}
		rights = json_array();
		if (grant->rights & ACCESS_PRODUCE)
			json_array_append_new(rights, json_string("produce"));
		if (grant->rights & ACCESS_CONSUME)
			json_array_append_new(rights, json_string("consume"));
		json_array_append_new(array, json_pack("{s:s, s:o}", "pattern", grant->pattern,
						       "rights", rights));
	}
	return array;
}

static json_t *text_json(const char *text)
{
	return text ? json_string(text) : json_null();
}

static json_t *object_json(const char *text)
{
	return text ? json_loads(text, 0, NULL) : json_object();
}

static json_t *write_value(const struct field *field, const struct json_names *names,
			   const void *object)
{
	const void *at = (const char *)object + field->offset;
	uint64_t number;

	switch (field->type) {
	case FIELD_TEXT:
	case FIELD_NAME: return text_json(*(const char *const *)at);
	case FIELD_OBJECT: return object_json(*(const char *const *)at);
	case FIELD_REFS:
	case FIELD_NETWORKS:
	case FIELD_GRANTS: return write_list(field, names, object);
	default: break;
	}
	number = field_get(field, object);
	if ((field->flags & FIELD_NONE && number == field->none) ||
	    (field->type == FIELD_ENUM && number > field->max)) // nothing is decided yet
		return json_null();
	switch (field->type) {
	case FIELD_BOOL: return json_boolean(number);
	case FIELD_ENUM: return json_string(field->values[number]);
	case FIELD_REF: return name_json(names, field->ref, number);
	default: return json_integer((json_int_t)number);
	}
}

static int write_member(const struct field *field, const struct json_names *names,
			const void *object, json_t *body)
{
	const char *dot = strchr(field->name, '.');
	json_t *parent = body;

	if (field->flags & (FIELD_HIDDEN | FIELD_WRITE_ONLY))
		return 0;
	if (dot) {
		char group[POINTER_MAX];

		snprintf(group, sizeof group, "%.*s", (int)(dot - field->name), field->name);
		parent = json_object_get(body, group);
		if (!parent) {
			parent = json_object();
			if (json_object_set_new(body, group, parent) < 0)
				return -ENOMEM;
		}
	}
	return json_object_set_new(parent, dot ? dot + 1 : field->name,
				   write_value(field, names, object)) < 0
		       ? -ENOMEM
		       : 0;
}

json_t *json_write(const struct json_shape *shape, const struct json_names *names,
		   const void *object)
{
	json_t *body = json_object();
	int r = body ? 0 : -ENOMEM;

	for (size_t t = 0; t < 2 && shape->tables[t] && r == 0; ++t)
		for (size_t i = 0; i < shape->tables[t]->count && r == 0; ++i)
			r = write_member(&shape->tables[t]->fields[i], names, object, body);
	if (r == 0)
		return body;
	json_decref(body);
	return NULL;
}
