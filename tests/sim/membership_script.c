// The scripts of the membership document, as core/membership/renew.lua and leave.lua have them.

#include "tests/sim/membership_script.h"

#include "core/base/util.h"

static struct document_entry *entry_find(struct membership_script *script, const char *id)
{
	for (size_t i = 0; i < script->count; ++i)
		if (strcmp(script->entries[i].id, id) == 0)
			return &script->entries[i];
	return NULL;
}

static void entry_remove(struct membership_script *script, struct document_entry *entry)
{
	*entry = script->entries[--script->count];
}

static void found_anew(struct membership_script *script, const char *random)
{
	script->there = true;
	script->written_for = script->run;
	script->ghost = true;
	script->ghost_beat = 0;
	script->count = 0;
	memcpy(script->gen, random, sizeof script->gen);
}

// True: the membership has changed.
static bool removals_do(struct membership_script *script, const struct membership_request *request)
{
	bool changed = false;

	for (size_t i = 0; i < request->removals; ++i) {
		struct document_entry *entry = entry_find(script, request->remove[i].id);

		if (strcmp(script->gen, request->sight_gen) != 0)
			continue;
		if (strcmp(request->remove[i].id, "?") == 0) {
			if (script->ghost && script->ghost_beat == request->remove[i].beat)
				script->ghost = false;
		} else if (entry && entry->beat == request->remove[i].beat) {
			entry_remove(script, entry);
			changed = true;
		}
	}
	return changed;
}

static void entry_renew(struct membership_script *script, const struct membership_request *request)
{
	struct document_entry *mine = entry_find(script, request->id);

	if (!mine) {
		assert(script->count < PEERS_MAX);
		mine = &script->entries[script->count++];
		*mine = (struct document_entry){.beat = script->beat, .joined = script->version};
		memcpy(mine->id, request->id, sizeof mine->id);
		memcpy(mine->life, request->life, sizeof mine->life);
	} else if (strcmp(mine->life, request->life) == 0) {
		mine->beat = script->beat;
		mine->agreed = MAX(mine->agreed, request->agreed);
	}
}

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct document_entry *)a)->id,
		      ((const struct document_entry *)b)->id);
}

static void answer(const struct membership_script *script, struct document *ret)
{
	memset(ret, 0, sizeof *ret);
	memcpy(ret->gen, script->gen, sizeof ret->gen);
	ret->version = script->version;
	ret->ghost = script->ghost;
	ret->ghost_beat = script->ghost_beat;
	ret->count = script->count;
	memcpy(ret->entries, script->entries, sizeof ret->entries);
	qsort(ret->entries, ret->count, sizeof ret->entries[0], compare);
}

void membership_script_renew(struct membership_script *script,
			     const struct membership_request *request, struct document *ret)
{
	bool changed, same_gen;
	uint64_t seen = request->seen;

	if (!script->there)
		script->version = script->beat = 0;
	if (!script->there || script->written_for != script->run ||
	    (strcmp(script->gen, request->gen) == 0 && script->version < seen))
		found_anew(script, request->random);
	same_gen = strcmp(script->gen, request->gen) == 0;
	changed = removals_do(script, request);
	if (!entry_find(script, request->id) || (!same_gen && script->version <= seen))
		changed = true;
	if (changed)
		script->version = MAX(script->version, seen) + 1;
	++script->beat;
	entry_renew(script, request);
	answer(script, ret);
}

void membership_script_leave(struct membership_script *script, const char *id, const char *life)
{
	struct document_entry *entry = script->there ? entry_find(script, id) : NULL;

	if (!entry || strcmp(entry->life, life) != 0)
		return;
	entry_remove(script, entry);
	++script->version;
}
