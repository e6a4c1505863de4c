// Checks of resources that need to know the adapters and the running clusters; the registry calls
// them before it stores a draft.
//
// What a kind or a cluster lacks is refused when the resource is made, not when the first message
// is sent. What is not known yet (the cluster has not answered so far) is left to the backend,
// whose refusal makes the resource `failed`.
//
// Texts of refusals are the registry's to free. Not here: ranges of single members (core/model).

#include "server/validate.h"

#include "adapters/kinds.h"
#include "core/base/util.h"
#include "server/daemon_state.h"

#include <errno.h>
#include <stdio.h>

static enum code validate_cluster(const struct cluster *cluster, const struct adapter_ops *ops,
				  char **ret_text)
{
	int r = ops->check ? ops->check(cluster, ret_text) : 0;

	return r == 0 ? CODE_OK : r == -EINVAL ? CODE_BAD_REQUEST : CODE_OVERLOADED;
}

// A cluster whose state is not known yet refuses nothing here. The durability is compared with what
// this topic would get, with its copies, not with the cluster's best.
static enum code validate_topic(struct proxy *proxy, const struct topic *topic,
				const struct cluster *cluster, char **ret_text)
{
	struct adapter_state state;
	enum durability best;
	enum code code = CODE_OK;
	uint32_t capabilities;
	const char *refusal;

	if (!proxy || !proxy_cluster_state(proxy, cluster->object.id, &state, &capabilities) ||
	    !state.known)
		return CODE_OK;
	if (topic->replication || topic->min_insync)
		code = capability_check(capabilities, CAP_COPIES, &refusal);
	if (code != CODE_OK) {
		if (asprintf(ret_text, "%s: cluster \"%s\": %s",
			     topic->replication ? "replication" : "min_insync", cluster->name,
			     refusal) < 0)
			*ret_text = NULL;
		return code;
	}
	best = capability_topic_durability(capabilities, topic);
	if ((enum durability)topic->durability <= best)
		return CODE_OK;
	if (asprintf(ret_text,
		     "durability: cluster \"%s\" keeps %sat most class D%d; its probe says why",
		     cluster->name,
		     topic->replication || topic->min_insync ? "the topic's copies in " : "",
		     best) < 0)
		*ret_text = NULL;
	return CODE_UNSUPPORTED_BY_BACKEND;
}

static bool keeps_positions(const struct adapter_ops *ops)
{
	return !(ops->lacks & CAP_POSITIONS);
}

static bool may_begin_before(const struct adapter_ops *ops, const struct cluster *cluster)
{
	return keeps_positions(ops) || (ops->keeps_history && ops->keeps_history(cluster));
}

static enum code validate_group(const struct group *group, const struct cluster *cluster,
				const struct adapter_ops *ops, char **ret_text)
{
	const char *refusal;

	if (!ops->source_open) {
		capability_check(0, CAP_CONSUME, &refusal);
		if (asprintf(ret_text, "topic: %s \"%s\"", refusal, cluster->name) < 0)
			*ret_text = NULL;
		return CODE_UNSUPPORTED_BY_BACKEND;
	}
	if (group->start == GROUP_START_LATEST || may_begin_before(ops, cluster))
		return CODE_OK;
	if (asprintf(ret_text,
		     "start: on cluster \"%s\" a group begins with what is sent after it was made: "
		     "\"latest\", or left out",
		     cluster->name) < 0)
		*ret_text = NULL;
	return CODE_UNSUPPORTED_BY_BACKEND;
}

enum group_start validate_group_start(void *ctx, const struct cluster *cluster)
{
	const struct adapter_ops *ops = adapter_kind_find(cluster->kind);

	return !ops || keeps_positions(ops) ? GROUP_START_EARLIEST : GROUP_START_LATEST;
}

enum code validate_draft(void *ctx, const struct model_object *draft, const struct cluster *cluster,
			 char **ret_text)
{
	const struct daemon *daemon = ctx;
	const void *object = draft;
	const struct adapter_ops *ops;

	if (draft->kind == MODEL_CLUSTER)
		cluster = object;
	ops = adapter_kind_find(cluster->kind);
	if (!ops) {
		*ret_text = strdup("kind: there is no such kind of cluster in this program");
		return CODE_BAD_REQUEST;
	}
	if (draft->kind == MODEL_CLUSTER)
		return validate_cluster(cluster, ops, ret_text);
	if (draft->kind == MODEL_TOPIC)
		return validate_topic(daemon->proxy, object, cluster, ret_text);
	return draft->kind == MODEL_GROUP ? validate_group(object, cluster, ops, ret_text)
					  : CODE_OK;
}

enum durability validate_durability(void *ctx, const struct topic *topic,
				    const struct cluster *cluster)
{
	const struct daemon *daemon = ctx;
	const struct adapter_ops *ops = adapter_kind_find(cluster->kind);
	struct adapter_state state;
	uint32_t capabilities;

	if (daemon->proxy &&
	    proxy_cluster_state(daemon->proxy, cluster->object.id, &state, &capabilities) &&
	    state.known)
		return capability_topic_durability(capabilities, topic);
	return ops ? ops->assured : DURABILITY_D2;
}
