// Reports damage: each find is logged once, kept in the list of its store, and passed on to be
// written into the store's table.
//
// It is called wherever a row is read, also inside a transaction of the committer, so it writes
// nothing itself. When the pages of a table are damaged, the find is not written into them: the
// store is marked instead, and the next start checks its whole file (fault.h, check.h).
//
// Not here: what becomes of damaged rows. The code that finds one answers its caller; an operator
// deals with it (topic_skip.c, a reset, a purge).

#include "adapters/store/damage.h"

#include "adapters/store/fault.h"
#include "adapters/store/key.h"
#include "adapters/store/row.h"
#include "core/base/clock.h"
#include "core/base/log.h"

#include <stdio.h>

static void topic_name(struct store *store, uint64_t topic, char *name, size_t size)
{
	uint8_t bytes[STORE_KEY];
	MDB_val key = {STORE_ID_KEY, bytes}, value;
	MDB_txn *txn;

	snprintf(name, size, "?");
	if (store_read_begin(store->rows, &txn) < 0)
		return;
	store_key(bytes, topic, 0, 0);
	if (row_get(txn, store->rows->topics, &key, sizeof(struct store_topic_row), &value) == 0)
		snprintf(name, size, "%.*s", (int)(value.mv_size - sizeof(struct store_topic_row)),
			 (const char *)value.mv_data + sizeof(struct store_topic_row));
	mdb_txn_abort(txn);
}

static void describe_damage(struct store *store, const struct damage *damage, char *text,
			    size_t size)
{
	char name[256], group[40] = "";

	topic_name(store, damage->topic, name, sizeof name);
	if (damage->group)
		snprintf(group, sizeof group, ", group %llu", (unsigned long long)damage->group);
	snprintf(text, size, "topic %s (%llu), partition %u, offsets %llu to %llu%s: %s", name,
		 (unsigned long long)damage->topic, damage->partition,
		 (unsigned long long)damage->first, (unsigned long long)damage->end, group,
		 damage_list_problem(damage->kind));
}

void damage_report(struct store *store, const struct damage *damage)
{
	struct damage found = *damage;
	char text[512];
	assert(found.kind < DAMAGE_KINDS && found.first <= found.end);
	found.found_ms = clock_wall_ms();
	if (!damage_list_add(store->damages, &found))
		return;
	describe_damage(store, &found, text, sizeof text);
	log_error(NULL, "STORE-DAMAGED", "%s: %s", store->path, text);
	if (found.kind == DAMAGE_TABLE)
		fault_mark(store->path);
	else if (store->damage_found)
		store->damage_found(store, &found);
}
