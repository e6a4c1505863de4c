// Slots that are being written: each file that lands takes its functions out of here.

#include "adapters/kafka/kafka.h"

#define NOT_YET "the kafka adapter cannot do this yet"

// group_reset.c
void kafka_group_reset(struct adapter *adapter, const struct group *group,
		       const struct topic *topic, const json_t *to, bool preview,
		       adapter_json_fn done, void *ctx)
{
	done(ctx, CODE_UNSUPPORTED_BY_BACKEND, NULL, NOT_YET);
}

// retry.c
void kafka_due(struct adapter *adapter, struct log_due *due)
{
	due->code = CODE_UNSUPPORTED_BY_BACKEND;
	loop_post(due->loop, &due->task);
}
int retry_stores_start(struct adapter *adapter)
{
	return 0;
}
void retry_stores_stop(struct retry_stores *retries)
{
}
