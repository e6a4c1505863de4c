// What a RabbitMQ cluster promises for the messages that we store there.
//
// A quorum queue has a message on the disks of most of its members before it is acknowledged, so
// one member is enough for a power cut (D2), and three for the loss of a machine (D3). A classic
// queue acknowledges what its disk may not have yet (D1). But policies of an operator can drop what
// was acknowledged, and only the management API shows them and the number of nodes: without it, and
// while there is such a policy, the class is D1.

#include "adapters/rabbitmq/admin/class.h"

#include <stdio.h>

#define COPIES_DEFAULT 3 // members of a quorum queue that asks for none, given as many nodes

uint32_t rabbitmq_class_copies(const struct adapter *adapter, const struct topic *topic)
{
	return topic->replication ? topic->replication : adapter->options.replication;
}

enum durability rabbitmq_class_of(const struct rabbitmq_options *options,
				  const struct rabbitmq_summary *summary, char *ret_reason)
{
	uint32_t copies = options->replication ? options->replication : COPIES_DEFAULT;

	if (options->queue != RABBITMQ_QUORUM) {
		snprintf(ret_reason, RABBITMQ_CLASS_REASON,
			 "groups have classic queues, and the broker acknowledges before its disk "
			 "has a message; quorum queues give class D2 or D3");
		return DURABILITY_D1;
	}
	if (!summary->known) {
		snprintf(ret_reason, RABBITMQ_CLASS_REASON,
			 "only the management API tells whether policies drop messages, and how "
			 "many nodes there are: %s",
			 summary->error);
		return DURABILITY_D1;
	}
	if (*summary->danger) {
		snprintf(ret_reason, RABBITMQ_CLASS_REASON, "%s", summary->danger);
		return DURABILITY_D1;
	}
	copies = MIN(copies, summary->nodes);
	snprintf(ret_reason, RABBITMQ_CLASS_REASON,
		 "quorum queues are kept on %u of %u %s, and most of these have a message on disk "
		 "before it is acknowledged",
		 copies, summary->nodes, summary->nodes == 1 ? "node" : "nodes");
	return copies >= 3 ? DURABILITY_D3 : DURABILITY_D2;
}

void rabbitmq_class_update(struct adapter *adapter)
{
	struct rabbitmq_summary summary;
	char reason[RABBITMQ_CLASS_REASON];
	uint32_t capabilities =
		CAP_EXACT_BACKLOG | CAP_DELAY | CAP_ATTEMPTS_SURVIVE | CAP_CONSUME | CAP_D1;
	enum durability durability;

	rabbitmq_manage_summary(adapter, &summary);
	durability = rabbitmq_class_of(&adapter->options, &summary, reason);
	if (adapter->options.history)
		capabilities |= CAP_HISTORY | CAP_QUERY_TIME | CAP_KEEPS_WITHOUT_GROUP;
	if (adapter->options.queue == RABBITMQ_QUORUM)
		capabilities |= CAP_COPIES;
	if (durability >= DURABILITY_D2)
		capabilities |= CAP_D2;
	if (durability >= DURABILITY_D3)
		capabilities |= CAP_D3;
	__atomic_store_n(&adapter->capabilities, capabilities, __ATOMIC_RELEASE);
}

uint32_t rabbitmq_class_capabilities(struct adapter *adapter)
{
	return __atomic_load_n(&adapter->capabilities, __ATOMIC_ACQUIRE);
}

// ---- what a topic asks for

// A broker takes a larger number of members than it has nodes, and makes fewer.
static bool copies_refused(const struct rabbitmq_job *job, const struct rabbitmq_summary *summary,
			   char *text, size_t size)
{
	const struct topic *topic = job->base.topic;
	uint32_t copies = rabbitmq_class_copies(job->adapter, topic);

	if (topic->replication && job->adapter->options.queue != RABBITMQ_QUORUM)
		snprintf(text, size, "a classic queue has one copy");
	else if (topic->replication > 1 && !summary->known)
		snprintf(text, size, "how many nodes could keep copies is not known: %s",
			 summary->error);
	else if (topic->replication > summary->nodes && summary->known)
		snprintf(text, size, "%u copies need as many nodes, and there are %u",
			 topic->replication, summary->nodes);
	else if (topic->min_insync && (!copies || topic->min_insync > copies / 2 + 1))
		snprintf(text, size,
			 "a quorum queue acknowledges what most of its copies have, so no more "
			 "than %u of %u can be asked for",
			 copies / 2 + 1, copies);
	else
		return false;
	return true;
}

static void class_known(struct rabbitmq_job *job)
{
	const struct topic *topic = job->base.topic;
	struct rabbitmq_summary summary;
	char reason[RABBITMQ_CLASS_REASON];
	bool refused;

	rabbitmq_manage_summary(job->adapter, &summary);
	refused = copies_refused(job, &summary, reason, sizeof reason) ||
		  rabbitmq_class_of(&job->adapter->options, &summary, reason) <
			  (enum durability)topic->durability;
	job->class_checked(job, refused ? reason : NULL);
}

static void refreshed(struct rabbitmq_manage_ask *ask)
{
	class_known(CONTAINER_OF(ask, struct rabbitmq_job, manage));
}

void rabbitmq_class_check(struct rabbitmq_job *job,
			  void (*then)(struct rabbitmq_job *job, const char *refusal))
{
	const struct topic *topic = job->base.topic;

	job->class_checked = then;
	job->manage = (struct rabbitmq_manage_ask){.adapter = job->adapter, .done = refreshed};
	if (topic->imported ||
	    (topic->durability < DURABILITY_D2 && !topic->replication && !topic->min_insync))
		then(job, NULL);
	else if (job->adapter->manage)
		rabbitmq_manage_refresh(&job->manage);
	else
		class_known(job);
}
