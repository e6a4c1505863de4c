// Open topics: references, and whether the exchange is there.
//
// A topic that is opened is looked for at once, beside its first messages, which wait for the
// answer: its marker says that the exchange is of this incarnation, and a message to an exchange
// that is not there would end the channel of other topics. When the cluster cannot say, messages
// are sent all the same. A missing one is looked for again when messages come, once a second; each
// message to one that the user may not publish to costs a channel, so that is tried every 30 s
// only.
//
// Invariant: a topic is in the list of the sender from its first reference to its last. What it
// does not do: hold messages (sender.c).

#include "adapters/rabbitmq/send/topic.h"

#include "adapters/rabbitmq/send/sender_state.h"
#include "core/base/clock.h"

#define AGAIN_NS     (1 * S_NS)  // between two looks for a missing one
#define FORBIDDEN_NS (30 * S_NS) // of one that may not be sent to: looking does not tell

enum rabbitmq_topic_state rabbitmq_topic_state(const struct adapter_topic *topic)
{
	return (enum rabbitmq_topic_state)__atomic_load_n(&topic->state, __ATOMIC_ACQUIRE);
}

static void state_set(struct adapter_topic *topic, enum rabbitmq_topic_state state)
{
	__atomic_store_n(&topic->state, (uint8_t)state, __ATOMIC_RELEASE);
}

enum code rabbitmq_topic_refusal(const struct adapter_topic *topic)
{
	return (enum code)__atomic_load_n(&topic->refusal, __ATOMIC_ACQUIRE);
}

void rabbitmq_topic_refused(struct adapter_topic *topic, enum code code)
{
	__atomic_store_n(&topic->refusal, (uint16_t)code, __ATOMIC_RELEASE);
	state_set(topic, RABBITMQ_TOPIC_REFUSED);
}

// ---- references

struct adapter_topic *rabbitmq_topic_ref(struct adapter_topic *topic)
{
	struct rabbitmq_sender *sender = topic->adapter->sender;

	pthread_mutex_lock(&sender->lock);
	assert(topic->count > 0);
	++topic->count;
	pthread_mutex_unlock(&sender->lock);
	return topic;
}

void rabbitmq_topic_close(struct adapter_topic *topic)
{
	struct rabbitmq_sender *sender = topic->adapter->sender;
	bool last;

	pthread_mutex_lock(&sender->lock);
	assert(topic->count > 0);
	last = --topic->count == 0;
	if (last)
		list_unlink(&topic->in_sender);
	pthread_mutex_unlock(&sender->lock);
	if (!last)
		return;
	assert(topic->parked == 0 && topic->published == 0);
	model_unref(topic->topic);
	free(topic);
}

// With the lock; NULL: it is not open.
static struct adapter_topic *topic_find(struct rabbitmq_sender *sender, const struct topic *topic)
{
	LIST_FOREACH(node, next, &sender->topics)
	{
		struct adapter_topic *open = LIST_ENTRY(node, struct adapter_topic, in_sender);

		if (open->topic->object.id == topic->object.id &&
		    open->topic->incarnation == topic->incarnation &&
		    open->topic->partitions == topic->partitions &&
		    open->topic->native == topic->native)
			return open;
	}
	return NULL;
}

static struct adapter_topic *topic_new(struct adapter *adapter, const struct topic *topic)
{
	struct adapter_topic *made = calloc(1, sizeof *made);

	if (!made)
		return NULL;
	made->adapter = adapter;
	made->topic = model_ref(topic);
	made->count = 1;
	made->lane = (unsigned)(topic->object.id % RABBITMQ_LANES);
	made->marker = rabbitmq_name_marker(topic);
	made->asked.fn = adapter->sender->topic_asked;
	list_init(&made->in_sender);
	return made;
}

struct adapter_topic *rabbitmq_topic_open(struct adapter *adapter, const struct topic *topic)
{
	struct rabbitmq_sender *sender = adapter->sender;
	struct adapter_topic *made = topic_new(adapter, topic), *open;

	if (!made)
		return NULL;
	pthread_mutex_lock(&sender->lock);
	open = topic_find(sender, topic);
	if (open)
		++open->count;
	else
		list_push_back(&sender->topics, &made->in_sender);
	pthread_mutex_unlock(&sender->lock);
	if (open) {
		rabbitmq_topic_close(made);
		return open;
	}
	rabbitmq_topic_look(made);
	return made;
}

// ---- looking

// The reference of the look goes to the task.
static void on_looked(struct rabbitmq_ask *ask, enum code code, const char *text)
{
	struct adapter_topic *topic = CONTAINER_OF(ask, struct adapter_topic, ask);
	bool missing = topic->steps[0].missing || topic->steps[1].missing;

	if (code == CODE_OK && missing)
		rabbitmq_topic_refused(topic, CODE_NOT_FOUND);
	else if (code == CODE_OK)
		state_set(topic, RABBITMQ_TOPIC_THERE);
	else if (rabbitmq_topic_state(topic) == RABBITMQ_TOPIC_ASKED)
		state_set(topic, RABBITMQ_TOPIC_THERE);
	loop_post(topic->adapter->sender->loop, &topic->asked);
}

void rabbitmq_topic_look(struct adapter_topic *topic)
{
	bool forbidden = rabbitmq_topic_state(topic) == RABBITMQ_TOPIC_REFUSED &&
			 rabbitmq_topic_refusal(topic) == CODE_FORBIDDEN;
	uint64_t now_ns = clock_now_ns(), pause_ns = forbidden ? FORBIDDEN_NS : AGAIN_NS;
	struct rabbitmq_step *step = topic->steps;

	if (__atomic_exchange_n(&topic->asking, true, __ATOMIC_ACQ_REL))
		return;
	if (topic->asked_ns && now_ns - topic->asked_ns < pause_ns) {
		__atomic_store_n(&topic->asking, false, __ATOMIC_RELEASE);
		return;
	}
	topic->asked_ns = now_ns;
	memset(topic->steps, 0, sizeof topic->steps);
	if (!topic->topic->imported)
		*step++ = (struct rabbitmq_step){.verb = RABBITMQ_EXCHANGE_LOOK,
						 .may_miss = true,
						 .name = topic->marker.text};
	*step++ = (struct rabbitmq_step){
		.verb = RABBITMQ_EXCHANGE_LOOK, .may_miss = true, .name = topic->topic->physical};
	rabbitmq_topic_ref(topic);
	topic->ask = (struct rabbitmq_ask){.adapter = topic->adapter,
					   .steps = topic->steps,
					   .count = (size_t)(step - topic->steps),
					   .done = on_looked};
	rabbitmq_ask_run(&topic->ask);
}
