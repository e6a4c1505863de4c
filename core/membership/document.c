// Reads the membership document: a hash with `run`, `gen`, `version`, `beat`, one field `m:<id>` a
// proxy, and `m:?` for the ghost. What is not of this form makes the whole document unreadable:
// half a membership is none.

#include "core/membership/document.h"

#include "core/base/util.h"

#include <errno.h>

static bool number_read(const char **at, uint64_t *ret)
{
	char *end;

	if (**at < '0' || **at > '9')
		return false;
	errno = 0;
	*ret = strtoull(*at, &end, 10);
	*at = end;
	return errno == 0;
}

static bool space_read(const char **at)
{
	return *(*at)++ == ' ';
}

static bool life_read(const char **at, char ret[MEMBERSHIP_LIFE_SIZE])
{
	size_t size = strcspn(*at, " ");

	if (size == 0 || size >= MEMBERSHIP_LIFE_SIZE)
		return false;
	memcpy(ret, *at, size);
	ret[size] = '\0';
	*at += size;
	return true;
}

// "life beat agreed joined"
static bool entry_read(const char *value, struct document_entry *ret)
{
	return life_read(&value, ret->life) && space_read(&value) &&
	       number_read(&value, &ret->beat) && space_read(&value) &&
	       number_read(&value, &ret->agreed) && space_read(&value) &&
	       number_read(&value, &ret->joined) && *value == '\0';
}

static bool membership_read(const char *id, const char *value, struct document *ret)
{
	struct document_entry *entry = &ret->entries[ret->count];

	if (ret->count == PEERS_MAX || strlen(id) > MEMBERSHIP_ID_MAX || !*id ||
	    !entry_read(value, entry))
		return false;
	memcpy(entry->id, id, strlen(id) + 1);
	++ret->count;
	return true;
}

static bool ghost_read(const char *value, struct document *ret)
{
	struct document_entry ghost;

	ret->ghost = true;
	if (!entry_read(value, &ghost))
		return false;
	ret->ghost_beat = ghost.beat;
	return true;
}

static bool field_read(const char *name, const char *value, struct document *ret)
{
	if (strcmp(name, "m:?") == 0)
		return ghost_read(value, ret);
	if (strncmp(name, "m:", 2) == 0)
		return membership_read(name + 2, value, ret);
	if (strcmp(name, "gen") == 0)
		return life_read(&value, ret->gen) && *value == '\0';
	if (strcmp(name, "version") == 0)
		return number_read(&value, &ret->version) && *value == '\0';
	return true; // `run` and `beat` are the script's
}

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct document_entry *)a)->id,
		      ((const struct document_entry *)b)->id);
}

bool document_read(const char *const *pairs, size_t count, struct document *ret)
{
	memset(ret, 0, sizeof *ret);
	if (count % 2)
		return false;
	for (size_t i = 0; i < count; i += 2)
		if (!field_read(pairs[i], pairs[i + 1], ret))
			return false;
	qsort(ret->entries, ret->count, sizeof ret->entries[0], compare);
	return *ret->gen && ret->version > 0;
}

const struct document_entry *document_find(const struct document *document, const char *id)
{
	for (size_t i = 0; i < document->count; ++i)
		if (strcmp(document->entries[i].id, id) == 0)
			return &document->entries[i];
	return NULL;
}
