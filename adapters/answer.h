// What an adapter answers to administrative requests: one struct for each slot of adapter.h that
// answers more than a code.
//
// Ownership: an answer, and all that it points to, is the adapter's and lasts until the callback
// returns. Units: sizes are bytes, times are milliseconds since 1970, offsets count the positions
// of a partition. JSON is made of it in proxy/query/answer_json.c, and nowhere else.
#pragma once

#include "core/base/code.h"
#include "core/model/model.h"

// A number that is not known, or a limit that there is not.
#define ANSWER_NONE UINT64_MAX

enum answer_kind {
	ANSWER_PROBE = 1,
	ANSWER_EXISTING,
	ANSWER_DESCRIBE,
	ANSWER_SETTINGS,
	ANSWER_PURGE,
	ANSWER_DAMAGE,
	ANSWER_SKIP,
	ANSWER_RESET,
	ANSWER_BACKLOG,
	ANSWER_MESSAGES,
};

// ---- probe

struct answer_probe {
	bool reachable;
	const char *version;        // of the backend's software
	uint64_t nodes;             // ANSWER_NONE: not known
	enum durability durability; // of a topic that asks for no class
	const char *durability_reason;
	uint32_t capabilities; // bits of capability.h
	uint64_t latency_us;   // of the last answer; ANSWER_NONE: there was none
	const char *error;     // NULL: there is none
};

// ---- topic_settings, existing

// Of the whole topic, not of each partition. ANSWER_NONE: no limit.
struct answer_settings {
	uint64_t message_bytes; // the largest message
	uint64_t retention_ms, retention_bytes;
	bool compacted;      // the last message of a key is kept, and each needs a key
	uint64_t oldest_ms;  // how far the time of creation of a message may lie back
	uint32_t min_insync; // copies that must have a message before it is acknowledged
};

struct existing_topic {
	const char *name;
	uint32_t partitions, replication;
	const struct answer_settings *settings; // NULL: the cluster did not tell them
};

// A client that consumes of a group now.
struct existing_client {
	const char *connection, *user, *consumer; // in the backend's words
	const char *name;                         // that the client has given itself; NULL: none
};

struct existing_group {
	const char *name, *state; // the state in the backend's word
	uint64_t members;         // ANSWER_NONE: not known
	const char *const *topics;
	size_t topic_count;                    // of which it has a position
	const struct existing_client *clients; // NULL: the cluster did not tell them
	size_t client_count;
};

struct answer_existing {
	const struct existing_topic *topics;
	size_t topic_count;
	const struct existing_group *groups;
	size_t group_count;
};

// ---- topic_describe

struct described_partition {
	uint32_t partition;
	uint64_t first, end; // oldest kept, next to be written; ANSWER_NONE: it has no positions
	uint64_t messages;   // that a topic without positions keeps itself; else ANSWER_NONE
	uint64_t bytes;      // ANSWER_NONE: not known
	uint64_t oldest_ms;  // when the oldest message was stored; ANSWER_NONE: none, or not known
};

struct answer_describe {
	const struct described_partition *rows;
	size_t count;
};

// ---- topic_purge, damage, topic_skip

struct answer_purge {
	uint64_t messages;
	uint64_t bytes; // ANSWER_NONE: not known
};

struct damaged_part {
	enum durability store; // the store of which class
	const char *kind;      // a word: messages, partition, topic, group, cursor, retry, table
	uint64_t topic;        // 0: not known
	uint64_t group;        // 0: none
	uint32_t partition;
	uint64_t first, end; // offsets
	int64_t since_ms;    // it was whole then; 0: not known
	int64_t found_ms;
	const char *problem; // a sentence for an operator
};

struct answer_damage {
	const struct damaged_part *rows;
	size_t count;
};

// Offsets that are passed over from then on.
struct skipped_range {
	uint32_t partition;
	uint64_t first, end;
};

struct answer_skip {
	const struct skipped_range *rows;
	size_t count;
	bool row_made; // the topic's own row was damaged, and is made anew
};

// ---- group_reset, group_backlog

struct moved_partition {
	uint32_t partition;
	uint64_t from, to;
	uint64_t skipped;  // messages before `to` that were not acknowledged
	uint64_t replayed; // positions from `to` to `from` that come again
};

struct answer_reset {
	const struct moved_partition *rows; // of the partitions that moved
	size_t count;
};

// What became of positions, beside those that are acked: these are what is left of the positions
// that are done, and were done again after a move back.
struct consumed_counts {
	uint64_t dead;     // its copy is among the dead letters
	uint64_t expired;  // its time to live was over
	uint64_t skipped;  // before the start, passed by a reset, or gone from the log; holes too
	uint64_t replayed; // done, and open again after a move back
};

// What only a log has of a partition. The positions before `end`, and those that a move back opened
// again, are acked, in the backlog, or in the counts of its row.
struct log_partition {
	uint64_t first, end, committed; // oldest kept, next to be written, first not acked
	bool window_full;               // the owner reads no further before some are acked
	bool holes; // some positions of the topic hold no message, and are counted all the same
};

struct source_partition {
	uint64_t ready, in_flight, retrying, delayed; // together: the backlog
	uint64_t acked; // since the group began, and durable with its position
	struct consumed_counts counts;
	uint32_t partition;
	bool outdated; // counted before the last change here, or a while ago; it is being counted
	bool has_log;  // else `log` says nothing: there are no positions (CAP_POSITIONS)
	struct log_partition log;
};

struct answer_backlog {
	const struct source_partition *rows;
	size_t count;
};

// ---- read

#define MESSAGE_QUERY_MAX 100u

// What is asked for: checked by the proxy before it asks.
struct message_query {
	uint32_t partition; // one of the topic's
	bool by_time;
	int64_t time_ms; // by_time: from the first message that was stored then or later
	uint64_t offset; // else: from this one; what is gone is left out
	uint32_t limit;  // 1 to MESSAGE_QUERY_MAX messages
};

struct stored_message {
	uint64_t offset;
	int64_t stored_ms;
	const uint8_t *record; // wire form (core/wire/record.h), checked
};

struct answer_messages {
	uint32_t partition;
	const struct stored_message *rows;
	size_t count;
	uint64_t next; // where to go on; ANSWER_NONE: the end is reached
};

// ---- all of them

struct adapter_answer {
	enum answer_kind kind;
	union {
		struct answer_probe probe;
		struct answer_existing existing;
		struct answer_describe describe;
		struct answer_settings settings;
		struct answer_purge purge;
		struct answer_damage damage;
		struct answer_skip skip;
		struct answer_reset reset;
		struct answer_backlog backlog;
		struct answer_messages messages;
	};
};

// `answer` is NULL unless the code is OK; `text` says to an operator what went wrong, NULL when
// there is nothing to say.
typedef void (*adapter_answer_fn)(void *ctx, enum code code, const struct adapter_answer *answer,
				  const char *text);
