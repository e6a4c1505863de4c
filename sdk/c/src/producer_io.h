// The I/O side of a producer.
#pragma once

struct mqp_producer;

void producer_io_init(struct mqp_producer *producer);
