// The registry of the simulation: a handful of tenants whose names are numbers, and every state it
// ever had, so that what a proxy holds can be compared with what the registry was.

#include "tests/sim/follow_log.h"

#include "tests/sim/sim.h"

#include <stdio.h>

enum { OBJECTS = 5, ENTRIES = 512 };

struct state {
	struct follow_entry entry;
	uint64_t values[OBJECTS];    // 0: it is not there
	uint64_t revisions[OBJECTS]; // of the last change of each
};

static struct state states[ENTRIES];
static size_t count;
static uint64_t last_value, last_source;

static struct state *newest(void)
{
	return &states[count - 1];
}

static void add(const struct state *state, uint64_t now_ns)
{
	SIM_MUST(count < ENTRIES);
	if (count)
		newest()->entry.until_ns = now_ns;
	states[count] = *state;
	states[count++].entry.until_ns = UINT64_MAX;
}

void follow_log_start(uint64_t now_ns)
{
	struct state first = {
		.entry.position = {.source = 100, .revision = 1}, .values = {1}, .revisions = {1}};

	count = 0;
	last_value = 1;
	last_source = 100;
	add(&first, now_ns);
}

void follow_log_change(uint64_t now_ns)
{
	struct state next = *newest();
	size_t i = sim_below(OBJECTS);

	++next.entry.position.revision;
	next.values[i] = next.values[i] && sim_one_in(4) ? 0 : ++last_value;
	next.revisions[i] = next.entry.position.revision;
	add(&next, now_ns);
}

void follow_log_restore(uint64_t now_ns)
{
	struct state next = states[sim_below(count)];

	next.entry.position.source = ++last_source;
	add(&next, now_ns);
}

const struct follow_entry *follow_log_newest(void)
{
	return &newest()->entry;
}

static const struct state *state_find(struct link_position position)
{
	for (size_t i = count; i > 0; --i)
		if (link_position_same(states[i - 1].entry.position, position))
			return &states[i - 1];
	return NULL;
}

const struct follow_entry *follow_log_find(struct link_position position)
{
	const struct state *state = state_find(position);

	return state ? &state->entry : NULL;
}

static void put_object(struct change_writer *writer, size_t i, uint64_t value, uint64_t revision)
{
	char name[24];
	struct tenant draft = {.object = {.id = i + 1, .revision = revision}, .name = name};
	struct model_object *object;

	snprintf(name, sizeof name, "t%llu", (unsigned long long)value);
	object = model_new(MODEL_TENANT, &draft);
	SIM_MUST(object && change_put(writer, object) == 0);
	model_unref(object);
}

struct catalog_change *follow_log_make(struct link_position from, struct link_position to)
{
	static const struct state nothing;
	bool full = from.revision == 0;
	const struct state *old = full ? &nothing : state_find(from), *new = state_find(to);
	struct change_head head = {
		.full = full, .source = to.source, .from = from.revision, .to = to.revision};
	struct change_writer writer;

	SIM_MUST(old && new && change_begin(&writer, &head, NULL) == 0);
	for (size_t i = 0; i < OBJECTS; ++i) {
		if (new->values[i] && new->values[i] != old->values[i])
			put_object(&writer, i, new->values[i], new->revisions[i]);
		else if (!new->values[i] && old->values[i])
			SIM_MUST(change_gone(&writer, MODEL_TENANT, i + 1) == 0);
	}
	return change_end(&writer);
}

void follow_log_compare(struct catalog *catalog)
{
	static const struct state nothing;
	const struct link_position position = {catalog_source(catalog), catalog_revision(catalog)};
	const struct state *state = position.revision ? state_find(position) : &nothing;

	SIM_MUST(state);
	for (size_t i = 0; i < OBJECTS; ++i) {
		const struct tenant *tenant = catalog_tenant(catalog, i + 1);

		SIM_EQUAL(tenant ? strtoull(tenant->name + 1, NULL, 10) : 0, state->values[i]);
		model_unref(tenant);
	}
}
