// Reading and writing of a link, bounded in each round of its loop.
#pragma once

struct rabbitmq_link;

void rabbitmq_round_init(struct rabbitmq_link *link);
// At the end of this round of the loop what is queued is written, and what has failed is told.
// @thread the link's loop
void rabbitmq_round_ask(struct rabbitmq_link *link);
// Reads and hands out what is there, up to a bound; more follows in the next round.
void rabbitmq_round_read(struct rabbitmq_link *link);
// The connection is there, or is there no more: its descriptor is watched. -errno
int rabbitmq_round_begin(struct rabbitmq_link *link);
void rabbitmq_round_end(struct rabbitmq_link *link);
