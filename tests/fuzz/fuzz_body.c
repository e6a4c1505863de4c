// A JSON body from a stranger: what the scanner lets pass costs the parser no more than the limits
// say, and every fault has a reason.

#include "core/base/util.h"
#include "portal-api/body.h"
#include "portal-api/body_rule.h"
#include "tests/fuzz/fuzz.h"

static const struct body_limits limits = {.tokens = 64, .depth = 8};

static const char *const values[] = {"wait", "reject", NULL};
static const struct body_rule inner[] = {
	{.name = "n", .type = BODY_RULE_INTEGER, .flags = BODY_RULE_REQUIRED, .min = 0, .max = 9},
	{0}};
static const struct body_rule rules[] = {
	{.name = "name", .type = BODY_RULE_TEXT, .flags = BODY_RULE_REQUIRED, .min = 1, .max = 4},
	{.name = "over", .type = BODY_RULE_ENUM, .flags = BODY_RULE_NULL, .values = values},
	{.name = "on", .type = BODY_RULE_BOOLEAN},
	{.name = "list", .type = BODY_RULE_ARRAY, .min = 0, .max = 3, .rules = inner},
	{.name = "inner", .type = BODY_RULE_OBJECT, .rules = inner},
	{0}};

// Values and names of a tree, and how deep it is.
static size_t count_tokens(json_t *node, unsigned depth)
{
	size_t count = 1, index;
	const char *name;
	json_t *child;

	assert(depth <= limits.depth + 1);
	if (json_is_object(node))
		json_object_foreach(node, name, child) count += 1 + count_tokens(child, depth + 1);
	else
		json_array_foreach(node, index, child) count += count_tokens(child, depth + 1);
	return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char why[BODY_WHY_SIZE] = "";
	json_t *body = NULL, *errors;

	if (body_parse((const char *)data, size, &limits, &body, why) != 0) {
		assert(!body && *why);
		return 0;
	}
	assert(count_tokens(body, 1) <= limits.tokens);
	errors = json_array();
	assert(body_rule_check(rules, body, errors) == (json_array_size(errors) == 0));
	json_decref(errors);
	json_decref(body);
	return 0;
}
