// Makes, changes and reads resources. The same steps for every kind: read the body, check it, check
// what a platform role may do, write the row, write the audit entry. What differs by kind lies in
// the field tables and in constraints.c.
//
// Invariant: a change that changes nothing writes no row and no audit entry, so it has no revision
// and no new ETag; PUT may be repeated.
//
// Not here: lists (page.c), deleting (delete.c), rotating secrets (rotate.c).

#include "core/registry/resource.h"

#include "core/base/base64url.h"
#include "core/model/name.h"
#include "core/registry/audit.h"
#include "core/registry/constraints.h"
#include "core/registry/operator_access.h"
#include "core/registry/registry.h"
#include "core/registry/store.h"
#include "core/registry/work.h"

#include <errno.h>
#include <stdio.h>

// ---- making and changing

static int refuse_errors(struct work *work, struct json_reader *reader)
{
	json_decref(work->ret->errors);
	work->ret->errors = reader->errors;
	reader->errors = NULL;
	return work_refuse(work, reader->conflict ? CODE_CONFLICT : CODE_BAD_REQUEST,
			   reader->conflict ? "a member that cannot change was given another value"
					    : "the body has members that are wrong");
}

static int take_name(struct work *work, const char *name, struct row *row)
{
	const char *problem = "";
	char *normal;
	int r = name_normalize(name, &normal, &problem);

	if (r == -EINVAL)
		return work_refuse(work, CODE_BAD_REQUEST, "the name %s", problem);
	if (r < 0)
		return r;
	row->model.topic.name = arena_text(&work->arena, normal);
	free(normal);
	return row->model.topic.name ? 0 : -ENOMEM;
}

static int refuse_existing(struct work *work, enum registry_kind kind, const struct row *row)
{
	struct row found;
	uint64_t tenant = work->tenant ? work->tenant->object.id : 0;
	int r = kind == REGISTRY_ACCESS_KEY ? 0
					    : store_find(work, kind, tenant, row_name(row), &found);

	if (r != 1)
		return r;
	if (found.deleting)
		return work_refuse(work, CODE_NOT_READY, "%s \"%s\" is still being deleted",
				   row_kind(kind).name, row_name(row));
	return work_refuse(work, CODE_CONFLICT, "there is a %s \"%s\" already", row_kind(kind).name,
			   row_name(row));
}

static int check_row(struct work *work, enum registry_kind kind, struct row *row,
		     const struct row *old, struct json_reader *reader)
{
	int r = constraints_check(work, kind, row, old, reader);

	if (r == 0 && reader->errors)
		r = refuse_errors(work, reader);
	return r == 0 ? constraints_validate(work, kind, row) : r;
}

static int read_new(struct work *work, enum registry_kind kind, const char *name,
		    const json_t *body, struct row *row)
{
	struct row_kind words = row_kind(kind);
	struct json_names names = store_names(work);
	struct json_reader reader = {.shape = &words.shape,
				     .names = &names,
				     .arena = &work->arena,
				     .create = true,
				     .named = name != NULL};
	int r = name ? take_name(work, name, row) : 0;

	if (r == 0 && json_read(&reader, body, row) != 0)
		r = refuse_errors(work, &reader);
	if (r == 0)
		r = refuse_existing(work, kind, row);
	if (r == 0)
		r = check_row(work, kind, row, NULL, &reader);
	json_decref(reader.errors);
	return r;
}

static int insert_row(struct work *work, enum registry_kind kind, struct row *row,
		      json_t **ret_json)
{
	const char *action = work->imported_as ? "import" : "create";
	json_t *json;
	int r = store_insert(work, kind, row);

	work->imported_as = NULL; // what is made beside it is new
	if (r == 0)
		r = constraints_complete(work, kind, row);
	if (r != 0)
		return r;
	json = store_json(work, kind, row);
	if (!json)
		return -ENOMEM;
	r = audit_row(work, action, kind, row, NULL, json);
	if (r < 0) {
		json_decref(json);
		return r;
	}
	*ret_json = json;
	return 0;
}

int resource_create(struct work *work, enum registry_kind kind, const char *name,
		    const json_t *body, json_t **ret_json)
{
	struct row *row = arena_alloc(&work->arena, sizeof *row);
	int r;

	if (!row)
		return -ENOMEM;
	row_init(kind, row);
	row->object.id = store_new_id(work);
	r = read_new(work, kind, name, body, row);
	if (r == 0)
		r = operator_access_check(work, kind, row);
	return r == 0 ? insert_row(work, kind, row, ret_json) : r;
}

static bool text_differs(const char *a, const char *b)
{
	return (a == NULL) != (b == NULL) || (a && strcmp(a, b) != 0);
}

// What changed without being visible, named in the audit log and never shown.
static const char *hidden_change(enum registry_kind kind, const struct row *old,
				 const struct row *row)
{
	if (kind == REGISTRY_CLUSTER &&
	    text_differs(old->model.cluster.secrets_json, row->model.cluster.secrets_json))
		return "secrets";
	if (kind == REGISTRY_USER && text_differs(old->user.password, row->user.password))
		return "password";
	return NULL;
}

static int audit_change(struct work *work, enum registry_kind kind, const struct row *row,
			const json_t *old, const json_t *new, const char *hidden)
{
	json_t *shown = json_copy((json_t *)(uintptr_t)new);
	int r;

	if (!shown)
		return -ENOMEM;
	if (hidden)
		json_object_set_new(shown, hidden, json_string("changed"));
	r = audit_row(work, "update", kind, row, old, shown);
	json_decref(shown);
	return r;
}

static int read_changed(struct work *work, enum registry_kind kind, struct row *row,
			const struct row *old, const json_t *body)
{
	struct row_kind words = row_kind(kind);
	struct json_names names = store_names(work);
	struct json_reader reader = {
		.shape = &words.shape, .names = &names, .arena = &work->arena, .named = true};
	int r = 0;

	if (json_read(&reader, body, row) != 0)
		r = refuse_errors(work, &reader);
	if (r == 0)
		r = check_row(work, kind, row, old, &reader);
	json_decref(reader.errors);
	return r;
}

int resource_change(struct work *work, enum registry_kind kind, struct row *row, const json_t *body,
		    json_t **ret_json, bool *ret_changed)
{
	struct row old = *row;
	json_t *before = store_json(work, kind, row), *after = NULL;
	const char *hidden;
	int r = read_changed(work, kind, row, &old, body);

	*ret_changed = false;
	if (r == 0)
		after = store_json(work, kind, row);
	if (r == 0 && (!before || !after))
		r = -ENOMEM;
	hidden = hidden_change(kind, &old, row);
	if (r == 0)
		r = operator_access_check_change(work, kind, &old, row, before, after, hidden);
	if (r == 0 && (hidden || !json_equal(before, after))) {
		*ret_changed = true;
		row->edited = work->revision;
		json_object_set_new(after, "revision", json_integer((json_int_t)row->edited));
		r = store_update(work, kind, row);
		if (r == 0)
			r = audit_change(work, kind, row, before, after, hidden);
	}
	json_decref(before);
	if (r == 0)
		*ret_json = after;
	else
		json_decref(after);
	return r;
}

// ---- calls

static void answer_row(struct work *work, enum registry_kind kind, json_t *json, bool created)
{
	struct registry_result *ret = work->ret;

	ret->body = json;
	ret->created = created;
	ret->revision = (uint64_t)json_integer_value(json_object_get(json, "revision"));
	if (work->secret)
		json_object_set_new(json, kind == REGISTRY_ACCESS_KEY ? "secret" : "token",
				    json_string(work->secret));
}

int registry_resource_get(struct registry *registry, const struct registry_ref *ref,
			  struct registry_result *ret)
{
	struct work work;
	struct row row;
	json_t *json;
	int r;

	work_open(&work, registry, ret);
	r = store_resolve(&work, ref, &row);
	if (r == 0) {
		json = store_json(&work, ref->kind, &row);
		r = json ? 0 : -ENOMEM;
		answer_row(&work, ref->kind, json, false);
	}
	return work_close(&work, r);
}

int registry_resource_create(struct registry *registry, const struct registry_actor *actor,
			     enum registry_kind kind, const char *tenant, const json_t *body,
			     struct registry_result *ret)
{
	struct work work;
	json_t *json;
	int r = work_begin(&work, registry, actor, ret);

	if (r == 0 && row_kind(kind).tenanted)
		r = store_tenant(&work, tenant);
	if (r == 0)
		r = resource_create(&work, kind, NULL, body, &json);
	if (r == 0)
		answer_row(&work, kind, json, true);
	return work_end(&work, r);
}

int resource_match(struct work *work, const struct row *row, uint64_t match)
{
	if (match == REGISTRY_MATCH_NONE || (row && match == REGISTRY_MATCH_ANY) ||
	    (row && match == row->edited))
		return 0;
	if (!row)
		return work_refuse(work, CODE_PRECONDITION_FAILED, "it is not there");
	return work_refuse(work, CODE_PRECONDITION_FAILED,
			   "it is at revision %llu by now; read it again",
			   (unsigned long long)row->edited);
}

// A user who is disabled, or whose password an administrator has set, has to log in again, also
// when the account is enabled later.
static int end_sessions(struct work *work, const struct row *user, const json_t *body)
{
	if (!user->user.disabled && !json_object_get(body, "password"))
		return 0;
	return db_run(&work->registry->db, "DELETE FROM sessions WHERE user = ?1", "i",
		      (int64_t)user->object.id);
}

static int put_row(struct work *work, const struct registry_ref *ref, uint64_t match,
		   const json_t *body)
{
	struct row row;
	json_t *json;
	bool changed;
	int found = store_locate(work, ref, &row), r;

	if (found < 0)
		return found;
	if (found == STORE_REFUSED)
		return 1;
	r = resource_match(work, found ? &row : NULL, match);
	if (r != 0)
		return r;
	if (!found && (ref->kind == REGISTRY_ACCESS_KEY || ref->kind >= REGISTRY_TOKEN))
		return work_refuse(work, CODE_NOT_FOUND, "there is no %s \"%s\"",
				   row_kind(ref->kind).name, ref->name);
	if (found && row.deleting)
		return work_refuse(work, CODE_NOT_READY, "%s \"%s\" is still being deleted",
				   row_kind(ref->kind).name, ref->name);
	r = found ? resource_change(work, ref->kind, &row, body, &json, &changed)
		  : resource_create(work, ref->kind, ref->name, body, &json);
	if (r == 0 && found && ref->kind == REGISTRY_USER)
		r = end_sessions(work, &row, body);
	if (r == 0)
		answer_row(work, ref->kind, json, !found);
	return r;
}

int registry_resource_put(struct registry *registry, const struct registry_actor *actor,
			  const struct registry_ref *ref, uint64_t match, const json_t *body,
			  struct registry_result *ret)
{
	struct work work;
	int r = work_begin(&work, registry, actor, ret);

	if (r == 0)
		r = put_row(&work, ref, match, body);
	return work_end(&work, r);
}
