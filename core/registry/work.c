// One unit of work on the registry, as every call uses it: a transaction, a result, a revision.
//
// One transaction a change; it takes the next revision, stamps every row it touches with it, and is
// published when it is on disk. It takes no lock: the registry belongs to one thread.

#include "core/registry/work.h"

#include "core/registry/audit_head.h"
#include "core/registry/registry.h"

#include <stdarg.h>
#include <stdio.h>

void work_open(struct work *work, struct registry *registry, struct registry_result *ret)
{
	*ret = (struct registry_result){.code = CODE_OK};
	*work = (struct work){.registry = registry, .ret = ret};
}

static void clear_result(struct registry_result *ret)
{
	registry_result_deinit(ret);
	ret->code = CODE_INTERNAL;
}

int work_close(struct work *work, int r)
{
	arena_deinit(&work->arena);
	if (r < 0)
		clear_result(work->ret);
	return r < 0 ? r : 0;
}

int work_begin(struct work *work, struct registry *registry, const struct registry_actor *actor,
	       struct registry_result *ret)
{
	work_open(work, registry, ret);
	work->actor = actor;
	work->next_id = registry->head.next_id;
	work->audit = registry->head;
	work->revision = registry->head.revision + 1;
	return db_script(&registry->db, "BEGIN IMMEDIATE");
}

static int commit_work(struct work *work)
{
	struct registry *registry = work->registry;
	uint64_t revision = work->changed ? work->revision : registry->head.revision;
	struct head head = registry->head;
	bool audited;
	int r = 0;

	head.revision = revision;
	head.next_id = work->next_id;
	head.audit_seq = work->audit.audit_seq;
	memcpy(head.audit_hash, work->audit.audit_hash, sizeof head.audit_hash);
	if (memcmp(&head, &registry->head, sizeof head) != 0)
		r = head_write(&registry->db, &head);
	if (r == 0)
		r = db_script(&registry->db, "COMMIT");
	if (r < 0)
		return r;
	audited = head.audit_seq != registry->head.audit_seq;
	registry->head = head;
	if (audited)
		audit_head_write(registry->audit_head, &registry->head);
	if (work->changed)
		registry_publish(registry);
	return 0;
}

int work_end(struct work *work, int r)
{
	if (r == 0)
		r = commit_work(work);
	if (r != 0 && !sqlite3_get_autocommit(work->registry->db.sqlite))
		db_script(&work->registry->db, "ROLLBACK");
	return work_close(work, r);
}

int work_refuse(struct work *work, enum code code, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	free(work->ret->text);
	if (vasprintf(&work->ret->text, fmt, args) < 0)
		work->ret->text = NULL;
	va_end(args);
	work->ret->code = code;
	return 1;
}

void work_errors_below(struct work *work, const char *where)
{
	json_t *error;
	size_t i;

	json_array_foreach(work->ret->errors, i, error)
	{
		const char *field = json_string_value(json_object_get(error, "field"));
		char pointer[256];

		snprintf(pointer, sizeof pointer, "%s%s", where, field);
		json_object_set_new(error, "field", json_string(pointer));
	}
	if (!work->ret->errors) {
		work->ret->errors = json_array();
		json_array_append_new(work->ret->errors, json_pack("{s:s, s:s?}", "field", where,
								   "detail", work->ret->text));
	}
}

void work_affect(struct work *work, enum registry_kind kind, const char *tenant, const char *name)
{
	if (!work->ret->affected)
		work->ret->affected = json_array();
	json_array_append_new(work->ret->affected,
			      json_pack("{s:s, s:s?, s:s}", "kind", row_kind(kind).name, "tenant",
					tenant, "name", name));
}
