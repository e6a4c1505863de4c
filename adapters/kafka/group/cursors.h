// What a source asks of its group: loading its cursors and committing them.
#pragma once

#include "adapters/kafka/topic/topic.h"

void kafka_cursors_load(struct adapter *adapter, struct log_cursors *load);
void kafka_cursors_commit(struct adapter *adapter, struct log_cursors *commit);
