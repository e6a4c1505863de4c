// One subscription of a consumer's group on one link.
//
// It exists until its stream and every delivery that came over it are gone: a message can be
// settled, or found to be stale, after its subscription has ended. It holds a reference to its
// consumer. Not here: what comes over it (consumer_io.c).

#include "sdk/c/src/subscription.h"

#include "sdk/c/src/consumer.h"

#include <errno.h>

int subscription_new(struct mqp_consumer *consumer, struct subscription **ret)
{
	struct subscription *subscription = calloc(1, sizeof *subscription);

	if (!subscription)
		return -ENOMEM;
	atomic_init(&subscription->refs, 1);
	list_init(&subscription->node);
	list_init(&subscription->stream.node);
	settle_queue_init(&subscription->settle_queue);
	subscription->consumer = consumer_ref(consumer);
	*ret = subscription;
	return 0;
}

struct subscription *subscription_ref(struct subscription *subscription)
{
	atomic_fetch_add(&subscription->refs, 1);
	return subscription;
}

void subscription_unref(struct subscription *subscription)
{
	if (!subscription || atomic_fetch_sub(&subscription->refs, 1) != 1)
		return;
	settle_queue_deinit(&subscription->settle_queue);
	consumer_unref(subscription->consumer);
	free(subscription);
}

bool subscription_is_open(const struct subscription *subscription)
{
	return subscription && subscription->stream.link && subscription->stream.open;
}
