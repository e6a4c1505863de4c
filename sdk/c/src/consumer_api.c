// The application's side of a consumer: making it, pulling, pausing, closing.
//
// Any thread may call. Each call changes what the consumer's lock guards and wakes the I/O thread,
// which does the rest.
//
// Invariants: one pull runs at a time; after closing began no callback begins and no pull succeeds.
// A callback cannot close its own consumer (MQP_WOULD_DEADLOCK). Not here: receiving
// (consumer_io.c), callback threads (push.c), settling (delivery.c).

#include "sdk/c/src/consumer_api.h"

#include "core/base/clock.h"
#include "core/base/util.h"
#include "sdk/c/src/consumer.h"
#include "sdk/c/src/consumer_io.h"
#include "sdk/c/src/push.h"
#include "sdk/c/src/subscription.h"

#include <errno.h>

#define THREADS_MAX      1024u
#define MESSAGES_DEFAULT 1024u
#define MESSAGES_MAX     1000000u
#define BYTES_DEFAULT    (16ull << 20)
#define BYTES_MIN        (64ull << 10)
#define BYTES_MAX        (4ull << 30)
#define EXTEND_DEFAULT   600000u
#define EXTEND_MAX       86400000u
#define PULL_TELL_NS     (50 * MS_NS)
#define PULL_MAX         65535u
#define PULL_RETURN_NS   (20 * MS_NS)

void mqp_consumer_config_init(struct mqp_consumer_config *config, size_t size)
{
	if (!config || size < sizeof config->size)
		return;
	memset(config, 0, size);
	config->size = size;
}

static enum mqp_code config_take(struct mqp_consumer_config *to,
				 const struct mqp_consumer_config *from)
{
	if (from->size < sizeof from->size || from->size > sizeof *from)
		return MQP_INVALID_ARGUMENT;
	memset(to, 0, sizeof *to);
	memcpy(to, from, from->size);
	to->prefetch_bytes = to->prefetch_bytes ? to->prefetch_bytes : BYTES_DEFAULT;
	to->extend_max_ms = to->extend_max_ms ? to->extend_max_ms : EXTEND_DEFAULT;
	if (!to->group || !to->group[0] || strlen(to->group) > 256 ||
	    (to->threads > 0 && !to->callback) || to->threads > THREADS_MAX ||
	    to->prefetch_messages > MESSAGES_MAX || to->prefetch_bytes < BYTES_MIN ||
	    to->prefetch_bytes > BYTES_MAX || to->extend_max_ms > EXTEND_MAX)
		return MQP_INVALID_ARGUMENT;
	return MQP_OK;
}

// One for the process.
static struct barrier barrier;
static pthread_once_t barrier_once = PTHREAD_ONCE_INIT;

static void barrier_make(void)
{
	barrier_init(&barrier);
}

// With the barrier's lock held.
static void hand_woken(struct hand *hand)
{
	struct mqp_consumer *consumer = CONTAINER_OF(hand, struct mqp_consumer, hand);

	client_post(consumer->client, &consumer->member.work);
}

// The barrier is one for the process: a suspect may end the process whatever client it came over.
static int consumer_alloc(struct mqp_client *client, const struct mqp_consumer_config *config,
			  struct mqp_consumer **ret)
{
	struct mqp_consumer *consumer = calloc(1, sizeof *consumer);

	if (!consumer)
		return -ENOMEM;
	consumer->group = strdup(config->group);
	if (!consumer->group) {
		free(consumer);
		return -ENOMEM;
	}
	atomic_init(&consumer->refs, 1);
	consumer->client = client_ref(client);
	consumer->config = *config;
	consumer->config.group = consumer->group;
	consumer->status = MQP_TIMEOUT;
	pthread_mutex_init(&consumer->lock, NULL);
	client_cond_init(&consumer->changed);
	client_cond_init(&consumer->work);
	list_init(&consumer->subscriptions);
	pthread_once(&barrier_once, barrier_make);
	hand_init(&consumer->hand, &barrier, hand_woken, MAX(config->threads, 1u));
	consumer->hand.window_fixed = config->prefetch_messages > 0;
	consumer->hand.window_max =
		config->prefetch_messages ? config->prefetch_messages : MESSAGES_DEFAULT;
	consumer_io_init(consumer);
	*ret = consumer;
	return 0;
}

enum mqp_code mqp_consumer_new(struct mqp_client *client, const struct mqp_consumer_config *config,
			       struct mqp_consumer **ret_consumer)
{
	struct mqp_consumer_config checked;
	struct mqp_consumer *consumer;
	enum mqp_code code;
	int r;

	if (!client || !config || !ret_consumer)
		return MQP_INVALID_ARGUMENT;
	code = config_take(&checked, config);
	if (code != MQP_OK)
		return code;
	if (consumer_alloc(client, &checked, &consumer) < 0)
		return MQP_NO_MEMORY;
	r = push_start(consumer);
	if (r == 0 && client_join(client, &consumer->member) < 0)
		r = -ESHUTDOWN;
	if (r < 0) {
		push_stop(consumer);
		consumer_unref(consumer);
		errno = -r;
		return r == -ESHUTDOWN ? MQP_CLOSED : r == -ENOMEM ? MQP_NO_MEMORY : MQP_SYSTEM;
	}
	*ret_consumer = consumer;
	return MQP_OK;
}

static bool ready_done(void *ctx)
{
	const struct mqp_consumer *consumer = ctx;

	return consumer->open || consumer->closing ||
	       (consumer->status != MQP_TIMEOUT && !mqp_code_retriable(consumer->status));
}

enum mqp_code mqp_consumer_ready(struct mqp_consumer *consumer, int timeout_ms)
{
	enum mqp_code code;

	if (!consumer)
		return MQP_INVALID_ARGUMENT;
	if (client_blocked(consumer->client))
		return MQP_WOULD_DEADLOCK;
	client_wait(consumer->client, &consumer->lock, &consumer->changed, ready_done, consumer,
		    client_deadline(timeout_ms));
	pthread_mutex_lock(&consumer->lock);
	code = consumer->closing ? MQP_CLOSED : consumer->open ? MQP_OK : consumer->status;
	pthread_mutex_unlock(&consumer->lock);
	return code == MQP_OK || code == MQP_CLOSED ? code : client_why(consumer->client, code);
}

// ---- The queue -------------------------------------------------------------------------------

void consumer_api_release_queued(struct mqp_consumer *consumer)
{
	struct mqp_message *message;

	for (;;) {
		pthread_mutex_lock(&consumer->lock);
		message = consumer_pop(consumer);
		pthread_mutex_unlock(&consumer->lock);
		if (!message)
			return;
		mqp_message_free(message);
	}
}

// ---- Pull ------------------------------------------------------------------------------------

static bool pull_done(void *ctx)
{
	return ((const struct mqp_consumer *)ctx)->phase == PULL_DONE;
}

static bool pull_in_use(const struct mqp_consumer *consumer)
{
	return consumer->phase != PULL_NONE && consumer->phase != PULL_LEFT &&
	       consumer->phase != PULL_LEFT_UNASKED;
}

// The credit goes back a little before the deadline, so that the answer has time to come.
static uint64_t pull_return_ns(int wait_ms, uint64_t deadline_ns)
{
	uint64_t wait_ns = (uint64_t)MAX(wait_ms, 0) * MS_NS;

	return deadline_ns == UINT64_MAX ? deadline_ns
					 : deadline_ns - MIN(wait_ns / 4, PULL_RETURN_NS);
}

// Messages that have come while no pull ran have their begin told first, which takes a moment;
// the deadline leaves time for that.
static enum mqp_code pull_begin(struct mqp_consumer *consumer, unsigned max, int wait_ms,
				uint64_t *deadline_ns)
{
	enum mqp_code code = MQP_OK;

	pthread_mutex_lock(&consumer->lock);
	if (consumer->closing) {
		code = MQP_CLOSED;
	} else if (pull_in_use(consumer)) {
		code = MQP_IN_USE;
	} else {
		consumer->phase = consumer->hand.first ? PULL_TELLING : PULL_START;
		if (consumer->hand.first)
			*deadline_ns = MAX(*deadline_ns, clock_now_ns() + PULL_TELL_NS);
		consumer->pull_max = max;
		consumer->pull_return_ns = pull_return_ns(wait_ms, *deadline_ns);
		consumer_post(consumer);
	}
	pthread_mutex_unlock(&consumer->lock);
	return code;
}

// Takes what has come. Without a message: why, MQP_TIMEOUT if there is no better reason. Whatever
// the I/O still waits for, the caller does not.
static enum mqp_code pull_end(struct mqp_consumer *consumer, struct mqp_message **ret_messages,
			      unsigned *ret_count)
{
	enum mqp_code code = MQP_TIMEOUT;
	bool open;

	pthread_mutex_lock(&consumer->lock);
	for (*ret_count = 0; *ret_count < consumer->pull_ready; ++*ret_count)
		ret_messages[*ret_count] = consumer_pop(consumer);
	consumer->pull_ready = 0;
	open = consumer->open;
	if (consumer->phase == PULL_DONE) {
		code = consumer->pull_code;
		consumer->phase = PULL_NONE;
	} else {
		code = open ? MQP_TIMEOUT : consumer->status;
		consumer->phase = consumer->phase == PULL_START ? PULL_LEFT_UNASKED : PULL_LEFT;
		consumer_post(consumer);
	}
	pthread_mutex_unlock(&consumer->lock);
	if (*ret_count > 0)
		return MQP_OK;
	return open || code == MQP_CLOSED ? code : client_why(consumer->client, code);
}

enum mqp_code mqp_pull(struct mqp_consumer *consumer, unsigned max, int wait_ms,
		       struct mqp_message **ret_messages, unsigned *ret_count)
{
	uint64_t deadline_ns = client_deadline(wait_ms);
	enum mqp_code code;
	unsigned count;

	if (!consumer || consumer->config.callback || max < 1 || max > PULL_MAX || !ret_messages ||
	    !ret_count)
		return MQP_INVALID_ARGUMENT;
	if (client_blocked(consumer->client))
		return MQP_WOULD_DEADLOCK;
	code = pull_begin(consumer, max, wait_ms, &deadline_ns);
	if (code != MQP_OK)
		return code;
	client_wait(consumer->client, &consumer->lock, &consumer->changed, pull_done, consumer,
		    deadline_ns);
	code = pull_end(consumer, ret_messages, &count);
	if (code == MQP_OK)
		*ret_count = count;
	return code;
}

// ---- Pause -----------------------------------------------------------------------------------

static enum mqp_code consumer_set_paused(struct mqp_consumer *consumer, bool paused)
{
	enum mqp_code code = MQP_OK;

	if (!consumer || !consumer->config.callback)
		return MQP_INVALID_ARGUMENT;
	pthread_mutex_lock(&consumer->lock);
	if (consumer->closing) {
		code = MQP_CLOSED;
	} else {
		consumer->paused = paused;
		consumer_post(consumer);
		pthread_cond_broadcast(&consumer->work);
	}
	pthread_mutex_unlock(&consumer->lock);
	return code;
}

enum mqp_code mqp_consumer_pause(struct mqp_consumer *consumer)
{
	return consumer_set_paused(consumer, true);
}

enum mqp_code mqp_consumer_resume(struct mqp_consumer *consumer)
{
	return consumer_set_paused(consumer, false);
}

// ---- Closing ---------------------------------------------------------------------------------

static bool settled_done(void *ctx)
{
	const struct mqp_consumer *consumer = ctx;

	if (consumer->detached)
		return true;
	if (consumer->config.callback && consumer->hand.first)
		return false; // the I/O thread has yet to give them back
	LIST_FOREACH(node, next, &consumer->subscriptions)
	{
		const struct subscription *subscription =
			LIST_ENTRY(node, struct subscription, node);

		if (subscription->owed || !settle_queue_idle(&subscription->settle_queue))
			return false;
	}
	return true;
}

static bool detached_done(void *ctx)
{
	return ((const struct mqp_consumer *)ctx)->detached;
}

static void consumer_ask(struct mqp_consumer *consumer, bool *flag)
{
	pthread_mutex_lock(&consumer->lock);
	*flag = true;
	consumer_post(consumer);
	pthread_cond_broadcast(&consumer->changed);
	pthread_mutex_unlock(&consumer->lock);
}

// The order matters: no callback begins, those that run end, what they settled is confirmed or the
// time is over, and only then the I/O lets go. The last wait has no deadline, since the I/O always
// gets there.
enum mqp_code consumer_api_close(struct mqp_consumer *consumer, uint64_t deadline_ns)
{
	bool confirmed;

	if (push_is_inside(consumer))
		return MQP_WOULD_DEADLOCK;
	consumer_ask(consumer, &consumer->closing);
	push_stop(consumer);
	confirmed = client_wait(consumer->client, &consumer->lock, &consumer->changed, settled_done,
				consumer, deadline_ns);
	consumer_ask(consumer, &consumer->parting);
	client_wait(consumer->client, &consumer->lock, &consumer->changed, detached_done, consumer,
		    UINT64_MAX);
	pthread_mutex_lock(&consumer->lock);
	confirmed &= consumer->unconfirmed == 0;
	pthread_mutex_unlock(&consumer->lock);
	return confirmed ? MQP_OK : MQP_TIMEOUT;
}

enum mqp_code mqp_consumer_close(struct mqp_consumer *consumer, int timeout_ms)
{
	if (!consumer)
		return MQP_INVALID_ARGUMENT;
	if (client_blocked(consumer->client))
		return MQP_WOULD_DEADLOCK;
	return consumer_api_close(consumer, client_deadline(timeout_ms));
}

void mqp_consumer_free(struct mqp_consumer *consumer)
{
	if (!consumer || mqp_consumer_close(consumer, 0) == MQP_WOULD_DEADLOCK)
		return;
	client_part(consumer->client, &consumer->member);
	consumer_api_release_queued(consumer);
	consumer_unref(consumer);
}
