// Inside the registry: the open file, and one call's work on it.
//
// Functions here return 0, a negative errno, or 1 where the work has been refused: the result then
// says why, and the transaction is rolled back.
#pragma once

#include "core/base/arena.h"
#include "core/base/util.h"
#include "core/registry/head.h"
#include "core/registry/row.h"

struct registry {
	struct db db;
	struct seal_key key;
	struct catalog *catalog;
	enum code (*validate)(void *ctx, const struct model_object *draft,
			      const struct cluster *cluster, char **ret_text);
	enum durability (*durability)(void *ctx, const struct topic *topic,
				      const struct cluster *cluster);
	void *validate_ctx;
	int64_t (*now_ms)(void);
	char *path;
	struct row_sql sql[REGISTRY_KIND_COUNT];
	struct head head;  // committed
	char *audit_head;  // the file that names the end of the audit log; NULL: none
	uint64_t told_seq; // the newest entry that the log has named
	uint64_t told_ns;
	uint64_t glass_seq, glass_count; // registry_operator_access_glass_broken(): entries looked
					 // at, and found
	struct registry_scrub *scrub;    // NULL: none runs
	bool damaged;                    // the last look at the whole found something; atomic
	struct head outside; // what that file said when it was opened: audit_seq and audit_hash
	char *name;          // of the last registry_store_name()
};

struct work {
	struct registry *registry;
	const struct registry_actor *actor;
	struct registry_result *ret;
	struct arena arena;
	const struct row *tenant; // in which names are looked up; NULL: the platform's
	uint64_t next_id;
	uint64_t revision;       // of what this work changes
	struct head audit;       // audit_seq and audit_hash with the entries of this work
	bool changed;            // something that takes a revision
	const char *secret;      // made on the way, to be shown once
	const char *imported_as; // the backend's name of what is being imported; NULL: it is new
	bool glass_broken;       // operator_access.c lets it pass
};

// ---- work

// Only reads: no transaction.
void work_open(struct work *work, struct registry *registry, struct registry_result *ret);
int work_close(struct work *work, int r);
// Changes: commits when r is 0 and publishes. Both return 0 where r is 1.
int work_begin(struct work *work, struct registry *registry, const struct registry_actor *actor,
	       struct registry_result *ret);
int work_end(struct work *work, int r);

int work_refuse(struct work *work, enum code code, const char *fmt, ...) PRINTF_LIKE(3, 4);
// Points the errors of a part at its place in the whole; makes one of the text when there are none.
void work_errors_below(struct work *work, const char *where);
void work_affect(struct work *work, enum registry_kind kind, const char *tenant, const char *name);

// ---- rows

#define STORE_CHECKED_BYTES (64 << 20) // a file up to this size is checked when it is opened
#define STORE_GONE_KEPT     100000     // revisions for which deltas can be made

int store_make_private(const char *path); // makes the file, readable by its owner only
// What a file holds, whatever its size: 0, or -EUCLEAN and said.
int store_check_pages(struct db *db);
void registry_scrub_stop(struct registry *registry); // waits for a look that is under way
int store_check_rows(struct registry *registry, enum registry_kind kind);

// 1: it is there; 0: it is not.
int store_find(struct work *work, enum registry_kind kind, uint64_t tenant, const char *name,
	       struct row *ret);
int store_load(struct work *work, enum registry_kind kind, uint64_t id, struct row *ret);
// The row a reference names; work->tenant is set on the way. 1, 0, or STORE_REFUSED.
enum { STORE_REFUSED = 2 };
int store_locate(struct work *work, const struct registry_ref *ref, struct row *ret);
// The same, but refuses with NOT_FOUND, also what is going.
int store_resolve(struct work *work, const struct registry_ref *ref, struct row *ret);
int store_tenant(struct work *work, const char *name); // sets work->tenant; refuses

int store_insert(struct work *work, enum registry_kind kind, struct row *row);
int store_update(struct work *work, enum registry_kind kind, struct row *row);
int store_drop(struct work *work, enum registry_kind kind, uint64_t id);
uint64_t store_new_id(struct work *work);

json_t *store_json(struct work *work, enum registry_kind kind, const struct row *row);
struct json_names store_names(struct work *work);

// ---- parts

// `old` and `new` are borrowed and may be NULL.
int audit_write(struct work *work, const char *action, const char *kind, const char *resource,
		const char *tenant, const json_t *old, const json_t *new);
int audit_row(struct work *work, const char *action, enum registry_kind kind, const struct row *row,
	      const json_t *old, const json_t *new);
bool audit_head_read(const char *path, struct head *ret);         // false: none that can be read
void audit_head_write(const char *path, const struct head *head); // NULL: nowhere
void audit_hash_text(const uint8_t hash[AUDIT_HASH_SIZE], char ret[REGISTRY_HASH_TEXT]);
void audit_head_check(struct registry *registry); // against that file; what is missing is said
void audit_head_tell(struct registry *registry);  // in the log, if it has moved since
int audit_check(struct registry *registry, bool *ret_whole);       // the chain and its end
const char *store_tenant_name(struct work *work, uint64_t tenant); // in the arena; NULL: platform

// rules.c: what a kind demands beyond its fields, and what it gets besides. `old` is NULL for a new
// one. What is wrong with a member goes to the reader's errors.
int rules_check(struct work *work, enum registry_kind kind, struct row *row, const struct row *old,
		struct json_reader *reader);
int rules_validate(struct work *work, enum registry_kind kind, struct row *row);
int rules_made(struct work *work, enum registry_kind kind, const struct row *row); // after insert

// resource.c: work->tenant is set for a tenant's kinds. `name` is NULL when the body has it. The
// answer is the caller's.
int resource_create(struct work *work, enum registry_kind kind, const char *name,
		    const json_t *body, json_t **ret_json);
int resource_change(struct work *work, enum registry_kind kind, struct row *row, const json_t *body,
		    json_t **ret_json, bool *ret_changed);

int resource_match(struct work *work, const struct row *row, uint64_t match); // NULL: not there
int rules_keep_an_admin(struct work *work, const struct row *row); // about to lose its role

// operator_access.c: what a platform role may do to what opens a tenant
int operator_access_login(struct work *work, const struct row *user); // the guard begins
int operator_access_check(struct work *work, enum registry_kind kind,
			  const struct row *row); // is made, or rotated
int operator_access_check_change(struct work *work, enum registry_kind kind, const struct row *old,
				 const struct row *row, json_t *before, json_t *after, bool hidden);
int operator_access_broken(struct work *work, uint64_t tenant, json_t **ret); // null: never
int operator_access_verify(struct work *work, uint64_t tenant); // 1: it has a row; -EUCLEAN
// A restore: the guard is as it is `known` (NULL: not at all), and a leave that was withdrawn since
// the copy stays so.
int operator_access_restore(struct work *work, struct work *known, uint64_t tenant, bool revive,
			    bool *ret_withdrawn);

int delete_continue(struct registry *registry); // delete.c: with what a deletion left for later
int lifecycle_finish(
	struct work *work); // drops tenants and clusters that are going and have nothing left

// secret.c
int secret_random_text(char *out, size_t bytes); // base64url of so many random bytes
void secret_hash(const char *token, uint8_t ret[32]);
int secret_password_hash(struct arena *arena, const char *password, const char **ret);
bool secret_password_fits(const char *encoded, const char *password); // NULL: takes as long, false
int secret_key_make(struct access_key *key, struct arena *arena, char **ret_secret);
