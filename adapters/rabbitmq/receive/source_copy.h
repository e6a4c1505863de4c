// Copies of messages that are held, written to the group's retry store. @thread the home loop
#pragma once

#include "adapters/rabbitmq/receive/attachment.h"

// As queue_ops.write.
bool rabbitmq_source_copy_write(struct queue_attachment *attachment, const struct queue_copy *copy);
