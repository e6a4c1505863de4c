// The control data as the data plane sees it: plain, immutable once made, reference-counted.
//
// Made by the registry (from its tables, a snapshot or a delta), shared by every thread without a
// lock, replaced as a whole when something changes. Text members live in the object's own
// allocation.
#pragma once

#include "core/base/code.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_NAME_MAX     64 // Unicode characters
#define MODEL_NAME_BYTES   (4 * MODEL_NAME_MAX)
#define MODEL_PHYSICAL_MAX 120 // ASCII characters, of what we name; imported ones may be longer
#define MODEL_UNLIMITED    UINT64_MAX
#define MODEL_IN_FLIGHT    100000u // of a group, when its tenant is made without a limit

enum model_kind {
	MODEL_TENANT,
	MODEL_ACCESS_KEY,
	MODEL_CLUSTER,
	MODEL_TOPIC,
	MODEL_GROUP,
	MODEL_KIND_COUNT
};

// Life of a topic or group on its backend; only READY ones are served.
enum model_state { MODEL_CREATING, MODEL_READY, MODEL_DELETING, MODEL_FAILED };

// First member of every object below.
struct model_object {
	uint32_t refs; // atomic
	uint8_t kind;  // enum model_kind
	uint64_t id;   // registry id, never used twice
	uint64_t revision;
};

enum quota_over { QUOTA_OVER_WAIT, QUOTA_OVER_REJECT };

struct tenant_limits {
	uint64_t produce_tps, produce_bps; // messages and bytes a second; MODEL_UNLIMITED: none
	uint64_t consume_tps, consume_bps;
	uint32_t connections, topics, groups, in_flight; // UINT32_MAX: none; in flight is per group
	uint32_t message_bytes;                          // largest record
	uint32_t wait_ms;       // longest withholding in mode WAIT before THROTTLED
	uint8_t over;           // enum quota_over
	uint64_t storage_bytes; // of its messages on all clusters; MODEL_UNLIMITED: none
};

struct tenant {
	struct model_object object;
	const char *name;
	bool suspended; // every request answers FORBIDDEN
	struct tenant_limits limits;
	const uint64_t *clusters; // ids of the clusters it may use, the default first
	size_t cluster_count;
};

enum access_right { ACCESS_PRODUCE = 1, ACCESS_CONSUME = 2 };

// What a key may do where. `pattern` is a topic or group name, or a prefix ending in '*'.
struct access_grant {
	const char *pattern;
	uint32_t rights;
};

struct access_key {
	struct model_object object;
	const char *key_id; // the SCRAM user name
	uint64_t tenant;
	bool disabled;
	int64_t expires_ms; // wall clock; 0: never
	uint8_t salt[16];
	uint32_t salt_count; // PBKDF2 iterations
	uint8_t stored_key[32], server_key[32];
	const struct access_grant *grants; // default deny: none means nothing
	size_t grant_count;
	const char *const *allow; // CIDR blocks; none: every address
	size_t allow_count;
	const char *const *deny; // CIDR blocks, stronger than allow
	size_t deny_count;
};

struct cluster {
	struct model_object object;
	const char *name;
	const char *kind;          // row of adapters/kinds.c
	const char *options_json;  // as the kind's own page describes
	const char *secrets_json;  // decrypted for this process only; NULL: none
	uint64_t exclusive_tenant; // 0: shared
};

struct topic {
	struct model_object object;
	const char *name;
	const char *physical;
	uint64_t tenant, cluster;
	uint64_t incarnation;
	uint32_t partitions;
	uint32_t message_bytes; // largest record
	uint64_t retention_ms,
		retention_bytes; // 0: by the other only; both 0: for ever; bytes of the whole topic
	uint8_t durability;      // enum durability asked for
	uint8_t state;           // enum model_state
	bool native;
	uint64_t dead_letter_of; // the group this topic belongs to; 0: an ordinary topic
	bool imported; // it was on the backend before, under its own name, and stays there
	uint32_t replication, min_insync; // copies, and how many of them an acknowledgement waits
					  // for; 0: as its cluster has it
};

#define TOPIC_DURABILITY_BEST 255 // in a new topic: nothing is said, so the best its cluster has

enum group_mode {
	GROUP_SHARED,    // all consumers take part
	GROUP_EXCLUSIVE, // only one may be there
	GROUP_FAILOVER   // the oldest gets all, the next takes over
};
enum group_start { GROUP_START_EARLIEST, GROUP_START_LATEST, GROUP_START_TIME };
#define GROUP_START_ANY 255 // in a new group: nothing is said, so where its cluster can begin

struct group {
	struct model_object object;
	const char *name;
	const char *physical;
	uint64_t tenant, topic;
	uint64_t incarnation;
	uint64_t dead_letter; // id of the dead-letter topic; 0: none
	uint32_t visibility_ms;
	uint32_t max_attempts;   // 0: unlimited (always so without a dead-letter topic)
	uint32_t retry_delay_ms; // first delay of a nack without its own; doubles each attempt
	uint32_t retry_delay_max_ms;
	int64_t start_ms; // with GROUP_START_TIME
	uint8_t start;    // enum group_start
	uint8_t mode;     // enum group_mode
	uint8_t state;    // enum model_state
	bool imported;    // it was on the backend before, under its own name, and stays there
};

// Copies a filled-in draft (its text and lists borrowed) into one allocation that holds everything;
// sets its kind and one reference. NULL: no memory. @thread any
void *model_new(enum model_kind kind, const void *draft);
// Makes *ret_draft, which has the struct of the object's kind, a draft of the same content: text
// and lists are borrowed from the object. References are not copied, because other threads count
// them meanwhile. @thread any
void model_draft(const void *object, void *ret_draft);
void *model_ref(const void *object);   // @thread any
void *model_unref(const void *object); // returns NULL; accepts NULL; @thread any
