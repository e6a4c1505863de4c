// Hands what the broker sends to the channel that it belongs to.
#pragma once

#include "adapters/rabbitmq/link/frame.h"

struct rabbitmq_link;

// One frame. What no broker sends makes the connection fail. @thread the link's loop
void rabbitmq_dispatch(struct rabbitmq_link *link, const struct rabbitmq_frame *frame);
