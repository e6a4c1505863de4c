// Finds what others do to open topics, and where those that are read end.
#pragma once

#include "adapters/kafka/topic/topic.h"

int kafka_watcher_start(struct adapter *adapter);
void kafka_watcher_stop(struct kafka_watcher *watcher); // accepts NULL
void kafka_watcher_poke(struct adapter *adapter);       // look now. @thread any
// A record was refused by the topic's settings as they are known, or in spite of them. @thread any
void kafka_topic_rules_doubt(struct adapter_topic *topic);
