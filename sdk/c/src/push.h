// Callback threads.
#pragma once

#include "sdk/c/src/consumer.h"

int push_start(struct mqp_consumer *consumer);            // callback threads; -errno
void push_stop(struct mqp_consumer *consumer);            // waits for running callbacks
void push_run_some(struct mqp_consumer *consumer);        // in the application's loop
bool push_is_inside(const struct mqp_consumer *consumer); // this is one of its callback threads
