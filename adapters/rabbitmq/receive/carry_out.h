// Carries out on the receive link what the home loop has ordered (orders.h).
#pragma once

#include "adapters/rabbitmq/receive/attachment.h"

void rabbitmq_carry_out_init(struct queue_attachment *attachment); // before the first order
