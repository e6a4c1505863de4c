// A lane: one channel of the send link in confirm mode, and what waits to be published on it, in
// order.
#pragma once

#include "adapters/rabbitmq/send/batch.h"
#include "adapters/rabbitmq/send/sender.h"
#include "adapters/rabbitmq/send/sender_state.h"

// All @thread send link, but for init and deinit: before and behind its time.
void rabbitmq_lane_init(struct rabbitmq_lane *lane, struct rabbitmq_sender *sender);
void rabbitmq_lane_deinit(struct rabbitmq_lane *lane); // it has ended, and the link is stopped

void rabbitmq_lane_open(struct rabbitmq_lane *lane);
// Takes what is added to its lists as far as there is room.
void rabbitmq_lane_pump(struct rabbitmq_lane *lane);
// Ends what has waited for too long, opens the channel again, and goes on.
void rabbitmq_lane_tick(struct rabbitmq_lane *lane, uint64_t now_ns);
// Answers everything and opens no channel again.
void rabbitmq_lane_end(struct rabbitmq_lane *lane);
