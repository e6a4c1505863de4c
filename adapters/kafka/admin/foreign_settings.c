// Tells the settings of a topic that was not made here, as its cluster has them: a slot of the
// adapter. It does not write any; settings of our topics are written by topic/topic_settings.c.

#include "adapters/kafka/admin/foreign_settings.h"

#include "adapters/kafka/admin/admin_request.h"
#include "adapters/kafka/topic/observed_settings.h"

static void describe_run(struct adapter *adapter, struct admin_request *request)
{
	const struct topic *topic = request->base.topic;
	struct observed_settings *settings = request->work;

	settings->names[0] = topic->physical;
	settings->count = 1;
	if (!admin_request_failed(request, adapter, observed_settings_read(adapter, settings),
				  NULL))
		request->answer = (struct adapter_answer){
			.kind = ANSWER_SETTINGS,
			.settings = observed_settings_answer(settings, 0, topic->partitions)};
}

void foreign_settings_describe(struct adapter *adapter, const struct topic *topic,
			       adapter_answer_fn done, void *ctx)
{
	struct admin_request *request = admin_request_new(
		&(struct request){.topic = topic, .answer_done = done, .ctx = ctx},
		sizeof(struct observed_settings));

	if (request)
		admin_request_start(adapter, request, describe_run);
}
