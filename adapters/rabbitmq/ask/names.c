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

struct rabbitmq_name rabbitmq_name_history(const struct topic *topic)
{
	return name_make(topic->physical, ".history");
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

struct rabbitmq_name rabbitmq_name_replay(const struct group *group)
{
	return beside_group(group, ".replay");
}

struct rabbitmq_name rabbitmq_name_start(const struct group *group)
{
	return beside_group(group, ".start");
}

struct rabbitmq_name rabbitmq_name_level(const struct group *group, unsigned level, bool attempts)
{
	char word[32];

	assert(level < RABBITMQ_LEVELS);
	snprintf(word, sizeof word, ".%s-%u", attempts ? "retry" : "delay",
		 rabbitmq_level_seconds[level]);
	return beside_group(group, word);
}

static bool is_word(const char *word)
{
	static const char *const words[] = {".retry", ".kept", ".history", ".replay", ".start"};

	for (size_t i = 0; i < ARRAY_SIZE(words); ++i)
		if (strcmp(word, words[i]) == 0)
			return true;
	return (strncmp(word, ".retry-", 7) == 0 || strncmp(word, ".delay-", 7) == 0) && word[7] &&
	       strspn(word + 7, "0123456789") == strlen(word + 7);
}

// A word that ends in one of ours, behind a physical name of ours or an incarnation.
bool rabbitmq_name_is_beside(const char *name)
{
	const char *word = strrchr(name, '.'), *mark = strrchr(name, '~');
	size_t digits = mark ? strspn(mark + 1, "0123456789") : 0;
	bool ours = strncmp(name, "mqp.", 4) == 0;

	if (mark && digits && (!mark[1 + digits] || mark + 1 + digits == word))
		ours = true;
	if (mark && digits && !mark[1 + digits])
		return ours; // a marker
	return ours && word && is_word(word);
}
