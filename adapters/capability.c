// Look-ups in the table of capabilities: which bit is missing, and what durability a cluster
// offers.
//
// Invariant: the table (capability.h) is the only place where a bit, its key and its sentence
// stand. The durability of a topic never exceeds that of its cluster. Not here: detecting what a
// backend can do, which is each adapter's part.

#include "adapters/capability.h"

#include "core/base/util.h"
#include "core/model/model.h"

#define CAPABILITY_ROW(name, bit, key, sentence) {CAP_##name, key, sentence},
static const struct capability_row rows[] = {CAPABILITY_TABLE(CAPABILITY_ROW)};
#undef CAPABILITY_ROW

const struct capability_row *capability_at(size_t index)
{
	return index < ARRAY_SIZE(rows) ? &rows[index] : NULL;
}

const struct capability_row *capability_missing(uint32_t capabilities, uint32_t needed)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); ++i)
		if (needed & ~capabilities & rows[i].bit)
			return &rows[i];
	return NULL;
}

enum code capability_check(uint32_t capabilities, uint32_t needed, const char **ret_text)
{
	const struct capability_row *missing = capability_missing(capabilities, needed);

	if (!missing)
		return CODE_OK;
	*ret_text = missing->sentence;
	return CODE_UNSUPPORTED_BY_BACKEND;
}

enum durability capability_durability(uint32_t capabilities)
{
	return capabilities & CAP_D3   ? DURABILITY_D3
	       : capabilities & CAP_D2 ? DURABILITY_D2
	       : capabilities & CAP_D1 ? DURABILITY_D1
				       : DURABILITY_D0;
}

// A backend that stores copies promises D3 only with a copy that is confirmed: a topic with one
// copy, or one that is confirmed by a single copy, survives a restart of its broker but not its
// loss. Without both numbers the cluster's own durability holds.
enum durability capability_topic_durability(uint32_t capabilities, const struct topic *topic)
{
	enum durability best = capability_durability(capabilities);

	if (!(capabilities & CAP_COPIES))
		return best;
	if (topic->replication == 1 || topic->min_insync == 1)
		return best > DURABILITY_D1 ? DURABILITY_D1 : best;
	return topic->replication && topic->min_insync ? DURABILITY_D3 : best;
}
