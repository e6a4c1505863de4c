// Resolves a seek target (adapters/seek_target.h) to an offset of one partition, in the transaction
// that moves the group: a message that is appended meanwhile is either before the move or after it.
//
// Invariant: the offset lies from the first to the end of the partition, as that transaction sees
// them.

#include "adapters/store/seek_resolve.h"

#include "adapters/store/range.h"

int store_seek_resolve(const struct seek_target *target, struct store *store, MDB_txn *txn,
		       const struct store_partition *partition, uint64_t *ret)
{
	const struct store_partition_row *row =
		partition->touched ? &partition->next : &partition->now;
	int r = 1;

	switch (target->place) {
	case SEEK_EARLIEST: *ret = row->first; break;
	case SEEK_LATEST: *ret = row->end; break;
	case SEEK_TIME:
		r = store_range_find_time(store, txn, partition->topic->id, partition->number,
					  row->first, row->end, target->time_ms, ret);
		r = r < 0 ? r : 1;
		break;
	case SEEK_POSITIONS:
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
