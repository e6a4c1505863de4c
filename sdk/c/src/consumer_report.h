// What a consumer tells the proxy. For the I/O thread.
#pragma once

#include "sdk/c/src/consumer.h"

void consumer_report_send(struct mqp_consumer *consumer); // all that is due over all subscriptions
void consumer_report_tick(struct mqp_consumer *consumer); // life, extensions
uint64_t consumer_report_next_ns(struct mqp_consumer *consumer);
int consumer_report_settled(struct subscription *subscription, const uint8_t *payload, size_t size);
void consumer_report_written(struct stream *stream);
