// How much a consumer lets come, and giving back what waits. For the I/O thread.
#pragma once

#include "sdk/c/src/consumer.h"
#include "sdk/c/src/subscription.h"

void consumer_credit_note(struct subscription *subscription);
void consumer_credit_changed(struct subscription *subscription); // a frame is due
void consumer_credit_return(struct subscription *subscription);
void consumer_credit_top_up(struct mqp_consumer *consumer); // push
// What waits is given back once no more can come; at once, if none can.
void consumer_credit_give_back(struct subscription *subscription, enum give_back why);
void consumer_credit_give_back_drained(struct subscription *subscription);
