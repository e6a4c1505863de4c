// The head of an HTTP request from a stranger, and the route it leads to: whatever is taken is
// clean text inside the buffer, and every other byte is refused with a reason.

#include "core/base/util.h"
#include "portal-api/route.h"
#include "tests/fuzz/fuzz.h"

static const struct route table[] = {
	{.method = "GET", .path = "/livez"},
	{.method = "GET", .path = "/api/v1/tenants"},
	{.method = "PUT", .path = "/api/v1/tenants/{tenant}"},
	{.method = "POST", .path = "/api/v1/tenants/{tenant}/clients/kick"},
	{.method = "DELETE", .path = "/api/v1/tenants/{tenant}/clients/{session}"},
};

static void check_text(const char *text, const char *data, size_t size)
{
	assert(text >= data && text + strlen(text) < data + size);
	for (; *text; ++text)
		assert((unsigned char)*text >= 0x20 && *text != 0x7f);
}

static void check_head(const struct head *head, const char *data, size_t size)
{
	assert(head->asterisk || head->segment_count <= HEAD_MAX_SEGMENTS);
	for (size_t i = 0; i < head->segment_count; ++i) {
		check_text(head->segments[i], data, size);
		assert(strcmp(head->segments[i], "..") != 0);
	}
	for (size_t i = 0; i < head->query_count; ++i) {
		check_text(head->query[i].name, data, size);
		check_text(head->query[i].value, data, size);
	}
	assert(head_field(head, "host") && !head_field(head, "transfer-encoding"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct route_match match;
	struct head head;
	const char *why = NULL;
	size_t end;
	char *copy;

	if (size > HEAD_MAX_BYTES)
		return 0;
	copy = malloc(size + 1);
	assert(copy);
	memcpy(copy, data, size);
	end = head_end(copy, size);
	if (end && head_parse(copy, end, &head, &why) == 0) {
		check_head(&head, copy, end);
		if (!head.asterisk)
			route_find(table, ARRAY_SIZE(table), &head, &match);
	} else {
		assert(!end || why);
	}
	free(copy);
	return 0;
}
