// What tenants have stored, and the groups that wait for room, as the proxies last said.
//
// Two arrays, which each answer of the proxies replaces. A wait keeps the time of the first answer
// that had it. So an incident lasts while the proxies report it, and a restart of the portal finds
// it again, with a new time.
//
// Invariant: uses are sorted by tenant. Not here: measuring (the adapters), and limits (the proxy).

#include "portal-api/stored.h"

#include "core/base/util.h"
#include "core/registry/lookup.h"

#include <string.h>

struct stored {
	struct stored_use *uses;
	struct stored_wait *waits;
	size_t use_count, wait_count;
};

struct stored *stored_new(void)
{
	return calloc(1, sizeof(struct stored));
}

void stored_free(struct stored *stored)
{
	if (!stored)
		return;
	free(stored->uses);
	free(stored->waits);
	free(stored);
}

// ---- taking an answer

static uint64_t number_of(const json_t *row, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(row, name));
}

static void use_add(struct stored *stored, const json_t *tenant)
{
	const json_t *storage = json_object_get(tenant, "storage");

	if (!storage)
		return;
	stored->uses[stored->use_count++] = (struct stored_use){
		.tenant = number_of(tenant, "id"),
		.bytes = number_of(storage, "stored_bytes"),
		.reserve = number_of(storage, "reserve_bytes"),
		.reserve_used = number_of(storage, "reserve_used_bytes"),
		.estimated = json_is_true(json_object_get(storage, "estimated"))};
}

static int64_t since_of(const struct stored *before, uint64_t group, int64_t wall_ms)
{
	for (size_t i = 0; i < before->wait_count; ++i)
		if (before->waits[i].group == group)
			return before->waits[i].since_ms;
	return wall_ms;
}

static const char *what_of(const json_t *group)
{
	const char *waits = json_string_value(json_object_get(group, "storage_waits"));

	if (!waits)
		return NULL;
	return strcmp(waits, "retry") == 0 ? "retry" : "dead_letter";
}

static void waits_add(struct stored *stored, const json_t *tenant, const struct stored *before,
		      int64_t wall_ms)
{
	size_t i;
	json_t *group;

	json_array_foreach(json_object_get(tenant, "groups"), i, group)
	{
		const char *what = what_of(group);
		uint64_t id = number_of(group, "id");
		struct stored_wait *grown =
			what ? reallocarray(stored->waits, stored->wait_count + 1, sizeof *grown)
			     : NULL;

		if (!grown)
			continue;
		stored->waits = grown;
		stored->waits[stored->wait_count++] =
			(struct stored_wait){.tenant = number_of(tenant, "id"),
					     .group = id,
					     .since_ms = since_of(before, id, wall_ms),
					     .what = what};
	}
}

static int use_compare(const void *left, const void *right)
{
	const struct stored_use *a = left, *b = right;

	return a->tenant < b->tenant ? -1 : a->tenant > b->tenant;
}

void stored_take(struct stored *stored, const json_t *totals, int64_t wall_ms)
{
	const json_t *tenants = json_object_get(totals, "tenants");
	struct stored taken = {.uses = calloc(json_array_size(tenants) + 1, sizeof *taken.uses)};
	size_t i;
	json_t *tenant;

	if (!taken.uses)
		return; // what was told before stays
	json_array_foreach(tenants, i, tenant)
	{
		use_add(&taken, tenant);
		waits_add(&taken, tenant, stored, wall_ms);
	}
	qsort(taken.uses, taken.use_count, sizeof *taken.uses, use_compare);
	free(stored->uses);
	free(stored->waits);
	*stored = taken;
}

// ---- telling it

struct stored_use stored_of(const struct stored *stored, uint64_t tenant)
{
	struct stored_use key = {.tenant = tenant};
	const struct stored_use *use =
		stored->use_count
			? bsearch(&key, stored->uses, stored->use_count, sizeof key, use_compare)
			: NULL;

	return use ? *use : key;
}

void stored_each(const struct stored *stored, stored_use_fn fn, void *ctx)
{
	for (size_t i = 0; i < stored->use_count; ++i)
		fn(ctx, &stored->uses[i]);
}

void stored_each_wait(const struct stored *stored, stored_wait_fn fn, void *ctx)
{
	for (size_t i = 0; i < stored->wait_count; ++i)
		fn(ctx, &stored->waits[i]);
}

json_t *stored_json(const struct stored *stored, struct registry *registry, uint64_t tenant)
{
	struct stored_use use = stored_of(stored, tenant);
	json_t *waiting = json_array();

	for (size_t i = 0; i < stored->wait_count; ++i) {
		const struct stored_wait *wait = &stored->waits[i];
		const char *name =
			wait->tenant == tenant
				? registry_lookup_name(registry, REGISTRY_GROUP, wait->group)
				: NULL;

		if (name)
			json_array_append_new(waiting, json_pack("{s:s, s:s, s:I}", "group", name,
								 "waits", wait->what, "since_ms",
								 (json_int_t)wait->since_ms));
	}
	return json_pack("{s:I, s:b, s:I, s:I, s:o}", "stored_bytes", (json_int_t)use.bytes,
			 "estimated", use.estimated, "reserve_bytes", (json_int_t)use.reserve,
			 "reserve_used_bytes", (json_int_t)use.reserve_used, "waiting", waiting);
}
