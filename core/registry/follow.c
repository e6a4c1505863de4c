// Keeps the rows of imported topics as the settings on their clusters are.
//
// A row holds what the topic's cluster says: message size within what a record of ours may have,
// times and sizes of retention as they are. Nothing is written while nothing changes.

#include "core/registry/follow.h"

#include "core/registry/audit.h"
#include "core/registry/registry.h"
#include "core/registry/store.h"
#include "core/registry/work.h"

#include <errno.h>

#define MESSAGE_BYTES_MIN 1024u // as in the table of fields
#define MESSAGE_BYTES_MAX (16u << 20)

static const struct registry_actor cluster_actor = {.name = "cluster"};

static uint64_t member_of(const json_t *settings, const char *name, uint64_t otherwise)
{
	const json_t *value = json_object_get(settings, name);

	return json_is_integer(value) && json_integer_value(value) >= 0
		       ? (uint64_t)json_integer_value(value)
		       : otherwise;
}

struct follow_settings follow_read(const json_t *settings)
{
	uint64_t bytes = member_of(settings, "message_bytes",
				   settings ? MESSAGE_BYTES_MAX : (uint64_t)1 << 20);

	return (struct follow_settings){
		.message_bytes =
			MIN(MAX(bytes, (uint64_t)MESSAGE_BYTES_MIN), (uint64_t)MESSAGE_BYTES_MAX),
		.retention_ms = member_of(settings, "retention_ms", 0),
		.retention_bytes = member_of(settings, "retention_bytes", 0),
	};
}

static int follow_write(struct work *work, uint64_t id, const json_t *settings)
{
	struct follow_settings now = follow_read(settings);
	json_t *before, *after;
	struct topic *topic;
	struct row row;
	int r = store_load(work, REGISTRY_TOPIC, id, &row);

	topic = &row.model.topic;
	if (r != 1 || !topic->imported || topic->state == MODEL_DELETING)
		return MIN(r, 0);
	before = store_json(work, REGISTRY_TOPIC, &row);
	topic->message_bytes = (uint32_t)now.message_bytes;
	topic->retention_ms = now.retention_ms;
	topic->retention_bytes = now.retention_bytes;
	after = store_json(work, REGISTRY_TOPIC, &row);
	r = before && after ? 0 : -ENOMEM;
	if (r == 0 && !json_equal(before, after)) {
		r = store_update(work, REGISTRY_TOPIC, &row);
		if (r == 0)
			r = audit_row(work, "followed", REGISTRY_TOPIC, &row, before, after);
	}
	json_decref(before);
	json_decref(after);
	return r;
}

int registry_follow(struct registry *registry, uint64_t topic, const json_t *settings)
{
	struct registry_result result = {0};
	struct work work;
	int r = work_begin(&work, registry, &cluster_actor, &result);

	if (r == 0)
		r = follow_write(&work, topic, settings);
	r = work_end(&work, r);
	registry_result_deinit(&result);
	return r;
}

int registry_follow_next(struct registry *registry, uint64_t after, uint64_t *ret)
{
	int64_t id = 0;
	int r = db_number(&registry->db, &id,
			  "SELECT id FROM topics WHERE imported = 1 AND state = 1 AND id > ?1"
			  " ORDER BY id LIMIT 1",
			  "i", (int64_t)after);

	if (r == 1)
		*ret = (uint64_t)id;
	return r;
}
