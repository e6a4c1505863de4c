// One stored resource: the struct the data plane knows, and what only the registry keeps with it.
//
// Columns, like the JSON form, come from the field tables: "limits.over" is column limits_over.
#pragma once

#include "core/base/arena.h"
#include "core/model/json.h"
#include "core/registry/db.h"
#include "core/registry/registry.h"

struct user {
	struct model_object object;
	const char *name;
	const char *password; // Argon2id, encoded
	uint64_t tenant;      // 0: the platform
	uint8_t role;
	bool disabled;
};

struct token {
	struct model_object object;
	const char *name;
	uint64_t tenant;
	int64_t expires_ms;
	uint8_t hash[32]; // SHA-256 of the token
	uint8_t role;
	const char *maker; // "user:ann", "token:ci"; NULL: the system
	uint64_t maker_id; // of that user or token; 0: none
};

// A proxy that was invited, or has joined.
struct proxy_row {
	struct model_object object;
	const char *name;
	uint8_t hash[32];   // SHA-256 of the token of its invitation
	int64_t expires_ms; // of the invitation
	int64_t joined_ms;  // 0: not yet
	uint8_t key[32];    // SHA-256 of its public key; zeros: it has not joined, or must again
};

struct row {
	union {
		struct model_object object; // revision: of the last change of any member
		union model_any model;
		struct user user;
		struct token token;
		struct proxy_row proxy;
	};
	uint64_t edited; // revision of the last change by a caller: the ETag
	int64_t created_ms;
	const char *state_reason; // why a topic or group is not ready yet
	const char *description;
	uint32_t growing_to; // topics: partitions asked for, until the backend has them; 0: none
	uint64_t unsettled;  // topics: revision of the last change of what its backend keeps too,
			     // until the backend has taken it; 0: it has
	uint64_t family;     // access keys: the first of those that rotated into each other
	bool dead_letter;    // groups: made with a dead-letter topic
	bool unverified;     // topics, groups: a restore does not know whether the cluster has it
	bool deleting;       // tenants, clusters: gone for everybody, but topics are still going
};

struct row_kind {
	const char *name;  // "topic"
	const char *table; // "topics"
	bool tenanted;     // named within a tenant
	struct json_shape shape;
};

struct row_kind row_kind(enum registry_kind kind);
const char *row_name(const struct row *row); // the first member of every kind
const char *row_name_column(enum registry_kind kind);
uint64_t row_tenant(enum registry_kind kind, const struct row *row); // 0: none
void row_init(enum registry_kind kind, struct row *row);             // a new resource

#define ROW_COLUMN_MAX 64
void row_column(const struct field *field, char column[ROW_COLUMN_MAX]);

// Statements for a kind, made once.
struct row_sql {
	char *select;
	char *by_id;   // ?1
	char *by_name; // ?1: tenant, ?2
	char *newer;   // revision above ?1
	char *insert, *update;
	char *drop; // ?1: id
};
int row_sql_make(enum registry_kind kind, struct row_sql *ret);
void row_sql_free(struct row_sql *sql);

// `key` opens and seals secrets (-EKEYREJECTED: it is not the one they were sealed with). Text and
// lists go into the arena.
// -EUCLEAN, and said: the row does not have its checksum.
int row_read(enum registry_kind kind, sqlite3_stmt *statement, const struct seal_key *key,
	     struct arena *arena, struct row *ret);
// Gives every row of the kind its checksum: those of a schema that had none.
int row_stamp_all(enum registry_kind kind, struct db *db, const struct seal_key *key);
int row_bind(enum registry_kind kind, sqlite3_stmt *statement, const struct seal_key *key,
	     struct arena *arena, const struct row *row);
