// Inside the registry: the open file, and one call's work on it.
//
// Functions here return 0, a negative errno, or 1 where the work has been refused: the result then
// says why, and the transaction is rolled back.
#pragma once

#include "core/base/arena.h"
#include "core/base/util.h"
#include "core/registry/head.h"
#include "core/registry/registry.h"
#include "core/registry/row.h"
#include "core/registry/scrub.h"

struct registry {
	struct db db;
	struct seal_key key;
	struct catalog *catalog;
	enum code (*validate)(void *ctx, const struct model_object *draft,
			      const struct cluster *cluster, char **ret_text);
	enum durability (*durability)(void *ctx, const struct topic *topic,
				      const struct cluster *cluster);
	enum group_start (*group_start)(void *ctx, const struct cluster *cluster);
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
