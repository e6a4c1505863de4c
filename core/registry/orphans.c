// Makes rows for what the stores hold when registry and catalog are lost together.
//
// The stores still know ids, partitions and positions, but no names and no tenants. So each of
// their topics and groups gets a name made of its id, in a tenant of its own that is suspended.
// There an operator takes it up (PUT) or removes it (DELETE). Its previous tenant is not known, so
// only platform roles reach it.

#include "core/registry/orphans.h"

#include "core/model/name.h"
#include "core/registry/registry.h"
#include "core/registry/resource_state.h"
#include "core/registry/store.h"
#include "core/registry/work.h"

#include <errno.h>
#include <stdio.h>

#define TENANT_NAME "found-in-stores"

static const char found_reason[] =
	"it was found in a store after a restore, and nothing tells whose it was: PUT takes it up "
	"here, DELETE removes it with its messages";

struct orphans {
	struct work *work;
	struct row tenant; // id 0: not made yet
	int (*list)(void *ctx, enum registry_kind kind, const struct row *row, const char *reason);
	void *ctx;
};

static uint64_t number_of(const json_t *object, const char *member)
{
	return (uint64_t)json_integer_value(json_object_get(object, member));
}

static int tenant_bind(struct orphans *orphans, uint64_t cluster)
{
	struct tenant *tenant = &orphans->tenant.model.tenant;
	uint64_t *clusters;

	for (size_t i = 0; i < tenant->cluster_count; ++i)
		if (tenant->clusters[i] == cluster)
			return 0;
	clusters =
		arena_alloc(&orphans->work->arena, (tenant->cluster_count + 1) * sizeof *clusters);
	if (!clusters)
		return -ENOMEM;
	if (tenant->cluster_count)
		memcpy(clusters, tenant->clusters, tenant->cluster_count * sizeof *clusters);
	clusters[tenant->cluster_count++] = cluster;
	tenant->clusters = clusters;
	return store_update(orphans->work, REGISTRY_TENANT, &orphans->tenant);
}

// Of an earlier restore, or made now.
static int tenant_make(struct orphans *orphans)
{
	struct row *row = &orphans->tenant;
	int r = store_find(orphans->work, REGISTRY_TENANT, 0, TENANT_NAME, row);

	if (r != 0)
		return MIN(r, 0);
	row_init(REGISTRY_TENANT, row);
	row->object.id = store_new_id(orphans->work);
	row->model.tenant.name = TENANT_NAME;
	row->model.tenant.suspended = true;
	return store_insert(orphans->work, REGISTRY_TENANT, row);
}

static int place_make(struct orphans *orphans, uint64_t cluster)
{
	int r = orphans->tenant.object.id ? 0 : tenant_make(orphans);

	return r < 0 ? r : tenant_bind(orphans, cluster);
}

static int insert_orphan(struct orphans *orphans, enum registry_kind kind, struct row *row,
			 const char **ret_physical)
{
	struct work *work = orphans->work;
	char *name = arena_alloc(&work->arena, 40),
	     *physical = arena_alloc(&work->arena, MODEL_PHYSICAL_MAX + 1);
	int r;

	if (!name || !physical)
		return -ENOMEM;
	snprintf(name, 40, "found-%llu", (unsigned long long)row->object.id);
	name_physical(TENANT_NAME, name, row->object.id, work->registry->head.source, physical);
	row->model.topic.name = name; // the same place in every kind
	*ret_physical = physical;
	row->state_reason = found_reason;
	r = store_insert(work, kind, row);
	return r < 0 ? r : orphans->list(orphans->ctx, kind, row, found_reason);
}

static int topic_orphan(struct orphans *orphans, uint64_t cluster, const json_t *found)
{
	struct row row;
	struct topic *topic = &row.model.topic;
	int r = place_make(orphans, cluster);

	row_init(REGISTRY_TOPIC, &row);
	row.object.id = number_of(found, "id");
	topic->tenant = orphans->tenant.object.id;
	topic->cluster = cluster;
	topic->incarnation = number_of(found, "incarnation");
	topic->partitions = (uint32_t)number_of(found, "partitions");
	topic->durability = (uint8_t)number_of(found, "durability");
	topic->retention_ms = number_of(found, "retention_ms");
	topic->retention_bytes = number_of(found, "retention_bytes");
	resource_state_begin(REGISTRY_TOPIC, &row, MODEL_FAILED);
	return r < 0 ? r : insert_orphan(orphans, REGISTRY_TOPIC, &row, &topic->physical);
}

static int group_orphan(struct orphans *orphans, uint64_t cluster, const json_t *found)
{
	struct row row, topic;
	struct group *group = &row.model.group;
	int r = store_load(orphans->work, REGISTRY_TOPIC, number_of(found, "topic"), &topic);

	if (r != 1)
		return r; // without its topic it is nothing
	row_init(REGISTRY_GROUP, &row);
	row.object.id = number_of(found, "id");
	group->tenant = topic.model.topic.tenant;
	group->topic = topic.object.id;
	group->incarnation = number_of(found, "incarnation");
	group->start = GROUP_START_EARLIEST; // it goes on where it was
	group->max_attempts = 0; // its dead-letter topic, if it had one, is not known as such
	row.dead_letter = false;
	resource_state_begin(REGISTRY_GROUP, &row, MODEL_FAILED);
	return insert_orphan(orphans, REGISTRY_GROUP, &row, &group->physical);
}

// A restore did not know whether its cluster has it: it has.
static int mark_verified(struct orphans *orphans, enum registry_kind kind, struct row *row,
			 const json_t *found)
{
	if (!row->unverified)
		return 0;
	row->unverified = false;
	row->state_reason = NULL;
	resource_state_begin(kind, row, MODEL_READY);
	if (kind == REGISTRY_TOPIC) {
		row->model.topic.incarnation = number_of(found, "incarnation");
		row->model.topic.partitions = (uint32_t)number_of(found, "partitions");
	} else {
		row->model.group.incarnation = number_of(found, "incarnation");
	}
	return store_update(orphans->work, kind, row);
}

static int merge_list(struct orphans *orphans, enum registry_kind kind, uint64_t cluster,
		      const json_t *rows)
{
	const json_t *found;
	size_t i;

	json_array_foreach(rows, i, found)
	{
		struct row row;
		int r = store_load(orphans->work, kind, number_of(found, "id"), &row);

		if (r == 1)
			r = mark_verified(orphans, kind, &row, found);
		else if (r == 0)
			r = kind == REGISTRY_TOPIC ? topic_orphan(orphans, cluster, found)
						   : group_orphan(orphans, cluster, found);
		if (r < 0)
			return r;
	}
	return 0;
}

int orphans_merge(struct work *work, const json_t *found,
		  int (*list)(void *ctx, enum registry_kind kind, const struct row *row,
			      const char *reason),
		  void *ctx)
{
	struct orphans orphans = {.work = work, .list = list, .ctx = ctx};
	const json_t *store;
	size_t i;
	int r;

	json_array_foreach(found, i, store)
	{
		uint64_t cluster = number_of(store, "cluster");
		struct row row;

		r = store_load(work, REGISTRY_CLUSTER, cluster, &row);
		if (r == 0)
			continue; // the copy has no such cluster: its store stays as it is
		if (r == 1)
			r = merge_list(&orphans, REGISTRY_TOPIC, cluster,
				       json_object_get(store, "topics"));
		if (r == 0)
			r = merge_list(&orphans, REGISTRY_GROUP, cluster,
				       json_object_get(store, "groups"));
		if (r < 0)
			return r;
	}
	return 0;
}
