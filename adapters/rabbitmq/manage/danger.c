// Reads policies and arguments of queues for what drops acknowledged messages.
//
// A queue has the policy with the highest priority whose pattern matches its name, and one operator
// policy beside it; the lists are judged one at a time. Patterns are Perl's and come from outside,
// so none is tried: one that takes all names is known, and so is one whose names begin otherwise
// than ours. Any other is taken for one that may match.

#include "adapters/rabbitmq/manage/danger.h"

#include "adapters/rabbitmq/manage/facts.h"
#include "core/base/util.h"

#include <ctype.h>
#include <stdio.h>

#define OWN_PREFIX "mqp." // of every queue that we make

static const struct {
	const char *key, *does;
} rows[] = {
#define DANGER_ROW(name, key, does) {key, does},
	RABBITMQ_DANGER_TABLE(DANGER_ROW)
#undef DANGER_ROW
};

static bool refuses_when_full(const char *overflow)
{
	return overflow && strncmp(overflow, "reject-publish", strlen("reject-publish")) == 0;
}

// Before 4.0 a negative limit is one that every message which comes back has passed.
static bool is_harmless(size_t at, const json_t *value, const char *overflow, unsigned major)
{
	if (at == RABBITMQ_DANGER_AT_LENGTH || at == RABBITMQ_DANGER_AT_BYTES)
		return refuses_when_full(overflow);
	return at == RABBITMQ_DANGER_AT_DELIVERIES && major >= 4 && json_integer_value(value) < 0;
}

static uint32_t dangers_read(const json_t *object, const char *prefix, unsigned major)
{
	uint32_t dangers = 0;
	char key[32];
	const char *overflow;

	snprintf(key, sizeof key, "%soverflow", prefix);
	overflow = json_string_value(json_object_get(object, key));
	for (size_t at = 0; at < ARRAY_SIZE(rows); ++at) {
		const json_t *value;

		snprintf(key, sizeof key, "%s%s", prefix, rows[at].key);
		value = json_object_get(object, key);
		if (json_is_number(value) && !is_harmless(at, value, overflow, major))
			dangers |= 1u << at;
	}
	return dangers;
}

uint32_t rabbitmq_danger_of(const json_t *definition, unsigned major)
{
	return dangers_read(definition, "", major);
}

uint32_t rabbitmq_danger_of_arguments(const json_t *arguments, unsigned major)
{
	return dangers_read(arguments, "x-", major);
}

static size_t first_of(uint32_t dangers)
{
	assert(dangers && dangers < 1u << RABBITMQ_DANGERS);
	return (size_t)__builtin_ctz(dangers);
}

const char *rabbitmq_danger_key(uint32_t dangers)
{
	return rows[first_of(dangers)].key;
}

const char *rabbitmq_danger_does(uint32_t dangers)
{
	return rows[first_of(dangers)].does;
}

// A queue of ours may have such an argument because we want it (a level of a retry store).
bool rabbitmq_danger_of_imported(const struct rabbitmq_queue_row *row, char *room, size_t size)
{
	if (row->arguments)
		snprintf(room, size, "imported queue %.80s was declared with x-%s, which %s",
			 row->name, rabbitmq_danger_key(row->arguments),
			 rabbitmq_danger_does(row->arguments));
	else if (row->dangers)
		snprintf(room, size, "imported queue %.80s has the policy \"%s\", and its %s %s",
			 row->name, row->policy, rabbitmq_danger_key(row->dangers),
			 rabbitmq_danger_does(row->dangers));
	else if (row->limited)
		snprintf(room, size,
			 "imported queue %.80s has the limit of deliveries that the broker gives "
			 "to quorum queues without one; a policy with delivery-limit -1 ends it",
			 row->name);
	return row->arguments || row->dangers || row->limited;
}

// ---- policies

enum match { MATCH_NOT, MATCH_MAYBE, MATCH_SURE };

// The text that every name has to begin with; "" when there is none, or it cannot be told.
static void prefix_read(const char *pattern, char *prefix, size_t size)
{
	size_t count = 0;

	if (*pattern == '^' && !strchr(pattern, '|')) {
		for (const char *at = pattern + 1; *at && count + 1 < size; ++at) {
			bool escaped = *at == '\\' && at[1] && ispunct((unsigned char)at[1]);

			at += escaped;
			if ((!escaped && strchr(".[]()*+?{}^$\\", *at)) ||
			    (at[1] && strchr("?*{", at[1])))
				break;
			prefix[count++] = *at;
		}
	}
	prefix[count] = '\0';
}

static enum match pattern_match(const char *pattern)
{
	static const char *const all[] = {"", "^", ".", ".*", "^.*", ".*$", "^.*$"};
	char prefix[sizeof OWN_PREFIX];

	if (!pattern)
		return MATCH_MAYBE;
	for (size_t i = 0; i < ARRAY_SIZE(all); ++i)
		if (strcmp(pattern, all[i]) == 0)
			return MATCH_SURE;
	prefix_read(pattern, prefix, sizeof prefix);
	return strncmp(prefix, OWN_PREFIX, strlen(prefix)) == 0 ? MATCH_MAYBE : MATCH_NOT;
}

static bool is_of_queues(const char *apply_to, bool quorum)
{
	if (!apply_to)
		return true;
	return strcmp(apply_to, "exchanges") != 0 && strcmp(apply_to, "streams") != 0 &&
	       !(quorum && strcmp(apply_to, "classic_queues") == 0);
}

static enum match policy_match(const json_t *policy, bool quorum)
{
	if (!is_of_queues(json_string_value(json_object_get(policy, "apply-to")), quorum))
		return MATCH_NOT;
	return pattern_match(json_string_value(json_object_get(policy, "pattern")));
}

static json_int_t priority_of(const json_t *policy)
{
	return json_integer_value(json_object_get(policy, "priority"));
}

bool rabbitmq_danger_in_policies(const json_t *policies, bool quorum, unsigned major,
				 char ret_name[64], uint32_t *ret_dangers)
{
	json_int_t sure = INT64_MIN; // the highest priority of those that certainly match
	const json_t *policy;
	size_t i;

	json_array_foreach(policies, i, policy)
	{
		if (policy_match(policy, quorum) == MATCH_SURE)
			sure = MAX(sure, priority_of(policy));
	}
	json_array_foreach(policies, i, policy)
	{
		uint32_t dangers = rabbitmq_danger_of(json_object_get(policy, "definition"), major);
		const char *name = json_string_value(json_object_get(policy, "name"));

		if (!dangers || priority_of(policy) < sure ||
		    policy_match(policy, quorum) == MATCH_NOT)
			continue;
		snprintf(ret_name, 64, "%s", name ? name : "");
		*ret_dangers = dangers;
		return true;
	}
	return false;
}
