// Brings a link up, and up again. Everything @thread the link's loop.
#pragma once

struct rabbitmq_link;

void rabbitmq_redial_init(struct rabbitmq_link *link);
void rabbitmq_redial_begin(struct rabbitmq_link *link); // the first attempt
// The connection has failed: its channels are told, and another attempt follows.
void rabbitmq_redial_lost(struct rabbitmq_link *link);
// No more of it; blocks when an attempt is under way, whose stream has been cut. The connection is
// closed in order when no channel is open on it.
void rabbitmq_redial_end(struct rabbitmq_link *link);
