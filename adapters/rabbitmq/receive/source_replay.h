// What a group that was moved back gets before what is in its queue: its queue `.replay`, which is
// consumed until it is empty, and then deleted. Everything @thread the link's loop.
#pragma once

#include "adapters/rabbitmq/receive/attachment.h"

void rabbitmq_source_replay_init(struct queue_attachment *attachment); // @thread any
// A channel begins; `replaying`: there is something in it.
void rabbitmq_source_replay_begin(struct queue_attachment *attachment, bool replaying);
void rabbitmq_source_replay_end(struct queue_attachment *attachment); // the channel has ended
// Goes on when it may; called when the channel is opened, and when acknowledgements have passed.
void rabbitmq_source_replay_run(struct queue_attachment *attachment);
// Answers of the broker.
void rabbitmq_source_replay_looked(struct queue_attachment *attachment, uint64_t messages);
void rabbitmq_source_replay_cancelled(struct queue_attachment *attachment);
