// What librdkafka last said was wrong with a cluster, in words an operator can act on.
#pragma once

#include "core/base/util.h"

#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct last_error {
	pthread_mutex_t lock;
	uint64_t at_ns, told_ns; // 0: nothing ever was
	bool plain;              // it will not go away by waiting: address, password, certificate
	char text[400];
};

void last_error_init(struct last_error *last_error);
void last_error_deinit(struct last_error *last_error);
// All three @thread any. true: it is news, or a minute old, and worth a line in the log.
bool last_error_note(struct last_error *last_error, rd_kafka_resp_err_t error, const char *text,
		     uint64_t now_ns);
// What was said since; false: nothing. *ret_plain may be NULL.
bool last_error_since(struct last_error *last_error, uint64_t since_ns, bool *ret_plain, char *room,
		      size_t size);
void last_error_clear(struct last_error *last_error); // the cluster answers
