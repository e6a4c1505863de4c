// The states of topics and groups between registry and backend: creating, ready, failed, deleting.
//
// The idea: a row holds the wanted state; registry_lifecycle_pending() lists the rows whose backend
// has not confirmed it, and registry_lifecycle_settle() writes the backend's answer into the row. A
// topic is made before the groups on it, and deleted after them. Tenants and clusters that are
// being deleted stay until their last topic and group is gone (lifecycle_finish).
//
// Invariant: an answer applies only to the row as it was when the query was sent: a row that was
// deleted meanwhile, or changed again, stays pending.
//
// Not here: asking the backend, waiting and trying again (reconcile.c).

#include "core/registry/lifecycle.h"

#include "core/registry/audit.h"
#include "core/registry/delete.h"
#include "core/registry/registry.h"
#include "core/registry/resource_state.h"
#include "core/registry/store.h"
#include "core/registry/work.h"

#include <errno.h>

static const struct registry_actor system_actor = {.name = "system"};

int registry_lifecycle_pending(struct registry *registry,
			       struct registry_lifecycle_pending *pending, size_t room,
			       size_t *ret_count)
{
	// States: 0 creating, 1 ready, 2 deleting. The term with IN makes SQLite use the partial
	// indexes.
	static const char sql[] =
		"SELECT 3, id, 0, 0, 0, unverified FROM topics"
		"  WHERE state IN (0, 2) AND state = 0"
		" UNION ALL SELECT 3, id, 0, growing_to, unsettled, 0 FROM topics"
		"  WHERE growing_to > 0 AND state = 1"
		" UNION ALL SELECT 3, id, 0, 0, unsettled, 0 FROM topics"
		"  WHERE unsettled > 0 AND growing_to = 0 AND state = 1"
		" UNION ALL SELECT 4, g.id, 0, 0, 0, g.unverified FROM \"groups\" g JOIN topics t "
		"ON g.topic = "
		"t.id"
		"  LEFT JOIN topics d ON g.dead_letter_topic = d.id"
		"  WHERE g.state IN (0, 2) AND g.state = 0 AND t.state = 1 AND (d.id IS NULL OR "
		"d.state = 1)"
		" UNION ALL SELECT 4, id, 1, 0, 0, 0 FROM \"groups\" WHERE state IN (0, 2) AND "
		"state "
		"= 2"
		" UNION ALL SELECT 3, id, 1, 0, 0, 0 FROM topics WHERE state IN (0, 2) AND state = "
		"2"
		"  AND NOT EXISTS (SELECT 1 FROM \"groups\" g WHERE g.topic = topics.id)"
		"  AND NOT EXISTS (SELECT 1 FROM \"groups\" g WHERE g.dead_letter_topic = topics.id"
		"   AND g.dead_letter_topic != 0)"
		" LIMIT ?1";
	sqlite3_stmt *statement;
	size_t count = 0;
	int r = delete_continue(registry);

	if (r == 0)
		r = db_query(&registry->db, &statement, sql, "i", (int64_t)room);

	while (r == 0 && (r = db_step(&registry->db, statement)) == 1) {
		pending[count++] = (struct registry_lifecycle_pending){
			.kind = (enum registry_kind)sqlite3_column_int(statement, 0),
			.id = (uint64_t)sqlite3_column_int64(statement, 1),
			.deleting = sqlite3_column_int(statement, 2) != 0,
			.partitions = (uint32_t)sqlite3_column_int(statement, 3),
			.revision = (uint64_t)sqlite3_column_int64(statement, 4),
			.verify = sqlite3_column_int(statement, 5) != 0,
		};
		r = 0;
	}
	if (r == 0)
		*ret_count = count;
	return r;
}

static int drop_idle(struct work *work, enum registry_kind kind, const char *sql)
{
	struct db *db = &work->registry->db;
	int64_t id;
	int r;

	while ((r = db_number(db, &id, sql, "")) == 1) {
		r = store_drop(work, kind, (uint64_t)id);
		if (r < 0)
			break;
	}
	return r;
}

int lifecycle_finish(struct work *work)
{
	int r = drop_idle(work, REGISTRY_TENANT,
			  "SELECT id FROM tenants t WHERE deleting = 1 AND NOT EXISTS"
			  " (SELECT 1 FROM topics WHERE tenant = t.id) AND NOT EXISTS"
			  " (SELECT 1 FROM \"groups\" WHERE tenant = t.id)");

	return r < 0 ? r
		     : drop_idle(work, REGISTRY_CLUSTER,
				 "SELECT id FROM clusters c WHERE deleting = 1 AND NOT EXISTS"
				 " (SELECT 1 FROM topics WHERE cluster = c.id)");
}

// `action`: "gone", or "abandoned" with what is left on the backend.
static int settle_gone(struct work *work, enum registry_kind kind, const struct row *row,
		       const char *action, const char *reason)
{
	json_t *details = reason ? json_pack("{s:s}", "reason", reason) : NULL;
	int r = audit_row(work, action, kind, row, NULL, details);

	json_decref(details);
	resource_state_end(kind, row);
	if (r == 0)
		r = store_drop(work, kind, row->object.id);
	return r < 0 ? r : lifecycle_finish(work);
}

// Writes the row if something has changed. `action`: for the audit log; NULL: only the reason has.
// Takes `before`.
static int settle_write(struct work *work, enum registry_kind kind, struct row *row, json_t *before,
			const char *action)
{
	json_t *after = store_json(work, kind, row);
	int r = before && after ? 0 : -ENOMEM;

	if (r == 0 && !json_equal(before, after)) {
		r = store_update(work, kind, row);
		if (r == 0 && action)
			r = audit_row(work, action, kind, row, before, after);
	}
	json_decref(before);
	json_decref(after);
	return r;
}

static int settle_state(struct work *work, enum registry_kind kind, struct row *row,
			enum model_state state, const char *reason)
{
	json_t *before = store_json(work, kind, row);
	bool moves = resource_state_get(kind, row) != state;

	if (moves)
		resource_state_move(kind, row, state);
	row->state_reason = reason;
	return settle_write(work, kind, row, before,
			    !moves                 ? NULL
			    : state == MODEL_READY ? "ready"
						   : "failed");
}

// What was changed meanwhile is still to be taken.
static void clear_unsettled(struct row *row, uint64_t revision)
{
	if (row->unsettled == revision)
		row->unsettled = 0;
}

// A refusal leaves the topic as it was, and serving.
static int settle_growth(struct work *work, struct row *row,
			 const struct registry_lifecycle_pending *pending, enum code code,
			 const char *reason, bool failed)
{
	json_t *before = store_json(work, REGISTRY_TOPIC, row);
	struct topic *topic = &row->model.topic;

	row->state_reason = code == CODE_OK ? NULL : reason;
	if (code == CODE_OK) {
		topic->partitions = MAX(topic->partitions, pending->partitions);
		clear_unsettled(row, pending->revision);
	}
	if (failed || row->growing_to <= topic->partitions)
		row->growing_to = 0;
	return settle_write(work, REGISTRY_TOPIC, row, before,
			    code == CODE_OK ? "grown"
			    : failed        ? "not grown"
					    : NULL);
}

// The change stands, whatever its backend says, and a refusal is told.
static int settle_change(struct work *work, struct row *row, uint64_t revision, enum code code,
			 const char *reason, bool failed)
{
	json_t *before = store_json(work, REGISTRY_TOPIC, row);

	row->state_reason = code == CODE_OK ? NULL : reason;
	if (code != CODE_OK && !failed)
		return settle_write(work, REGISTRY_TOPIC, row, before, NULL);
	json_decref(before);
	clear_unsettled(row, revision);
	return store_update(work, REGISTRY_TOPIC, row);
}

// What a restore could not know: the cluster has it, or it was deleted since the backup.
static int settle_verified(struct work *work, const struct registry_lifecycle_pending *pending,
			   struct row *row, enum code code, const char *reason)
{
	bool topic = pending->kind == REGISTRY_TOPIC;

	if (!row->unverified)
		return 0; // an operator has decided meanwhile
	if (code != CODE_OK && code != CODE_NOT_FOUND)
		return settle_state(work, pending->kind, row, MODEL_CREATING, reason);
	row->unverified = false;
	if (code == CODE_OK && topic)
		row->model.topic.partitions = MAX(row->model.topic.partitions, pending->found);
	if (code == CODE_NOT_FOUND)
		*(topic ? &row->model.topic.incarnation : &row->model.group.incarnation) =
			store_new_id(work);
	return settle_state(
		work, pending->kind, row, code == CODE_OK ? MODEL_READY : MODEL_FAILED,
		code == CODE_OK ? NULL
				: "its cluster does not have it: it was deleted after the "
				  "backup, or lost; PUT makes it anew and empty, DELETE removes "
				  "it");
}

// 1: the cluster on which it lies was deleted by force; 0: it stays.
static int on_going_cluster(struct work *work, enum registry_kind kind, const struct row *row)
{
	int64_t going = 0;
	int r = db_number(
		&work->registry->db, &going,
		"SELECT c.deleting FROM topics t JOIN clusters c ON t.cluster = c.id"
		" WHERE t.id = ?1",
		"i", (int64_t)(kind == REGISTRY_TOPIC ? row->object.id : row->model.group.topic));

	return r < 0 ? r : going != 0;
}

static int settle_object(struct work *work, const struct registry_lifecycle_pending *pending,
			 enum code code, const char *reason, bool failed)
{
	struct row row;
	int r = store_load(work, pending->kind, pending->id, &row);
	bool deleting;

	if (r != 1)
		return r;
	deleting = resource_state_get(pending->kind, &row) == MODEL_DELETING;
	if (deleting != pending->deleting)
		return 0; // it was deleted while it was being made; the next round sees that
	if (pending->verify)
		return settle_verified(work, pending, &row, code, reason);
	if (pending->partitions)
		return settle_growth(work, &row, pending, code, reason, failed);
	if (pending->revision)
		return settle_change(work, &row, pending->revision, code, reason, failed);
	if (code == CODE_OK && deleting)
		return settle_gone(work, pending->kind, &row, "gone", NULL);
	if (failed && deleting && (r = on_going_cluster(work, pending->kind, &row)) != 0)
		return r < 0 ? r : settle_gone(work, pending->kind, &row, "abandoned", reason);
	if (code == CODE_OK)
		return settle_state(work, pending->kind, &row, MODEL_READY, NULL);
	return settle_state(work, pending->kind, &row,
			    failed && !deleting ? MODEL_FAILED
						: resource_state_get(pending->kind, &row),
			    reason);
}

int registry_lifecycle_settle(struct registry *registry,
			      const struct registry_lifecycle_pending *pending, enum code code,
			      const char *reason, bool failed)
{
	struct registry_result result = {0};
	struct work work;
	int r = work_begin(&work, registry, &system_actor, &result);

	if (r == 0)
		r = settle_object(&work, pending, code, reason, failed);
	r = work_end(&work, r);
	registry_result_deinit(&result);
	return r;
}
