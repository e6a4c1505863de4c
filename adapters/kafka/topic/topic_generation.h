// Tracks reuse of a topic name. Deleted and recreated by us: a new incarnation. Recreated by
// another client: a new generation, an epoch (topic_mark.h).
//
// A topic that another client has deleted is lost. It stays in the adapter's list, where the
// watcher finds it again; until then it cannot be opened.
#pragma once

#include "adapters/kafka/client/kafka_adapter.h"

// Remembers that this incarnation was deleted, or begins: it cannot, or can, be opened.
void topic_generation_end(struct adapter *adapter, const struct topic *topic);
void topic_generation_begin(struct adapter *adapter, const struct topic *topic);

// Under topics_lock: whether it cannot be opened now.
bool topic_generation_is_over(struct adapter *adapter, const struct topic *topic);
// Under topics_lock: `topic` is the next generation of what was lost, if anything was. Returns
// that, to be closed when the lock is released.
struct adapter_topic *topic_generation_follow(struct adapter *adapter, struct adapter_topic *topic);

void topic_generation_lost(struct adapter_topic *topic);    // wakes the fetches that wait for it
void topic_generation_found(struct adapter_topic *topic);   // lost, and there again
void topic_generation_forget_lost(struct adapter *adapter); // those that are lost

// Blocks until it is known: some steps of the watcher after it was opened.
enum code topic_generation_await(struct adapter_topic *topic);
uint64_t topic_generation_of(const struct adapter_topic *topic); // as far as known
// An epoch that was read back: those that are made later are above it, and above all that openings
// have made of it since, also when the clock was set back. @thread any
void topic_generation_epoch_seen(struct adapter *adapter, uint64_t epoch);
// The epoch of a time, or of the millisecond after that of `seen` if that is later; at the end of
// what an epoch can be (WINDOW_EPOCH_MAX) it stays there.
uint64_t topic_generation_epoch_above(uint64_t seen, uint64_t now_ms);
// Above all epochs that are in use, but for those of other proxies in this very millisecond.
uint64_t topic_generation_epoch_fence(struct adapter *adapter);
// Above those, too: of a new generation.
uint64_t topic_generation_epoch_new(struct adapter *adapter);
