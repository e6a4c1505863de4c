// Checks JSON objects against rows: type, range, required or not, for each member.
//
// Every fault is reported, not only the first, so that a client can be corrected in one go. Unknown
// members are faults: a misspelt field is never silently ignored. Faults name their member by a
// JSON pointer (RFC 6901).
//
// Not here: rules between members, which belong to the routes, and bodies of resources
// (core/model/json.c).

#include "portal-api/body_rule.h"

#include "core/base/util.h"

#include <stdio.h>

enum { POINTER_SIZE = 256, DETAIL_SIZE = 400 };

static bool check_object(const struct body_rule *rules, const json_t *object, const char *at,
			 json_t *errors);

void body_rule_fault(json_t *errors, const char *field, const char *detail)
{
	json_array_append_new(errors, json_pack("{s:s, s:s}", "field", field, "detail", detail));
}

// at + "/" + name, escaped and cut at a character's end.
static void make_pointer(char out[POINTER_SIZE], const char *at, const char *name)
{
	size_t used = (size_t)snprintf(out, POINTER_SIZE, "%s/", at);

	for (; *name && used < POINTER_SIZE - 8; ++name) {
		if (*name == '~' || *name == '/') {
			out[used++] = '~';
			out[used++] = *name == '~' ? '0' : '1';
		} else {
			out[used++] = *name;
		}
	}
	while (*name && used && ((unsigned char)*name & 0xc0) == 0x80) {
		--used;
		--name;
	}
	out[MIN(used, (size_t)POINTER_SIZE - 1)] = '\0';
}

size_t body_rule_characters(const char *text)
{
	size_t count = 0;

	for (; *text; ++text)
		count += ((unsigned char)*text & 0xc0) != 0x80;
	return count;
}

static bool has_control(const char *text)
{
	for (; *text; ++text) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f ||
		    ((unsigned char)text[0] == 0xc2 && (unsigned char)text[1] < 0xa0))
			return true;
	}
	return false;
}

void body_rule_list(const char *const *values, char *out, size_t size)
{
	size_t used = (size_t)snprintf(out, size, "must be one of");

	for (; *values && used < size; ++values)
		used += (size_t)snprintf(out + used, size - used, " %s%s", *values,
					 values[1] ? "," : "");
}

static bool check_text(const struct body_rule *rule, const char *text, char *detail)
{
	size_t count = body_rule_characters(text);

	if (!(rule->flags & BODY_RULE_ANY) && has_control(text)) {
		snprintf(detail, DETAIL_SIZE, "must not hold control characters");
		return false;
	}
	snprintf(detail, DETAIL_SIZE, "must have %lld to %lld characters", (long long)rule->min,
		 (long long)rule->max);
	return count >= (size_t)rule->min && count <= (size_t)rule->max;
}

static bool check_enum(const struct body_rule *rule, const json_t *value, char *detail)
{
	body_rule_list(rule->values, detail, DETAIL_SIZE);
	for (const char *const *v = rule->values; json_is_string(value) && *v; ++v) {
		if (strcmp(*v, json_string_value(value)) == 0)
			return true;
	}
	return false;
}

// A number written with a fraction of zero is an integer in JSON's own view.
static bool integer_of(const json_t *value, int64_t *ret)
{
	double real;

	if (json_is_integer(value)) {
		*ret = json_integer_value(value);
		return true;
	}
	real = json_number_value(value);
	if (!json_is_real(value) || real < -9e15 || real > 9e15 || (double)(int64_t)real != real)
		return false;
	*ret = (int64_t)real;
	return true;
}

static bool check_scalar(const struct body_rule *rule, const json_t *value, char *detail)
{
	int64_t integer;

	switch (rule->type) {
	case BODY_RULE_TEXT:
		snprintf(detail, DETAIL_SIZE, "must be a string");
		return json_is_string(value) && check_text(rule, json_string_value(value), detail);
	case BODY_RULE_INTEGER:
		snprintf(detail, DETAIL_SIZE, "must be an integer from %lld to %lld",
			 (long long)rule->min, (long long)rule->max);
		return integer_of(value, &integer) && integer >= rule->min && integer <= rule->max;
	case BODY_RULE_BOOLEAN:
		snprintf(detail, DETAIL_SIZE, "must be true or false");
		return json_is_boolean(value);
	default: return check_enum(rule, value, detail);
	}
}

static bool check_array(const struct body_rule *rule, const json_t *array, const char *at,
			json_t *errors)
{
	char detail[DETAIL_SIZE], pointer[POINTER_SIZE], number[24];
	bool fine = true;
	size_t index;
	json_t *item;

	snprintf(detail, sizeof detail, "must be an array of %lld to %lld objects",
		 (long long)rule->min, (long long)rule->max);
	if (!json_is_array(array) || json_array_size(array) < (size_t)rule->min ||
	    json_array_size(array) > (size_t)rule->max) {
		body_rule_fault(errors, at, detail);
		return false;
	}
	json_array_foreach((json_t *)(uintptr_t)array, index, item)
	{
		snprintf(number, sizeof number, "%zu", index);
		make_pointer(pointer, at, number);
		fine &= check_object(rule->rules, item, pointer, errors);
	}
	return fine;
}

static bool check_value(const struct body_rule *rule, const json_t *value, const char *at,
			json_t *errors)
{
	char detail[DETAIL_SIZE];

	if (json_is_null(value) && (rule->flags & BODY_RULE_NULL))
		return true;
	if (rule->type == BODY_RULE_OBJECT)
		return check_object(rule->rules, value, at, errors);
	if (rule->type == BODY_RULE_ARRAY)
		return check_array(rule, value, at, errors);
	if (check_scalar(rule, value, detail))
		return true;
	body_rule_fault(errors, at, detail);
	return false;
}

static const struct body_rule *find_rule(const struct body_rule *rules, const char *name)
{
	for (; rules->name; ++rules) {
		if (strcmp(rules->name, name) == 0)
			return rules;
	}
	return NULL;
}

static bool check_object(const struct body_rule *rules, const json_t *object, const char *at,
			 json_t *errors)
{
	char pointer[POINTER_SIZE];
	bool fine = true;
	const char *name;
	json_t *value;

	if (!json_is_object(object)) {
		body_rule_fault(errors, at, "must be an object");
		return false;
	}
	json_object_foreach((json_t *)(uintptr_t)object, name, value)
	{
		const struct body_rule *rule = find_rule(rules, name);
		make_pointer(pointer, at, name);
		if (!rule)
			body_rule_fault(errors, pointer, "is not a field of this object");
		fine &= rule && check_value(rule, value, pointer, errors);
	}
	for (const struct body_rule *rule = rules; rule->name; ++rule) {
		if ((rule->flags & BODY_RULE_REQUIRED) && !json_object_get(object, rule->name)) {
			make_pointer(pointer, at, rule->name);
			body_rule_fault(errors, pointer, "is missing");
			fine = false;
		}
	}
	return fine;
}

bool body_rule_check(const struct body_rule *rules, const json_t *object, json_t *errors)
{
	return check_object(rules, object, "", errors);
}
