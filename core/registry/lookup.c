// Names to ids and back, for callers that have only one of them.

#include "core/registry/lookup.h"

#include "core/registry/registry.h"
#include "core/registry/store.h"
#include "core/registry/work.h"

uint64_t registry_lookup_id(struct registry *registry, const struct registry_ref *ref)
{
	struct registry_result result = {0};
	struct work work;
	struct row row;
	uint64_t id = 0;

	work_open(&work, registry, &result);
	if (store_resolve(&work, ref, &row) == 0)
		id = row.object.id;
	work_close(&work, 0);
	registry_result_deinit(&result);
	return id;
}

uint64_t registry_lookup_tenant_id(struct registry *registry, const char *name)
{
	struct registry_ref ref = {.kind = REGISTRY_TENANT, .name = name};

	return registry_lookup_id(registry, &ref);
}

const char *registry_lookup_name(struct registry *registry, enum registry_kind kind, uint64_t id)
{
	struct registry_result result = {0};
	struct work work;
	const char *name;

	work_open(&work, registry, &result);
	name = store_name(&work, kind, id);
	free(registry->name);
	registry->name = name ? strdup(name) : NULL;
	work_close(&work, 0);
	return registry->name;
}
