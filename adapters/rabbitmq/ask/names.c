// Names of what is made beside a topic or group: the physical name and a word behind it.
//
// Our own physical names are at most 120 characters and tell one life from another. An imported one
// is any name that AMQP takes, and another client may have a queue "x.retry" beside its queue "x":
// so the names beside an imported one carry the incarnation, too. A name that would be longer than
// AMQP takes is cut, and a hash of all of it takes the place of what is missing.

#include "adapters/rabbitmq/ask/names.h"

#include "core/base/util.h"

#include <stdio.h>

#define HASH_BYTES 17 // "-" and 16 digits

const uint32_t rabbitmq_level_seconds[RABBITMQ_LEVELS] = {60, 240, 960, 3840, 15360, 61440, 245760};

int rabbitmq_level_for(uint64_t remaining_ms)
{
	int level = -1;

	while (level + 1 < (int)RABBITMQ_LEVELS &&
	       rabbitmq_level_seconds[level + 1] * 1000ull <= remaining_ms)
		++level;
	return level;
}

static uint64_t hash_of(const char *text)
{
	uint64_t hash = 14695981039346656037u;

	for (; *text; ++text)
		hash = (hash ^ (uint8_t)*text) * 1099511628211u;
	return hash;
}

// A character of several bytes is not cut in two.
static int cut_at(const char *text, int most)
{
	while (most > 0 && ((uint8_t)text[most] & 0xc0) == 0x80)
		--most;
	return most;
}

static struct rabbitmq_name name_make(const char *physical, const char *word)
{
	struct rabbitmq_name name;
	int most = RABBITMQ_NAME_MAX - (int)strlen(word);

	if ((int)strlen(physical) <= most)
		snprintf(name.text, sizeof name.text, "%s%s", physical, word);
	else
		snprintf(name.text, sizeof name.text, "%.*s-%016llx%s",
			 cut_at(physical, most - HASH_BYTES), physical,
			 (unsigned long long)hash_of(physical), word);
	return name;
}

struct rabbitmq_name rabbitmq_name_marker(const struct topic *topic)
{
	char word[32];

	snprintf(word, sizeof word, "~%llu", (unsigned long long)topic->incarnation);
	return name_make(topic->physical, word);
}

struct rabbitmq_name rabbitmq_name_kept(const struct topic *topic)
{
	return name_make(topic->physical, ".kept");
}

static struct rabbitmq_name beside_group(const struct group *group, const char *word)
{
	char own[64];

	if (!group->imported)
		return name_make(group->physical, word);
	snprintf(own, sizeof own, "~%llu%s", (unsigned long long)group->incarnation, word);
	return name_make(group->physical, own);
}

struct rabbitmq_name rabbitmq_name_retry(const struct group *group)
{
	return beside_group(group, ".retry");
}

struct rabbitmq_name rabbitmq_name_level(const struct group *group, unsigned level, bool attempts)
{
	char word[32];

	assert(level < RABBITMQ_LEVELS);
	snprintf(word, sizeof word, ".%s-%u", attempts ? "retry" : "delay",
		 rabbitmq_level_seconds[level]);
	return beside_group(group, word);
}
