// The kinds of backend that this build has. A new adapter is one row here.
//
// Nothing else in the tree names an adapter's operations. Not here: opening a cluster, which the
// proxy does through the row.

#include "adapters/kinds.h"

#include "adapters/adapter.h"
#include "core/base/util.h"

extern const struct adapter_ops discard_ops;
extern const struct adapter_ops embedded_ops;
extern const struct adapter_ops kafka_ops;
extern const struct adapter_ops rabbitmq_ops;

static const struct adapter_ops *const kinds[] = {
	&embedded_ops,
	&kafka_ops,
	&rabbitmq_ops,
	&discard_ops,
};

const struct adapter_ops *adapter_kind_at(size_t index)
{
	return index < ARRAY_SIZE(kinds) ? kinds[index] : NULL;
}

const struct adapter_ops *adapter_kind_find(const char *kind)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); ++i)
		if (strcmp(kinds[i]->kind, kind) == 0)
			return kinds[i];
	return NULL;
}
