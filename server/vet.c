// A capability that a kind lacks is refused when the resource is made, not when the first message
// is sent.

#include "server/vet.h"

#include "adapters/adapter.h"
#include "core/base/util.h"

enum code vet_draft(void *ctx, const struct model_object *draft, const struct cluster *cluster,
		    char **ret_text)
{
	const struct adapter_ops *ops = adapter_find(
		(draft->kind == MODEL_CLUSTER ? (const struct cluster *)(const void *)draft
					      : cluster)
			->kind);

	if (!ops) {
		*ret_text = strdup("kind: there is no such kind of cluster in this program");
		return CODE_BAD_REQUEST;
	}
	if (draft->kind == MODEL_GROUP && !ops->source_open) {
		*ret_text = strdup(
			"topic: its cluster keeps no message, so nothing can be consumed from it");
		return CODE_UNSUPPORTED_BY_BACKEND;
	}
	return CODE_OK;
}
