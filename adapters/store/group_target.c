// Where a group is to stand, as it is asked for (adapters/target.h), as an offset of one
// partition. It is looked up in the transaction that moves the group, so that what is appended
// meanwhile is on one side of it.
//
// Invariant: the offset lies from the first to the end of the partition, as that transaction sees
// them.

#include "adapters/store/group_target.h"

#include "adapters/store/range.h"

int store_group_target_resolve(const struct group_target *target, struct store *store, MDB_txn *txn,
			       const struct store_partition *partition, uint64_t *ret)
{
	const struct store_partition_row *row =
		partition->touched ? &partition->next : &partition->now;
	int r = 1;

	switch (target->place) {
	case PLACE_EARLIEST: *ret = row->first; break;
	case PLACE_LATEST: *ret = row->end; break;
	case PLACE_TIME:
		r = store_range_find_time(store, txn, partition->topic->id, partition->number,
					  row->first, row->end, target->time_ms, ret);
		r = r < 0 ? r : 1;
		break;
	case PLACE_POSITIONS:
		r = 0;
		for (size_t i = 0; i < target->position_count; ++i) {
			if (target->positions[i].partition != partition->number)
				continue;
			*ret = target->positions[i].offset;
			r = 1;
		}
	}
	if (r == 1)
		*ret = MIN(MAX(*ret, row->first), row->end);
	return r;
}
