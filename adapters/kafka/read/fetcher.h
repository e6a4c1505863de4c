// Reading partitions: one thread a cluster serves all readers from rings in memory.
#pragma once

#include "adapters/kafka/topic/topic.h"

int fetcher_start(struct adapter *adapter, char **ret_error);
void fetcher_stop(struct fetcher *fetcher); // accepts NULL; ends every fetch; blocks
void fetcher_free(struct fetcher *fetcher); // accepts NULL; no topic is open any more
// The consumer of the first slot of all partitions, by which the retry stores read their topics,
// too; until the fetcher is freed. NULL: it cannot be made now. Blocks for some steps. @thread
// kafka-fetch, kafka-retry
struct client *fetcher_catchup_client(struct fetcher *fetcher);
bool fetcher_fetch(struct adapter *adapter, struct log_fetch *fetch);
void fetcher_forget(struct kafka_partition *partition); // before it is freed
void fetcher_follow(struct adapter_topic *topic);       // it has a watch, or has grown
