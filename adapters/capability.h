// What a cluster can do, one row each: the bit, its key outside (REST, the compatibility page) and
// the text for a request that needs more.
//
// A cluster's capabilities are known once its adapter has reached it. A request that needs one
// which is missing is answered UNSUPPORTED_BY_BACKEND when it is made, with the row's sentence.
#pragma once

#include "core/base/code.h"

#include <stddef.h>
#include <stdint.h>

struct topic;

//     name, bit, key, sentence of a refusal
#define CAPABILITY_TABLE(ROW)                                                                      \
	ROW(HISTORY, 0, "history", "the cluster keeps no message that could be read again")        \
	ROW(QUERY_TIME, 1, "query_time", "the cluster cannot find messages by time")               \
	ROW(OFFSETS, 2, "offsets", "the cluster does not say where it stored a message")           \
	ROW(EXACT_BACKLOG, 3, "exact_backlog", "the cluster cannot count a backlog exactly")       \
	ROW(DELAY, 4, "delay", "the cluster cannot hold a message back until it is due")           \
	ROW(KEEPS_WITHOUT_GROUP, 5, "keeps_without_group",                                         \
	    "the cluster drops messages of a topic that has no group")                             \
	ROW(ATTEMPTS_SURVIVE, 6, "attempts_survive",                                               \
	    "the cluster forgets the attempts of a message when the owner of its group is lost")   \
	ROW(CONSUME, 7, "consume", "nothing can be consumed from the cluster")                     \
	ROW(D1, 8, "d1", "the cluster keeps no message beyond the death of its process")           \
	ROW(D2, 9, "d2", "the cluster keeps no message beyond a power cut")                        \
	ROW(D3, 10, "d3", "the cluster keeps no message beyond the loss of a machine")             \
	ROW(COPIES, 11, "copies", "a topic cannot choose how many copies the cluster keeps")       \
	ROW(POSITIONS, 12, "positions",                                                            \
	    "the cluster keeps no positions: what a group has not consumed waits in a queue")      \
	ROW(SETTLES_SURVIVE, 13, "settles_survive",                                                \
	    "what was acknowledged just before the death of the cluster may come again")

#define CAPABILITY_ENUM(name, bit, key, sentence) CAP_##name = 1 << (bit),
enum capability { CAPABILITY_TABLE(CAPABILITY_ENUM) };
#undef CAPABILITY_ENUM

struct capability_row {
	uint32_t bit; // enum capability
	const char *key;
	const char *sentence;
};

// NULL past the end. @thread any
const struct capability_row *capability_at(size_t index);

// The first of the `needed` ones that is missing; NULL: there is none. @thread any
const struct capability_row *capability_missing(uint32_t capabilities, uint32_t needed);

// UNSUPPORTED_BY_BACKEND with the sentence of the first that is missing (static), or OK.
// @thread any
enum code capability_check(uint32_t capabilities, uint32_t needed, const char **ret_text);

// The best class of durability among them.
enum durability capability_durability(uint32_t capabilities);

// The best class that a topic can have there. Its own numbers of copies, if it has both, say it;
// one alone can only lower what the cluster has.
enum durability capability_topic_durability(uint32_t capabilities, const struct topic *topic);
