// Telling who follows the end of a topic.

#include "adapters/log/watch.h"

void log_watches_post(pthread_mutex_t *lock, struct list *watches)
{
	pthread_mutex_lock(lock);
	LIST_FOREACH(node, next, watches)
	{
		struct log_watch *watch = LIST_ENTRY(node, struct log_watch, node);

		if (!__atomic_exchange_n(&watch->posted, true, __ATOMIC_ACQ_REL))
			loop_post(watch->loop, &watch->task);
	}
	pthread_mutex_unlock(lock);
}
