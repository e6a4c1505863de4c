// Rotates an access key: makes a second one with the same rights, so that applications can change
// over one by one.

#include "core/registry/rotate.h"

#include "core/registry/audit.h"
#include "core/registry/operator_access.h"
#include "core/registry/registry.h"
#include "core/registry/secret.h"
#include "core/registry/store.h"
#include "core/registry/work.h"

#include <errno.h>

#define ACTIVE_MAX 2

static int count_active(struct work *work, uint64_t family, int64_t *ret)
{
	int r = db_number(&work->registry->db, ret,
			  "SELECT count(*) FROM access_keys WHERE family = ?1 AND disabled = 0"
			  " AND (expires_ms = 0 OR expires_ms > ?2)",
			  "ii", (int64_t)family, work->registry->now_ms());

	return r < 0 ? r : 0;
}

static int make_successor(struct work *work, const struct row *old, json_t **ret_json)
{
	struct row *row = arena_alloc(&work->arena, sizeof *row);
	char *secret;
	int r;

	if (!row)
		return -ENOMEM;
	*row = *old;
	row->object.id = store_new_id(work);
	row->model.key.disabled = false;
	row->model.key.expires_ms = 0;
	r = secret_key_make(&row->model.key, &work->arena, &secret);
	if (r == 0)
		r = store_insert(work, REGISTRY_ACCESS_KEY, row);
	if (r < 0)
		return r;
	*ret_json = store_json(work, REGISTRY_ACCESS_KEY, row);
	if (!*ret_json)
		return -ENOMEM;
	r = audit_row(work, "rotate", REGISTRY_ACCESS_KEY, row, NULL, *ret_json);
	work->ret->revision = row->edited;
	json_object_set_new(*ret_json, "secret", json_string(secret));
	return r;
}

// A key that would expire sooner anyhow does.
static int retire_key(struct work *work, struct row *old, uint64_t valid_ms)
{
	int64_t until = work->registry->now_ms() + (int64_t)valid_ms;
	json_t *before = store_json(work, REGISTRY_ACCESS_KEY, old), *after;
	int r;

	if (!old->model.key.expires_ms || old->model.key.expires_ms > until)
		old->model.key.expires_ms = until;
	old->edited = work->revision;
	after = store_json(work, REGISTRY_ACCESS_KEY, old);
	r = store_update(work, REGISTRY_ACCESS_KEY, old);
	if (r == 0)
		r = audit_row(work, "update", REGISTRY_ACCESS_KEY, old, before, after);
	json_decref(before);
	json_decref(after);
	return r;
}

int registry_rotate_key(struct registry *registry, const struct registry_actor *actor,
			const char *tenant, const char *key_id, uint64_t old_valid_ms,
			struct registry_result *ret)
{
	struct registry_ref ref = {REGISTRY_ACCESS_KEY, tenant, key_id};
	struct work work;
	struct row old;
	int64_t active = 0;
	int r = work_begin(&work, registry, actor, ret);

	if (r == 0)
		r = store_resolve(&work, &ref, &old);
	if (r == 0)
		r = operator_access_check(&work, REGISTRY_ACCESS_KEY, &old);
	if (r == 0)
		r = count_active(&work, old.family, &active);
	if (r == 0 && active >= ACTIVE_MAX)
		r = work_refuse(&work, CODE_CONFLICT,
				"two keys are active already; disable or delete the one that is no "
				"longer used");
	if (r == 0)
		r = make_successor(&work, &old, &ret->body);
	if (r == 0)
		r = retire_key(&work, &old, old_valid_ms);
	ret->created = r == 0;
	return work_end(&work, r);
}
