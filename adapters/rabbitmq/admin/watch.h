// Looks whether the exchanges of open topics are still there: another client may delete them.
#pragma once

#include "adapters/rabbitmq/ask/incident.h"
#include "adapters/rabbitmq/send/topic.h"

int rabbitmq_watch_start(struct adapter *adapter); // the ask link is there
void rabbitmq_watch_stop(struct adapter *adapter); // before the ask link is
void rabbitmq_watch_free(struct adapter *adapter); // behind it; no topic is open
// Each opening is ended by one of the second, before the topic is closed. @thread any
void rabbitmq_watch_add(struct adapter *adapter, struct adapter_topic *topic);
void rabbitmq_watch_remove(struct adapter *adapter, struct adapter_topic *topic);
// Adds the exchanges that another client has deleted; what finds no memory is left out. @thread any
void rabbitmq_watch_list(struct adapter *adapter, struct rabbitmq_incidents *to);
