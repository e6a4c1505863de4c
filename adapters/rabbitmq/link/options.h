// What an operator says about a RabbitMQ cluster (docs/adapters/rabbitmq.md, Options).
#pragma once

#include "core/model/model.h"

enum rabbitmq_queue_kind { RABBITMQ_QUORUM, RABBITMQ_CLASSIC };

struct rabbitmq_address {
	char *host;
	uint16_t port;
};

struct rabbitmq_options {
	struct rabbitmq_address *addresses; // of `addresses`: "host:port,host:port"; at least one
	size_t address_count;
	char *vhost, *user, *password; // "/", "guest"; the password is a secret
	bool tls;
	char *ca_pem, *certificate_pem, *key_pem; // NULL: the system's authorities; none is shown
	char *management;                         // base URLs, separated by commas; NULL: none
	char *management_user, *management_password; // NULL: those above
	uint8_t queue;                               // enum rabbitmq_queue_kind of groups' queues
	bool history;         // a stream beside each topic, from which it is read again
	uint32_t replication; // members of a quorum queue; 0: the broker's default
	uint32_t timeout_ms;  // after which a send is given up
	uint32_t heartbeat_s;
	uint32_t consumer_timeout_ms; // a broker closes a channel that leaves a delivery so long
	uint64_t memory_bytes;        // of messages on their way to the cluster
};

// -EINVAL with *ret_error (malloc'ed sentence naming the option), or -ENOMEM. @thread any
int rabbitmq_options_read(const struct cluster *cluster, struct rabbitmq_options *ret,
			  char **ret_error);
// `history` alone, also where the secrets of the cluster are not there. @thread any
bool rabbitmq_options_history(const struct cluster *cluster);
void rabbitmq_options_deinit(struct rabbitmq_options *options);
