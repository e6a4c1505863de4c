// Ends batches and posts: health and memory get back what they gave, the caller is answered, and a
// sender that is being stopped learns when the last has ended.

#include "adapters/rabbitmq/send/answer.h"

#include "adapters/rabbitmq/send/health.h"
#include "adapters/rabbitmq/send/topic.h"
#include "core/base/clock.h"

static void pending_end(struct rabbitmq_sender *sender)
{
	pthread_mutex_lock(&sender->lock);
	assert(sender->pending > 0);
	if (--sender->pending == 0)
		pthread_cond_broadcast(&sender->idle);
	pthread_mutex_unlock(&sender->lock);
}

// What the topic asked for, as far as the cluster has it.
static enum durability durability_of(const struct adapter_topic *topic)
{
	uint32_t capabilities = __atomic_load_n(&topic->adapter->capabilities, __ATOMIC_ACQUIRE);

	return MIN((enum durability)topic->topic->durability,
		   capability_topic_durability(capabilities, topic->topic));
}

static void batch_end(struct rabbitmq_sender *sender, struct rabbitmq_batch *batch)
{
	struct adapter_topic *topic = batch->submit->topic;

	list_unlink(&batch->in_queue);
	rabbitmq_health_ended(sender->adapter, batch->submit->count, batch->alive,
			      clock_now_ns() - batch->queued_ns);
	__atomic_sub_fetch(&sender->bytes, batch->bytes, __ATOMIC_RELAXED);
	rabbitmq_batch_answer(batch, durability_of(topic));
	rabbitmq_topic_close(topic);
	pending_end(sender);
}

void rabbitmq_answer_record(struct rabbitmq_sender *sender, struct rabbitmq_batch *batch,
			    uint32_t index, enum outcome outcome, enum code code, bool alive)
{
	batch->alive |= alive;
	if ((outcome == OUTCOME_UNKNOWN || code == CODE_OVERLOADED) && !batch->broken)
		batch->broken = (uint16_t)code;
	if (rabbitmq_batch_end_one(batch, index, outcome, code))
		batch_end(sender, batch);
}

void rabbitmq_answer_rest(struct rabbitmq_sender *sender, struct rabbitmq_batch *batch,
			  enum code code)
{
	uint32_t next = batch->next, count = batch->submit->count;

	list_unlink(&batch->in_queue);
	batch->next = count;
	for (; next < count; ++next)
		rabbitmq_answer_record(sender, batch, next, OUTCOME_REJECTED, code, false);
}

void rabbitmq_answer_post(struct rabbitmq_sender *sender, struct rabbitmq_post *post,
			  enum outcome outcome, enum code code, const char *text, bool alive)
{
	rabbitmq_health_ended(sender->adapter, post->admitted, alive, 0);
	post->done(post, outcome, code, text);
	pending_end(sender);
}
