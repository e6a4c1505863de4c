// The row of a group in the D2 store, whatever the class of its topic: that the group exists, and
// its incarnation.
//
// Each read or commit of a group begins with this check, so that nothing is read or written for a
// group that was deleted, or made anew under the same id. The row is read in a transaction of its
// own, since it may lie in another store.
//
// Not here: its positions (cursor.c), and making or deleting the row (group_admin.c).

#include "adapters/store/group_row.h"

#include "adapters/store/key.h"
#include "adapters/store/row.h"
#include "adapters/store/store.h"

#include <errno.h>

int group_row_check(struct store *store, const struct group *group)
{
	const struct store_group_row *row;
	uint8_t bytes[STORE_KEY];
	MDB_val key = {STORE_ID_KEY, bytes}, value = {0};
	MDB_txn *txn;
	int r = store_read_begin(store->rows, &txn);

	if (r < 0)
		return r;
	store_key(bytes, group->object.id, 0, 0);
	r = row_get(txn, store->rows->groups, &key, sizeof *row, &value);
	row = value.mv_data;
	if (!r && row->incarnation != group->incarnation)
		r = -ENOENT;
	mdb_txn_abort(txn);
	return r;
}
