// What belongs to no handle: the version, the words for codes, freeing texts.
//
// Codes of the service are those of core/base/code.h; only the library's own have rows here.

#include "core/base/code.h"
#include "core/base/util.h"
#include "sdk/c/include/mqpaas/mqpaas.h"

#include <stdlib.h>

#define TEXT(x)             #x
#define VERSION_OF(a, b, c) TEXT(a) "." TEXT(b) "." TEXT(c)

static const struct {
	enum mqp_code code;
	const char *name;
	const char *sentence;
	int retriable;
} local_codes[] = {
	{MQP_INVALID_ARGUMENT, "INVALID_ARGUMENT", "a parameter is outside its limits", 0},
	{MQP_NO_MEMORY, "NO_MEMORY", "this process has no memory left", 1},
	{MQP_QUEUE_FULL, "QUEUE_FULL", "the producer's memory limit is reached", 1},
	{MQP_CLOSED, "CLOSED", "the handle is closed", 0},
	{MQP_WOULD_DEADLOCK, "WOULD_DEADLOCK", "a callback would wait for its own thread", 0},
	{MQP_NOT_CONNECTED, "NOT_CONNECTED", "no address could be reached", 1},
	{MQP_TLS, "TLS", "a certificate or the TLS handshake was refused", 0},
	{MQP_SYSTEM, "SYSTEM", "the operating system refused; errno says why", 0},
	{MQP_BAD_CREDENTIALS, "BAD_CREDENTIALS",
	 "no access key was given, or its file cannot be read", 0},
};

// The numbers of the service are one table (core/base/code.h); the public header repeats them.
#define SAME(name, number, retriable, http, sentence)                                              \
	_Static_assert((int)MQP_##name == (int)CODE_##name, #name " differs from "                 \
								  "core/base/code.h");
CODE_TABLE(SAME)
#undef SAME

const char *mqp_version(void)
{
	return VERSION_OF(MQP_VERSION_MAJOR, MQP_VERSION_MINOR, MQP_VERSION_PATCH);
}

const char *mqp_strerror(enum mqp_code code)
{
	for (size_t i = 0; i < ARRAY_SIZE(local_codes); ++i)
		if (local_codes[i].code == code)
			return local_codes[i].sentence;
	return code_sentence((enum code)code);
}

const char *mqp_code_name(enum mqp_code code)
{
	for (size_t i = 0; i < ARRAY_SIZE(local_codes); ++i)
		if (local_codes[i].code == code)
			return local_codes[i].name;
	return code_name((enum code)code);
}

int mqp_code_retriable(enum mqp_code code)
{
	for (size_t i = 0; i < ARRAY_SIZE(local_codes); ++i)
		if (local_codes[i].code == code)
			return local_codes[i].retriable;
	return code_retriable((enum code)code);
}

void mqp_free(char *text)
{
	free(text);
}
