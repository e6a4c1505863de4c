// What an operator says about a Kafka cluster (docs/adapters/kafka.md, Options), as librdkafka
// wants it.
#pragma once

#include "core/model/model.h"

#include <librdkafka/rdkafka.h>

struct kafka_options {
	char *bootstrap; // "host:port,host:port"
	char *security;  // librdkafka's security.protocol
	char *mechanism, *user, *password;
	char *ca_pem, *certificate_pem, *key_pem, *key_password;
	uint32_t replication;  // of topics that are made; 0: the broker's default
	uint32_t min_insync;   // 0: the broker's default
	uint32_t in_flight;    // requests of the producer under way to a broker
	uint32_t timeout_ms;   // after which a send is given up
	uint64_t memory_bytes; // of messages on their way to the cluster
	uint32_t retry_positions;
};

// -EINVAL with *ret_error (malloc'ed sentence naming the option), or -ENOMEM.
int kafka_options_read(const struct cluster *cluster, struct kafka_options *ret, char **ret_error);
void kafka_options_deinit(struct kafka_options *options);
// Copies of a topic of ours, and how many of them must have a message: what it says itself, or the
// cluster's options; 0: the brokers' default.
uint32_t kafka_options_replication(const struct kafka_options *options, const struct topic *topic);
uint32_t kafka_options_min_insync(const struct kafka_options *options, const struct topic *topic);
// A configuration that reaches the cluster; the caller adds what its role needs. NULL with
// *ret_error: librdkafka refuses a value.
rd_kafka_conf_t *kafka_options_conf(const struct kafka_options *options, char **ret_error);
