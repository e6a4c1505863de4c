// The groups that the adapter has seen: which of them are deleted, what went wrong with them, and
// whose offsets may be committed now.
#pragma once

#include "adapters/kafka/client/kafka_adapter.h"
#include "core/loop/loop.h"

int group_table_start(struct adapter *adapter);
void group_table_stop(struct group_table *table); // accepts NULL

// @thread any for all of them
void group_table_seen(struct adapter *adapter, const struct group *group,
		      const struct topic *topic);
void group_table_set_deleted(struct adapter *adapter, const struct group *group,
			     const struct topic *topic, bool deleted);
bool group_table_is_deleted(struct adapter *adapter, const struct group *group);
// What went wrong with a group is logged when it begins, not at each try. CODE_OK with NULL: it
// goes well.
void group_table_report(struct adapter *adapter, const struct group *group, enum code code,
			const char *text);

// A commit of a source. false: the group is being kept just now, and `wait` runs when that is over,
// on the thread that ends the keeping; the commit begins then without asking again.
bool group_table_commit_begin(struct adapter *adapter, const struct group *group,
			      struct loop_task *wait);
void group_table_commit_end(struct adapter *adapter, const struct group *group, bool committed);
// A group that was neither committed nor kept since `before_ns`: until keep_end() commits of
// sources wait. The models are the caller's to release. false: none is due.
bool group_table_keep_begin(struct adapter *adapter, uint64_t before_ns,
			    const struct group **ret_group, const struct topic **ret_topic);
void group_table_keep_end(struct adapter *adapter, const struct group *group, uint64_t now_ns);
