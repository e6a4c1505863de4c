// What librdkafka and brokers answer, in the words of the product.
#pragma once

#include "core/base/code.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>

enum code kafka_error_code(rd_kafka_resp_err_t error);    // of an administrative request or a read
bool kafka_error_is_transient(rd_kafka_resp_err_t error); // worth asking again
// Of a message that was not stored for sure, or perhaps.
enum code kafka_error_send_code(rd_kafka_resp_err_t error);
// A broker refuses a whole batch so because of one record, or of their number.
bool kafka_error_is_of_record(rd_kafka_resp_err_t error);
// The topic is not there, or a broker or a client does not know it yet.
bool kafka_error_is_missing_topic(rd_kafka_resp_err_t error);
