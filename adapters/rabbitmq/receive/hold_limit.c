// No answer of a broker tells its consumer_timeout, and each queue may have one of its own. Only
// the text with which a broker closes a channel does (406), on 3.10.8 and 4.0.5 in these words:
//
//	PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used:
//	1800000 ms. This timeout value can be configured, see consumers doc guide to learn more
//
// A text that is not so is no such end. What a broker says has a lower bound, because what is held
// for half of that time is written anew.

#include "adapters/rabbitmq/receive/hold_limit.h"

#include "core/base/util.h"

#include <stdlib.h>
#include <string.h>

#define LEAST_MS 1000ull

// Behind `words`; NULL: they are not there.
static const char *behind(const char *text, const char *words)
{
	const char *at = text ? strstr(text, words) : NULL;

	return at ? at + strlen(words) : NULL;
}

bool rabbitmq_hold_limit_read(const char *text, uint64_t *ret_ms)
{
	const char *why = behind(text, "delivery acknowledgement on channel ");
	const char *value = behind(why, "Timeout value used: ");
	char *end;
	uint64_t ms;

	if (!value || *value < '0' || *value > '9')
		return false;
	ms = strtoull(value, &end, 10);
	if (strncmp(end, " ms", 3) != 0)
		return false;
	*ret_ms = MAX(ms, LEAST_MS);
	return true;
}
