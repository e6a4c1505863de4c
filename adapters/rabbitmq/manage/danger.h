// Settings of queues by which a broker drops what it has acknowledged, and the policies that make
// them. Pure.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

//     name, key of a policy, what it does
#define RABBITMQ_DANGER_TABLE(ROW)                                                                 \
	ROW(TTL, "message-ttl", "drops messages that wait longer")                                 \
	ROW(EXPIRES, "expires", "deletes a queue that has no consumer for so long")                \
	ROW(LENGTH, "max-length", "drops the oldest message of a queue that is full")              \
	ROW(BYTES, "max-length-bytes", "drops the oldest message of a queue that is full")         \
	ROW(DELIVERIES, "delivery-limit", "drops a message that was handed out more often")

#define RABBITMQ_DANGER_ENUM(name, key, does) RABBITMQ_DANGER_AT_##name,
enum rabbitmq_danger_at { RABBITMQ_DANGER_TABLE(RABBITMQ_DANGER_ENUM) RABBITMQ_DANGERS };
#undef RABBITMQ_DANGER_ENUM

struct rabbitmq_queue_row;

// Bits of rabbitmq_danger_at that the definition of a policy has. `major`: version of the broker.
uint32_t rabbitmq_danger_of(const json_t *definition, unsigned major);
// Of the arguments of a queue, which carry the same keys behind "x-".
uint32_t rabbitmq_danger_of_arguments(const json_t *arguments, unsigned major);
const char *rabbitmq_danger_key(uint32_t dangers);  // of the first of them
const char *rabbitmq_danger_does(uint32_t dangers); // of the first of them

// What drops messages of a queue that was imported, by its own arguments or a policy, in words.
// False: nothing.
bool rabbitmq_danger_of_imported(const struct rabbitmq_queue_row *row, char *room, size_t size);

// The policies (as the management API lists them) that a queue of ours gets: true when it drops,
// with the policy's name and its dangers. A pattern that may match counts.
bool rabbitmq_danger_in_policies(const json_t *policies, bool quorum, unsigned major,
				 char ret_name[64], uint32_t *ret_dangers);
