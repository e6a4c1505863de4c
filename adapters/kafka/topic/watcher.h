// Finds what others do to open topics, and where those that are read end.
#pragma once

#include "adapters/kafka/topic/topic.h"

int kafka_watcher_start(struct adapter *adapter);
void kafka_watcher_stop(struct kafka_watcher *watcher); // accepts NULL
