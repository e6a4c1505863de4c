// Clusters, tenants, topics and groups as one document. An import is a put of each, in an order in
// which references hold, all in one transaction: it is done completely or not at all. What the
// document does not name stays.

#include "core/registry/store.h"

#include <errno.h>
#include <stdio.h>

#define FORMAT 1

// ---- export

// What a create request takes: everything that is not set by the registry.
static json_t *definition(struct work *work, enum registry_kind kind, const struct row *row)
{
	struct json_shape shape = row_kind(kind).shape;
	json_t *body = store_json(work, kind, row);

	json_object_del(body, "id");
	json_object_del(body, "revision");
	json_object_del(body, "has_secrets");
	for (size_t t = 0; t < ARRAY_SIZE(shape.tables); ++t)
		for (size_t i = 0; i < shape.tables[t]->count; ++i)
			if (shape.tables[t]->fields[i].flags & FIELD_READ_ONLY)
				json_object_del(body, shape.tables[t]->fields[i].name);
	return body;
}

static int export_rows(struct work *work, enum registry_kind kind, const char *condition,
		       uint64_t tenant, json_t **ret)
{
	struct registry *registry = work->registry;
	_cleanup_(freep) char *sql = NULL;
	json_t *list = json_array();
	sqlite3_stmt *statement;
	struct row row;
	int r;

	if (asprintf(&sql, "%s WHERE %s ORDER BY name", registry->sql[kind].select, condition) < 0)
		sql = NULL;
	r = sql ? db_error(sqlite3_prepare_v2(registry->db.sqlite, sql, -1, &statement, NULL))
		: -ENOMEM;
	if (r < 0) {
		json_decref(list);
		return r;
	}
	sqlite3_bind_int64(statement, 1, (int64_t)tenant);
	while (r == 0 && (r = db_step(&registry->db, statement)) == 1) {
		r = row_read(kind, statement, &registry->key, &work->arena, &row);
		if (r == 0)
			r = json_array_append_new(list, definition(work, kind, &row)) < 0 ? -ENOMEM
											  : 0;
	}
	sqlite3_finalize(statement);
	*ret = list;
	return r;
}

static int export_tenant(struct work *work, json_t *tenant)
{
	const char *name = json_string_value(json_object_get(tenant, "name"));
	json_t *topics = NULL, *groups = NULL;
	int r = store_tenant(work, name);

	if (r == 0)
		r = export_rows(work, REGISTRY_TOPIC,
				"tenant = ?1 AND dead_letter_of = 0 AND state != 2",
				work->tenant->object.id, &topics);
	if (r == 0)
		r = export_rows(work, REGISTRY_GROUP, "tenant = ?1 AND state != 2",
				work->tenant->object.id, &groups);
	json_object_set_new(tenant, "topics", topics);
	json_object_set_new(tenant, "groups", groups);
	work->tenant = NULL;
	return r;
}

int registry_export(struct registry *registry, struct registry_result *ret)
{
	json_t *clusters = NULL, *tenants = NULL, *tenant;
	struct work work;
	size_t i;
	int r;

	work_open(&work, registry, ret);
	r = export_rows(&work, REGISTRY_CLUSTER, "deleting = 0", 0, &clusters);
	if (r == 0)
		r = export_rows(&work, REGISTRY_TENANT, "deleting = 0", 0, &tenants);
	json_array_foreach(tenants, i, tenant) if (r == 0) r = export_tenant(&work, tenant);
	ret->body = json_pack("{s:i, s:o, s:o}", "format", FORMAT, "clusters", clusters, "tenants",
			      tenants);
	return work_close(&work, r);
}

// ---- import

struct import {
	struct work *work;
	json_t *changes;
	json_int_t created, updated, unchanged;
};

static int note(struct import *import, enum registry_kind kind, const char *name, bool created)
{
	const struct row *tenant = import->work->tenant;

	return json_array_append_new(import->changes,
				     json_pack("{s:s, s:s, s:s?, s:s}", "action",
					       created ? "create" : "update", "kind",
					       row_kind(kind).name, "tenant",
					       tenant ? row_name(tenant) : NULL, "name", name));
}

// Points the errors of a part at their place in the document.
static void errors_below(struct work *work, const char *where)
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

static int put_part(struct import *import, enum registry_kind kind, const json_t *body)
{
	struct work *work = import->work;
	uint64_t tenant = work->tenant ? work->tenant->object.id : 0;
	const char *name = json_string_value(json_object_get(body, "name"));
	json_t *rest = json_copy((json_t *)(uintptr_t)body), *json = NULL;
	struct row row;
	bool changed;
	int r = name ? store_find(work, kind, tenant, name, &row) : 0;

	if (r == 1) {
		json_object_del(rest, "name");
		r = resource_change(work, kind, &row, rest, &json, &changed);
		if (r == 0 && changed) {
			++import->updated;
			r = note(import, kind, name, false);
		} else if (r == 0) {
			++import->unchanged;
		}
	} else if (r == 0) {
		r = resource_create(work, kind, NULL, body, &json);
		work->secret = NULL;
		if (r == 0) {
			++import->created;
			r = note(import, kind, name, true);
		}
	}
	json_decref(json);
	json_decref(rest);
	return r;
}

static int import_list(struct import *import, enum registry_kind kind, const json_t *list,
		       const char *where)
{
	size_t i;
	json_t *part;
	int r = 0;

	if (list && !json_is_array(list))
		r = work_refuse(import->work, CODE_BAD_REQUEST, "%s must be a list", where);
	for (i = 0; r == 0 && i < json_array_size(list); ++i) {
		part = json_array_get(list, i);
		r = put_part(import, kind, part);
		if (r == 1) {
			char pointer[160];

			snprintf(pointer, sizeof pointer, "%s/%zu", where, i);
			errors_below(import->work, pointer);
		}
	}
	return r;
}

static int import_tenant(struct import *import, const json_t *tenant, size_t at)
{
	const char *name = json_string_value(json_object_get(tenant, "name"));
	json_t *own = json_is_object(tenant) ? json_copy((json_t *)(uintptr_t)tenant) : NULL;
	char where[96];
	int r;

	if (own) {
		json_object_del(own, "topics");
		json_object_del(own, "groups");
	}
	import->work->tenant = NULL;
	r = put_part(import, REGISTRY_TENANT, own ? own : tenant);
	json_decref(own);
	snprintf(where, sizeof where, "/tenants/%zu", at);
	if (r == 1)
		errors_below(import->work, where);
	if (r == 0)
		r = store_tenant(import->work, name);
	snprintf(where, sizeof where, "/tenants/%zu/topics", at);
	if (r == 0)
		r = import_list(import, REGISTRY_TOPIC, json_object_get(tenant, "topics"), where);
	snprintf(where, sizeof where, "/tenants/%zu/groups", at);
	if (r == 0)
		r = import_list(import, REGISTRY_GROUP, json_object_get(tenant, "groups"), where);
	return r;
}

static int check_document(struct work *work, const json_t *document)
{
	const char *key;
	json_t *value;

	if (!json_is_object(document))
		return work_refuse(work, CODE_BAD_REQUEST, "the document must be an object");
	json_object_foreach((json_t *)(uintptr_t)document, key, value)
	{
		bool list = strcmp(key, "clusters") == 0 || strcmp(key, "tenants") == 0;

		if (list ? !json_is_array(value) : strcmp(key, "format") != 0)
			return work_refuse(work, CODE_BAD_REQUEST,
					   "\"%.64s\" is not what a document of definitions has "
					   "there",
					   key);
	}
	value = json_object_get(document, "format");
	if (!json_is_number(value) || json_number_value(value) != FORMAT)
		return work_refuse(work, CODE_BAD_REQUEST, "format must be %d", FORMAT);
	return 0;
}

static int import_all(struct import *import, const json_t *document)
{
	const json_t *tenants = json_object_get(document, "tenants");
	int r = check_document(import->work, document);

	if (r == 0)
		r = import_list(import, REGISTRY_CLUSTER, json_object_get(document, "clusters"),
				"/clusters");
	for (size_t i = 0; r == 0 && i < json_array_size(tenants); ++i)
		r = import_tenant(import, json_array_get(tenants, i), i);
	return r;
}

int registry_import(struct registry *registry, const struct registry_actor *actor,
		    const json_t *document, bool preview, struct registry_result *ret)
{
	struct work work;
	struct import import = {.work = &work, .changes = json_array()};
	int r = work_begin(&work, registry, actor, ret);

	if (r == 0)
		r = import_all(&import, document);
	if (r == 0) {
		ret->body = json_pack("{s:b, s:I, s:I, s:I, s:O}", "preview", preview, "created",
				      import.created, "updated", import.updated, "unchanged",
				      import.unchanged, "changes", import.changes);
		if (preview)
			r = 1; // rolled back; the result stays OK
	}
	json_decref(import.changes);
	return work_end(&work, r);
}
