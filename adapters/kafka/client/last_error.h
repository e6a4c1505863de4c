// What librdkafka last said was wrong with a cluster, in words an operator can act on.
#pragma once

#include "core/base/util.h"

#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct kafka_trouble {
	pthread_mutex_t lock;
	uint64_t at_ns, told_ns; // 0: nothing ever was
	bool plain;              // it will not go away by waiting: address, password, certificate
	char text[400];
};

void kafka_trouble_init(struct kafka_trouble *trouble);
void kafka_trouble_deinit(struct kafka_trouble *trouble);
// All three @thread any. true: it is news, or a minute old, and worth a line in the log.
bool kafka_trouble_note(struct kafka_trouble *trouble, rd_kafka_resp_err_t error, const char *text,
			uint64_t now_ns);
// What was said since; false: nothing. *ret_plain may be NULL.
bool kafka_trouble_since(struct kafka_trouble *trouble, uint64_t since_ns, bool *ret_plain,
			 char *room, size_t size);
void kafka_trouble_over(struct kafka_trouble *trouble); // the cluster answers
