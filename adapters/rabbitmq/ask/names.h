// Names of what we make on a cluster beside exchanges and queues that have the physical name of
// their topic or group. Pure.
#pragma once

#include "adapters/rabbitmq/ask/level.h"
#include "core/model/model.h"

#include <stdbool.h>

#define RABBITMQ_NAME_MAX 255 // bytes of a name, as AMQP has it (a short string)

struct rabbitmq_name {
	char text[RABBITMQ_NAME_MAX + 1];
};

struct rabbitmq_name rabbitmq_name_marker(const struct topic *topic); // internal exchange
struct rabbitmq_name rabbitmq_name_kept(const struct topic *topic); // queue of a dead-letter topic
struct rabbitmq_name rabbitmq_name_history(const struct topic *topic); // stream of its messages
struct rabbitmq_name rabbitmq_name_retry(const struct group *group);
struct rabbitmq_name rabbitmq_name_level(const struct group *group, unsigned level, bool attempts);
// Of what a group that was moved back gets again, before what is in its queue.
struct rabbitmq_name rabbitmq_name_replay(const struct group *group);
// Internal exchange: the queue of the group is there, and what it begins with is not complete.
struct rabbitmq_name rabbitmq_name_start(const struct group *group);
// Is it a name that only the ones above are given?
bool rabbitmq_name_is_beside(const char *name);
