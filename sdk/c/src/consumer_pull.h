// Pulling. For the I/O thread.
#pragma once

#include "sdk/c/src/consumer.h"

void consumer_pull_step(struct mqp_consumer *consumer);
void consumer_pull_drained(struct mqp_consumer *consumer, struct subscription *subscription);
void consumer_pull_restart(
	struct mqp_consumer *consumer); // the subscription that was asked is gone
void consumer_pull_cut(struct mqp_consumer *consumer);
// Before the hand loses what came over the subscription; under the lock.
void consumer_pull_forget(struct mqp_consumer *consumer, const struct subscription *subscription);
uint64_t consumer_pull_next_ns(const struct mqp_consumer *consumer); // under the lock
