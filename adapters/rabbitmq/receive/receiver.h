// What the queue source asks of RabbitMQ: struct queue_ops over the receive link.
#pragma once

#include "adapters/queue/queue.h"
#include "adapters/rabbitmq/link/rabbitmq_adapter.h"

extern const struct queue_ops rabbitmq_receiver_ops;

int rabbitmq_receiver_start(struct adapter *adapter); // the links are there
void rabbitmq_receiver_stop(struct adapter *adapter); // every source is closed
