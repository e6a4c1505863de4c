// Tells the sources that follow the end of a topic that messages were appended.
//
// One task a source, posted once until its loop has run it: however fast a topic grows, a source is
// woken once for all of it. The task does not say what was appended; the source reads the bounds.
// The list and its lock are the topic's, and adding and removing are its backend's.

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
