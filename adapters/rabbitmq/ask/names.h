// Names of what we make on a cluster beside exchanges and queues that have the physical name of
// their topic or group. Pure.
#pragma once

#include "core/model/model.h"

#include <stdbool.h>

#define RABBITMQ_NAME_MAX 255 // bytes of a name, as AMQP has it (a short string)
#define RABBITMQ_LEVELS   7u

struct rabbitmq_name {
	char text[RABBITMQ_NAME_MAX + 1];
};

extern const uint32_t rabbitmq_level_seconds[RABBITMQ_LEVELS]; // rising; 60 first
// The largest level that is not longer than what remains; -1: there is none.
int rabbitmq_level_for(uint64_t remaining_ms);

struct rabbitmq_name rabbitmq_name_marker(const struct topic *topic); // internal exchange
struct rabbitmq_name rabbitmq_name_kept(const struct topic *topic); // queue of a dead-letter topic
struct rabbitmq_name rabbitmq_name_retry(const struct group *group);
struct rabbitmq_name rabbitmq_name_level(const struct group *group, unsigned level, bool attempts);
