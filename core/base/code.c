// Look-ups in the table of result codes (code.h): name, sentence, HTTP status, whether a retry
// makes sense.
//
// A number outside the table, which a peer may send, has answers too: INVALID, not retriable, 500.

#include "core/base/code.h"

#include "core/base/util.h"

#include <errno.h>

#define CODE_ROW(name, number, retriable, http, sentence)                                          \
	[number] = {#name, sentence, http, retriable},
static const struct {
	const char *name;
	const char *sentence;
	uint16_t http;
	bool retriable;
} codes[] = {CODE_TABLE(CODE_ROW)};
#undef CODE_ROW

static bool code_known(enum code code)
{
	return (unsigned)code < ARRAY_SIZE(codes);
}

const char *code_name(enum code code)
{
	return code_known(code) ? codes[code].name : "INVALID";
}

const char *code_sentence(enum code code)
{
	return code_known(code) ? codes[code].sentence : "a code outside the table";
}

bool code_retriable(enum code code)
{
	return code_known(code) && codes[code].retriable;
}

unsigned code_http(enum code code)
{
	return code_known(code) ? codes[code].http : 500;
}

int code_parse(const char *name, enum code *ret)
{
	for (unsigned i = 0; i < ARRAY_SIZE(codes); ++i) {
		if (strcmp(name, codes[i].name) == 0) {
			*ret = (enum code)i;
			return 0;
		}
	}
	return -EINVAL;
}
