// Looks at the backlog of every group in rounds, so that metrics and lists need not ask.
//
// A few groups at a time are asked for their backlog. Then, partition by partition, the message at
// the committed position is read, because it says how old the oldest is. A position that has not
// moved since the last round has the same message, so a group that stands still costs no read, and
// one that makes progress is read where its messages are in memory.
//
// Invariants: at most AT_ONCE groups are asked at a time, and READS positions of one group in a
// round. A group that cannot be asked keeps what was known, with the time of it. An entry is freed
// only between rounds, when no query of it is under way.
//
// Not here: the backlog of one group on request (groups.c).

#include "portal-api/backlogs.h"

#include "core/base/clock.h"
#include "core/base/map.h"
#include "core/base/util.h"
#include "core/catalog/catalog.h"
#include "portal-api/portal_query.h"
#include "portal-api/state.h"

#include <errno.h>

#define ROUND_NS (10 * S_NS) // from the beginning of one round to the next
#define AT_ONCE  4u
#define READS    16u // positions looked up for one group in one round

struct position {
	uint32_t partition;
	bool open;          // something of it is not acknowledged
	uint64_t committed; // UINT64_MAX: not looked up
	int64_t stored_ms;  // of the message there; 0: not known
	bool due;           // to be looked up
};

struct entry {
	struct map_node by_id;
	struct backlogs *backlogs;
	struct backlog_row row;
	struct backlog_row next; // while it is being looked at
	uint64_t topic, dead_letter;
	struct position *positions;
	size_t count, at;
	unsigned reads;
	uint64_t round; // in which it was last seen
	char *problem;  // why it stands still, or its cluster does not have it; NULL: neither
};

struct backlogs {
	struct portal *portal;
	struct map entries;
	uint64_t *queue; // group ids of this round
	size_t count, at, room;
	unsigned asked;
	uint64_t round, due_ns;
};

static struct entry *find_entry(const struct backlogs *backlogs, uint64_t group)
{
	struct map_node *node = map_find(&backlogs->entries, group);

	return node ? CONTAINER_OF(node, struct entry, by_id) : NULL;
}

static struct entry *find_or_add(struct backlogs *backlogs, const struct group *group)
{
	struct entry *entry = find_entry(backlogs, group->object.id);

	if (entry)
		return entry;
	entry = calloc(1, sizeof *entry);
	if (!entry)
		return NULL;
	*entry = (struct entry){
		.by_id.key = group->object.id,
		.backlogs = backlogs,
		.topic = group->topic,
		.row = {.group = group->object.id, .tenant = group->tenant, .oldest_ms = -1}};
	if (map_put(&backlogs->entries, &entry->by_id) == 0)
		return entry;
	free(entry);
	return NULL;
}

static void entry_free(struct entry *entry)
{
	free(entry->problem);
	free(entry->positions);
	free(entry);
}

// ---- one group

static void next_groups(struct backlogs *backlogs);
static void next_position(struct entry *entry);

static void entry_done(struct entry *entry)
{
	--entry->backlogs->asked;
	next_groups(entry->backlogs);
}

// The oldest of what is known; -1 where something that is open is not known.
static void entry_take(struct entry *entry)
{
	int64_t oldest_ms = 0;

	for (size_t i = 0; i < entry->count; ++i) {
		const struct position *position = &entry->positions[i];

		if (!position->open)
			continue;
		if (position->stored_ms && (oldest_ms <= 0 || position->stored_ms < oldest_ms))
			oldest_ms = position->stored_ms;
		else if (!position->stored_ms && !oldest_ms)
			oldest_ms = -1;
	}
	entry->next.oldest_ms = oldest_ms;
	entry->next.at_ms = clock_wall_ms();
	entry->row = entry->next;
	entry_done(entry);
}

static void on_message(void *ctx, enum code code, json_t *answer, const char *text)
{
	struct entry *entry = ctx;
	const json_t *message = json_array_get(json_object_get(answer, "messages"), 0);

	if (code == CODE_OK)
		entry->positions[entry->at].stored_ms =
			json_integer_value(json_object_get(message, "stored_ms"));
	json_decref(answer);
	++entry->at;
	next_position(entry);
}

// Goes on with the next partition that is due. May run inside the previous answer, since a query
// may be answered before portal_query() returns.
static void next_position(struct entry *entry)
{
	const struct position *position;

	while (entry->at < entry->count && !entry->positions[entry->at].due)
		++entry->at;
	if (entry->at == entry->count || entry->reads == READS ||
	    entry->backlogs->portal->stopping) {
		entry_take(entry);
		return;
	}
	++entry->reads;
	position = &entry->positions[entry->at];
	portal_query(entry->backlogs->portal, QUERY_MESSAGES,
		     json_pack("{s:I, s:I, s:I, s:i, s:b}", "topic", (json_int_t)entry->topic,
			       "partition", (json_int_t)position->partition, "offset",
			       (json_int_t)position->committed, "limit", 1, "bodies", 0),
		     on_message, entry);
}

static uint64_t number_of(const json_t *object, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(object, name));
}

static bool positions_room(struct entry *entry, size_t count)
{
	struct position *positions;

	if (count <= entry->count)
		return true;
	positions = realloc(entry->positions, count * sizeof *positions);
	if (!positions)
		return false;
	for (size_t i = entry->count; i < count; ++i)
		positions[i] = (struct position){.committed = UINT64_MAX};
	entry->positions = positions;
	entry->count = count;
	return true;
}

// What a cluster without positions does not say is what was found of it.
static uint64_t sent_of(const json_t *row)
{
	return number_of(row, "ready") + number_of(row, "in_flight") + number_of(row, "retrying") +
	       number_of(row, "delayed") + number_of(row, "acked") + number_of(row, "dead") +
	       number_of(row, "expired") + number_of(row, "skipped") - number_of(row, "replayed");
}

// What became of the messages that are not in the backlog.
static void outcomes_take(struct backlog_row *to, const json_t *row)
{
	to->replayed += number_of(row, "replayed");
	to->acked += number_of(row, "acked");
	to->dead += number_of(row, "dead");
	to->expired += number_of(row, "expired");
	to->skipped += number_of(row, "skipped");
}

// A position behind the first offset holds nothing any more: the oldest message is then the first
// one. Only an open position whose message is not known is read.
static void position_take(struct entry *entry, size_t index, const json_t *row)
{
	struct position *position = &entry->positions[index];
	bool positions = json_is_integer(json_object_get(row, "end"));
	uint64_t committed = number_of(row, "committed"), first = number_of(row, "first"),
		 ready = number_of(row, "ready"), in_flight = number_of(row, "in_flight");

	entry->next.ready += ready;
	entry->next.in_flight += in_flight;
	entry->next.retrying += number_of(row, "retrying");
	entry->next.delayed += number_of(row, "delayed");
	outcomes_take(&entry->next, row);
	entry->next.sent += positions ? number_of(row, "end") : sent_of(row);
	entry->next.positions = entry->next.positions && positions;
	committed = MAX(committed, first);
	position->partition = (uint32_t)number_of(row, "partition");
	position->open = ready + in_flight > 0;
	position->due = positions && position->open &&
			(position->committed != committed || !position->stored_ms);
	if (position->committed != committed)
		position->stored_ms = 0;
	position->committed = committed;
}

// Why no dead letter leaves the group; NULL: it may.
static char *refusal_describe(const struct entry *entry, const json_t *answer)
{
	const char *name = json_string_value(json_object_get(answer, "dead_letter_refused"));
	const struct topic *topic;
	enum code code;
	char *text;
	int r;

	if (!name || code_parse(name, &code) < 0)
		return NULL;
	topic = catalog_topic(entry->backlogs->portal->config.catalog, entry->dead_letter);
	r = asprintf(&text,
		     "dead-letter topic %s refuses copies: %s, %s; rejected messages stay with the "
		     "group, which stands still when they take all its places",
		     topic ? topic->name : "of the group", name, code_sentence(code));
	model_unref(topic);
	return r < 0 ? NULL : text;
}

// Other failures say nothing about the group.
static void problem_note(struct entry *entry, enum code code, const json_t *answer,
			 const char *text)
{
	if (code != CODE_OK && code != CODE_NOT_FOUND)
		return;
	free(entry->problem);
	entry->problem = code == CODE_OK ? refusal_describe(entry, answer)
					 : strdup(text ? text : code_sentence(code));
}

static void on_backlog(void *ctx, enum code code, json_t *answer, const char *text)
{
	struct entry *entry = ctx;
	const json_t *partitions = json_object_get(answer, "partitions"), *row;
	size_t i;

	problem_note(entry, code, answer, text);
	if (code != CODE_OK || !positions_room(entry, json_array_size(partitions))) {
		json_decref(answer);
		entry_done(entry);
		return;
	}
	entry->next = (struct backlog_row){
		.group = entry->row.group, .tenant = entry->row.tenant, .positions = true};
	json_array_foreach(partitions, i, row) position_take(entry, i, row);
	json_decref(answer);
	entry->at = entry->reads = 0;
	next_position(entry);
}

// ---- rounds

static void group_note(void *ctx, const struct model_object *object)
{
	const struct group *group = (const struct group *)(const void *)object;
	struct backlogs *backlogs = ctx;
	struct entry *entry = group->state == MODEL_READY ? find_or_add(backlogs, group) : NULL;

	if (!entry)
		return;
	entry->round = backlogs->round;
	entry->dead_letter = group->dead_letter;
	if (backlogs->count == backlogs->room) {
		size_t room = MAX(2 * backlogs->room, (size_t)64);
		uint64_t *queue = realloc(backlogs->queue, room * sizeof *queue);

		if (!queue)
			return;
		backlogs->queue = queue;
		backlogs->room = room;
	}
	backlogs->queue[backlogs->count++] = group->object.id;
}

// Groups that are gone.
static void entries_forget(struct backlogs *backlogs)
{
	struct map_node *node, *next = NULL;
	size_t cursor = 0;

	while ((node = map_next(&backlogs->entries, &cursor, &next))) {
		struct entry *entry = CONTAINER_OF(node, struct entry, by_id);

		if (entry->round == backlogs->round)
			continue;
		map_remove(&backlogs->entries, node);
		entry_free(entry);
	}
}

static void next_groups(struct backlogs *backlogs)
{
	while (backlogs->asked < AT_ONCE && backlogs->at < backlogs->count &&
	       !backlogs->portal->stopping) {
		struct entry *entry = find_entry(backlogs, backlogs->queue[backlogs->at++]);

		if (!entry)
			continue;
		++backlogs->asked;
		portal_query(backlogs->portal, QUERY_BACKLOG,
			     json_pack("{s:I}", "group", (json_int_t)entry->row.group), on_backlog,
			     entry);
	}
}

void backlogs_tick(struct backlogs *backlogs)
{
	uint64_t now_ns = clock_now_ns();

	if (backlogs->asked || backlogs->at < backlogs->count || now_ns < backlogs->due_ns ||
	    !backlogs->portal->config.catalog || !backlogs->portal->config.queries)
		return;
	backlogs->due_ns = now_ns + ROUND_NS;
	++backlogs->round;
	backlogs->count = backlogs->at = 0;
	catalog_each(backlogs->portal->config.catalog, MODEL_GROUP, group_note, backlogs);
	entries_forget(backlogs);
	next_groups(backlogs);
}

int backlogs_new(struct portal *portal, struct backlogs **ret)
{
	struct backlogs *backlogs = calloc(1, sizeof *backlogs);

	if (!backlogs)
		return -ENOMEM;
	backlogs->portal = portal;
	*ret = backlogs;
	return 0;
}

void backlogs_free(struct backlogs *backlogs)
{
	if (!backlogs)
		return;
	backlogs->round = UINT64_MAX;
	entries_forget(backlogs);
	map_deinit(&backlogs->entries);
	free(backlogs->queue);
	free(backlogs);
}

void backlogs_each(const struct backlogs *backlogs, backlog_row_fn fn, void *ctx)
{
	struct map_node *node, *next = NULL;
	size_t cursor = 0;

	while ((node = map_next(&backlogs->entries, &cursor, &next)))
		fn(ctx, &CONTAINER_OF(node, struct entry, by_id)->row);
}

const char *backlogs_problem(const struct backlogs *backlogs, uint64_t group)
{
	const struct entry *entry = find_entry(backlogs, group);

	return entry ? entry->problem : NULL;
}
