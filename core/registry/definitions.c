// Exports clusters, tenants, topics and groups as one document, and imports one. An import puts
// each of them, in an order in which references hold, in one transaction: it is done completely or
// not at all. Resources that the document does not name stay.

#include "core/registry/definitions.h"

#include "core/model/name.h"
#include "core/registry/registry.h"
#include "core/registry/resource.h"
#include "core/registry/store.h"
#include "core/registry/work.h"

#include <errno.h>
#include <stdio.h>

#define FORMAT 1

// ---- export

// What a create request takes: everything that is not set by the registry.
static json_t *make_definition(struct work *work, enum registry_kind kind, const struct row *row)
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
			r = json_array_append_new(list, make_definition(work, kind, &row)) < 0
				    ? -ENOMEM
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

int registry_definitions_export(struct registry *registry, struct registry_result *ret)
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

enum part { PART_UNCHANGED, PART_UPDATED, PART_CREATED };

struct import {
	struct work *work;
	enum part *parts; // what became of each cluster
	json_t *changes;
	json_int_t created, updated, unchanged;
};

static int note_change(struct import *import, enum registry_kind kind, const char *name,
		       bool created)
{
	const struct row *tenant = import->work->tenant;

	return json_array_append_new(import->changes,
				     json_pack("{s:s, s:s, s:s?, s:s}", "action",
					       created ? "create" : "update", "kind",
					       row_kind(kind).name, "tenant",
					       tenant ? row_name(tenant) : NULL, "name", name));
}

static int change_part(struct import *import, enum registry_kind kind, struct row *row,
		       const json_t *body, enum part *ret)
{
	json_t *json = NULL;
	bool changed;
	int r = resource_change(import->work, kind, row, body, &json, &changed);

	json_decref(json);
	if (r == 0 && changed)
		*ret = PART_UPDATED;
	return r;
}

static int create_part(struct import *import, enum registry_kind kind, const json_t *body,
		       enum part *ret)
{
	json_t *json = NULL;
	int r = resource_create(import->work, kind, NULL, body, &json);

	json_decref(json);
	if (r == 0)
		*ret = PART_CREATED;
	return r;
}

// Anything that is no name is left to the checks of a creation.
static int find_part(struct import *import, enum registry_kind kind, const json_t *body,
		     struct row *ret)
{
	const char *name = json_string_value(json_object_get(body, "name")), *problem;
	uint64_t tenant = import->work->tenant ? import->work->tenant->object.id : 0;
	char *normal;
	int r;

	if (!name || name_normalize(name, &normal, &problem) < 0)
		return 0;
	r = store_find(import->work, kind, tenant, normal, ret);
	free(normal);
	return r;
}

static int put_part(struct import *import, enum registry_kind kind, const json_t *body,
		    enum part *ret)
{
	json_t *rest;
	struct row row;
	int r = find_part(import, kind, body, &row);

	if (r == 0)
		return create_part(import, kind, body, ret);
	if (r < 0)
		return r;
	rest = json_copy((json_t *)(uintptr_t)body);
	if (!rest)
		return -ENOMEM;
	json_object_del(rest, "name");
	r = change_part(import, kind, &row, rest, ret);
	json_decref(rest);
	return r;
}

static int count_part(struct import *import, enum registry_kind kind, const json_t *body,
		      enum part part)
{
	if (part == PART_UNCHANGED) {
		++import->unchanged;
		return 0;
	}
	++*(part == PART_CREATED ? &import->created : &import->updated);
	return note_change(import, kind, json_string_value(json_object_get(body, "name")),
			   part == PART_CREATED);
}

static int refused_at(struct import *import, int r, const char *where, size_t at)
{
	char pointer[160];

	snprintf(pointer, sizeof pointer, "%s/%zu", where, at);
	if (r == 1)
		work_errors_below(import->work, pointer);
	return r;
}

static int import_list(struct import *import, enum registry_kind kind, const json_t *list,
		       const char *where)
{
	int r = 0;

	if (list && !json_is_array(list))
		return work_refuse(import->work, CODE_BAD_REQUEST, "%s must be a list", where);
	for (size_t i = 0; r == 0 && i < json_array_size(list); ++i) {
		const json_t *body = json_array_get(list, i);
		enum part part = PART_UNCHANGED;

		r = put_part(import, kind, body, &part);
		if (r == 0)
			r = count_part(import, kind, body, part);
		r = refused_at(import, r, where, i);
	}
	return r;
}

// Clusters come before the tenants that use them, and a cluster's only tenant after it: that member
// is put when the tenants are there.
static int import_clusters(struct import *import, const json_t *list)
{
	int r = 0;

	import->parts = arena_alloc(&import->work->arena,
				    (json_array_size(list) + 1) * sizeof *import->parts);
	if (!import->parts)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < json_array_size(list); ++i) {
		json_t *body = json_copy(json_array_get(list, i));

		if (json_is_string(json_object_get(body, "exclusive_tenant")))
			json_object_del(body, "exclusive_tenant");
		r = refused_at(import, put_part(import, REGISTRY_CLUSTER, body, &import->parts[i]),
			       "/clusters", i);
		json_decref(body);
	}
	return r;
}

static int finish_clusters(struct import *import, const json_t *list)
{
	int r = 0;

	import->work->tenant = NULL;
	for (size_t i = 0; r == 0 && i < json_array_size(list); ++i) {
		const json_t *body = json_array_get(list, i);
		json_t *tenant = json_object_get(body, "exclusive_tenant");
		enum part part = PART_UNCHANGED;
		json_t *rest = json_pack("{s:O, s:O}", "name", json_object_get(body, "name"),
					 "exclusive_tenant", tenant);

		if (json_is_string(tenant))
			r = put_part(import, REGISTRY_CLUSTER, rest, &part);
		json_decref(rest);
		if (import->parts[i] == PART_UNCHANGED)
			import->parts[i] = part;
		if (r == 0)
			r = count_part(import, REGISTRY_CLUSTER, body, import->parts[i]);
		r = refused_at(import, r, "/clusters", i);
	}
	return r;
}

static int find_tenant(struct import *import, const char *name)
{
	const char *problem;
	char *normal;
	int r = name_normalize(name, &normal, &problem); // it has been checked

	if (r < 0)
		return r;
	r = store_tenant(import->work, normal);
	free(normal);
	return r;
}

static int import_tenant(struct import *import, const json_t *tenant, size_t at)
{
	const char *name = json_string_value(json_object_get(tenant, "name"));
	json_t *own = json_copy((json_t *)(uintptr_t)tenant);
	enum part part = PART_UNCHANGED;
	char where[96];
	int r;

	json_object_del(own, "topics");
	json_object_del(own, "groups");
	import->work->tenant = NULL;
	r = put_part(import, REGISTRY_TENANT, own, &part);
	json_decref(own);
	if (r == 0)
		r = count_part(import, REGISTRY_TENANT, tenant, part);
	r = refused_at(import, r, "/tenants", at);
	if (r == 0)
		r = find_tenant(import, name);
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
	const json_t *clusters = json_object_get(document, "clusters");
	const json_t *tenants = json_object_get(document, "tenants");
	int r = check_document(import->work, document);

	if (r == 0)
		r = import_clusters(import, clusters);
	for (size_t i = 0; r == 0 && i < json_array_size(tenants); ++i)
		r = import_tenant(import, json_array_get(tenants, i), i);
	return r == 0 ? finish_clusters(import, clusters) : r;
}

int registry_definitions_import(struct registry *registry, const struct registry_actor *actor,
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
