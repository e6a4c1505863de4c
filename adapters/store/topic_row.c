// The row of a topic in the D2 store, of either class: what it takes to open the topic without the
// registry, and its physical name, under which damage is reported.
//
// Invariant: a whole row is only ever replaced by one of the same incarnation and class
// (topic_admin.c checks that before). Not here: what to do about a damaged row (topic_rebuild.c).

#include "adapters/store/topic_row.h"

#include "adapters/store/key.h"
#include "adapters/store/row.h"
#include "adapters/store/store.h"

#include <errno.h>

enum durability topic_row_durability(const struct topic *topic)
{
	return topic->durability == DURABILITY_D1 ? DURABILITY_D1 : DURABILITY_D2;
}

int topic_row_read(struct store *store, uint64_t id, struct store_topic_row *ret)
{
	uint8_t bytes[STORE_KEY];
	MDB_val key = {STORE_ID_KEY, bytes}, value;
	MDB_txn *txn;
	int r = store_read_begin(store->rows, &txn);

	if (r < 0)
		return r;
	store_key(bytes, id, 0, 0);
	r = row_get(txn, store->rows->topics, &key, sizeof *ret, &value);
	if (!r)
		memcpy(ret, value.mv_data, sizeof *ret);
	mdb_txn_abort(txn);
	return r;
}

int topic_row_put(struct store *store, MDB_txn *txn, const struct topic *topic, uint32_t partitions)
{
	const struct store_topic_row row = {.incarnation = topic->incarnation,
					    .retention_ms = topic->retention_ms,
					    .retention_bytes = topic->retention_bytes,
					    .partitions = partitions,
					    .durability = topic_row_durability(topic)};
	const char *name = topic->physical ? topic->physical : "";
	size_t size = sizeof row + strlen(name);
	_cleanup_(freep) uint8_t *whole = malloc(size);
	uint8_t bytes[STORE_KEY];
	MDB_val key = {STORE_ID_KEY, bytes};

	if (!whole)
		return -ENOMEM;
	memcpy(whole, &row, sizeof row);
	memcpy(whole + sizeof row, name, strlen(name));
	store_key(bytes, topic->object.id, 0, 0);
	return row_put(txn, store->topics, &key, whole, size);
}
