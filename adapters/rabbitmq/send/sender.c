// Takes batches and posts from any thread and hands them to the lanes of the send link.
//
// What comes is put into a list; the first wakes the link, which takes all that is there, so a
// burst costs one wake. A batch of a topic that is still being looked for is parked until the
// answer. A timer of the link, while anything is pending, ends what has waited for too long.
//
// Invariant: whatever is taken is answered once, also when the sender is stopped; it is pending
// until then. What it does not do: wait on the link's thread, or copy a message.

#include "adapters/rabbitmq/send/sender.h"

#include "adapters/rabbitmq/send/answer.h"
#include "adapters/rabbitmq/send/health.h"
#include "adapters/rabbitmq/send/lane.h"
#include "adapters/rabbitmq/send/topic.h"
#include "core/base/clock.h"

#include <errno.h>
#include <time.h>

#define TICK_NS        (100 * MS_NS)
#define LOOK_MS        100 // between two looks at what is pending while the sender is stopped
#define RETRY_AFTER_MS 1000
#define OVERLOADED_MS  100

// ---- on the link's thread

static void lanes_pump(struct rabbitmq_sender *sender)
{
	for (size_t i = 0; i < ARRAY_SIZE(sender->lanes); ++i)
		rabbitmq_lane_pump(&sender->lanes[i]);
}

static void tick_set(struct rabbitmq_sender *sender)
{
	if (!sender->tick.at_ns && !sender->ended)
		loop_timer_set(&sender->tick, loop_now_ns(sender->loop) + TICK_NS);
}

static void batch_place(struct rabbitmq_sender *sender, struct rabbitmq_batch *batch)
{
	struct adapter_topic *topic = batch->submit->topic;

	if (topic->parked || rabbitmq_topic_state(topic) == RABBITMQ_TOPIC_ASKED) {
		++topic->parked;
		list_push_back(&sender->parked, &batch->in_queue);
	} else {
		list_push_back(&sender->lanes[topic->lane].batches, &batch->in_queue);
	}
}

static void post_place(struct rabbitmq_sender *sender, struct rabbitmq_post *post)
{
	if (post->admitted)
		list_push_back(&sender->lanes[RABBITMQ_LANES].posts, &post->in_queue);
	else
		rabbitmq_answer_post(sender, post, OUTCOME_REJECTED, CODE_BACKEND_DOWN, NULL,
				     false);
}

static void list_move(struct list *from, struct list *to)
{
	struct list *item;

	while ((item = list_pop_front(from)))
		list_push_back(to, item);
}

static void on_wake(struct loop_task *task)
{
	struct rabbitmq_sender *sender = CONTAINER_OF(task, struct rabbitmq_sender, wake);
	struct list *item, batches = LIST_INIT(batches), posts = LIST_INIT(posts);

	pthread_mutex_lock(&sender->lock);
	sender->woken = false;
	list_move(&sender->batches, &batches);
	list_move(&sender->posts, &posts);
	pthread_mutex_unlock(&sender->lock);
	while ((item = list_pop_front(&batches)))
		batch_place(sender, LIST_ENTRY(item, struct rabbitmq_batch, in_queue));
	while ((item = list_pop_front(&posts)))
		post_place(sender, LIST_ENTRY(item, struct rabbitmq_post, in_queue));
	lanes_pump(sender);
	tick_set(sender);
}

// The cluster has said whether a topic is there: what waited for that goes on, in order.
static void on_topic_asked(struct loop_task *task)
{
	struct adapter_topic *topic = CONTAINER_OF(task, struct adapter_topic, asked);
	struct rabbitmq_sender *sender = topic->adapter->sender;
	bool refused = rabbitmq_topic_state(topic) == RABBITMQ_TOPIC_REFUSED;
	struct list *item, these = LIST_INIT(these);

	__atomic_store_n(&topic->asking, false, __ATOMIC_RELEASE);
	LIST_FOREACH(node, next, &sender->parked)
	{
		struct rabbitmq_batch *batch = LIST_ENTRY(node, struct rabbitmq_batch, in_queue);

		if (batch->submit->topic != topic)
			continue;
		--topic->parked;
		list_unlink(node);
		list_push_back(&these, node);
	}
	while ((item = list_pop_front(&these))) {
		list_push_back(&sender->lanes[topic->lane].batches, item);
		if (refused)
			rabbitmq_answer_rest(sender,
					     LIST_ENTRY(item, struct rabbitmq_batch, in_queue),
					     rabbitmq_topic_refusal(topic));
	}
	rabbitmq_lane_pump(&sender->lanes[topic->lane]);
	rabbitmq_topic_close(topic);
}

static void parked_expire(struct rabbitmq_sender *sender, uint64_t before_ns, enum code code)
{
	while (!list_empty(&sender->parked)) {
		struct rabbitmq_batch *batch =
			LIST_ENTRY(sender->parked.next, struct rabbitmq_batch, in_queue);

		if (batch->queued_ns >= before_ns)
			break;
		--batch->submit->topic->parked;
		rabbitmq_answer_rest(sender, batch, code);
	}
}

static bool has_pending(struct rabbitmq_sender *sender)
{
	bool pending;

	pthread_mutex_lock(&sender->lock);
	pending = sender->pending > 0;
	pthread_mutex_unlock(&sender->lock);
	return pending;
}

static void on_tick(struct loop_timer *timer)
{
	struct rabbitmq_sender *sender = CONTAINER_OF(timer, struct rabbitmq_sender, tick);
	uint64_t now_ns = clock_now_ns(), timeout_ns = sender->adapter->options.timeout_ms * MS_NS;

	if (sender->ended)
		return;
	parked_expire(sender, now_ns > timeout_ns ? now_ns - timeout_ns : 0, CODE_BACKEND_DOWN);
	for (size_t i = 0; i < ARRAY_SIZE(sender->lanes); ++i)
		rabbitmq_lane_tick(&sender->lanes[i], now_ns);
	if (has_pending(sender))
		tick_set(sender);
}

static void on_start(struct loop_task *task)
{
	struct rabbitmq_sender *sender = CONTAINER_OF(task, struct rabbitmq_sender, start);

	for (size_t i = 0; i < ARRAY_SIZE(sender->lanes); ++i)
		rabbitmq_lane_open(&sender->lanes[i]);
}

// The last that the sender does.
static void on_finish(struct loop_task *task)
{
	struct rabbitmq_sender *sender = CONTAINER_OF(task, struct rabbitmq_sender, finish);

	sender->ended = true;
	loop_timer_cancel(&sender->tick);
	on_wake(&sender->wake); // what is still in the lists
	parked_expire(sender, UINT64_MAX, CODE_SHUTTING_DOWN);
	for (size_t i = 0; i < ARRAY_SIZE(sender->lanes); ++i)
		rabbitmq_lane_end(&sender->lanes[i]);
	pthread_mutex_lock(&sender->lock);
	sender->finished = true;
	pthread_cond_broadcast(&sender->idle);
	pthread_mutex_unlock(&sender->lock);
}

// ---- taking messages

// With the lock; true: the caller posts the task.
static bool wake_ask(struct rabbitmq_sender *sender)
{
	bool asleep = !sender->woken;

	++sender->pending;
	sender->woken = true;
	return asleep;
}

// False: the sender is being stopped.
static bool batch_queue(struct rabbitmq_sender *sender, struct rabbitmq_batch *batch)
{
	bool wake = false, taken;

	pthread_mutex_lock(&sender->lock);
	taken = !sender->stopping;
	if (taken) {
		list_push_back(&sender->batches, &batch->in_queue);
		wake = wake_ask(sender);
	}
	pthread_mutex_unlock(&sender->lock);
	if (wake)
		loop_post(sender->loop, &sender->wake);
	return taken;
}

static bool memory_take(struct rabbitmq_sender *sender, uint64_t bytes)
{
	uint64_t all = __atomic_add_fetch(&sender->bytes, bytes, __ATOMIC_RELAXED);

	if (all <= sender->adapter->options.memory_bytes || all == bytes)
		return true;
	__atomic_sub_fetch(&sender->bytes, bytes, __ATOMIC_RELAXED);
	return false;
}

// CODE_OK: it is on its way.
static enum code batch_take(struct rabbitmq_sender *sender, struct submit *submit)
{
	struct rabbitmq_batch *batch = rabbitmq_batch_new(submit, clock_now_ns());
	uint64_t bytes = batch ? batch->bytes : 0;
	enum code code = CODE_OVERLOADED;

	if (!batch || !memory_take(sender, bytes)) {
		free(batch);
		return CODE_OVERLOADED;
	}
	if (rabbitmq_health_admit(sender->adapter, submit->count)) {
		rabbitmq_topic_ref(submit->topic);
		if (batch_queue(sender, batch))
			return CODE_OK;
		rabbitmq_topic_close(submit->topic);
		rabbitmq_health_ended(sender->adapter, submit->count, false, 0);
		code = CODE_SHUTTING_DOWN;
	} else {
		code = CODE_BACKEND_DOWN;
	}
	__atomic_sub_fetch(&sender->bytes, bytes, __ATOMIC_RELAXED);
	free(batch);
	return code;
}

void rabbitmq_sender_submit(struct adapter *adapter, struct submit *submit)
{
	struct adapter_topic *topic = submit->topic;
	enum code code;

	if (rabbitmq_topic_state(topic) == RABBITMQ_TOPIC_REFUSED) {
		rabbitmq_topic_look(topic);
		submit_finish(submit, OUTCOME_REJECTED, rabbitmq_topic_refusal(topic), 0);
		return;
	}
	code = batch_take(adapter->sender, submit);
	if (code != CODE_OK)
		submit_finish(submit, OUTCOME_REJECTED, code,
			      code == CODE_OVERLOADED ? OVERLOADED_MS : RETRY_AFTER_MS);
}

void rabbitmq_sender_post(struct adapter *adapter, struct rabbitmq_post *post)
{
	struct rabbitmq_sender *sender = adapter->sender;
	bool wake = false, taken = false;

	post->posted_ns = clock_now_ns();
	post->admitted = rabbitmq_health_admit(adapter, 1);
	pthread_mutex_lock(&sender->lock);
	taken = !sender->stopping;
	if (taken) {
		list_push_back(&sender->posts, &post->in_queue);
		wake = wake_ask(sender);
	}
	pthread_mutex_unlock(&sender->lock);
	if (wake)
		loop_post(sender->loop, &sender->wake);
	if (taken)
		return;
	rabbitmq_health_ended(adapter, post->admitted, false, 0);
	post->done(post, OUTCOME_REJECTED, CODE_SHUTTING_DOWN, NULL);
}

// ---- beginning and end

int rabbitmq_sender_start(struct adapter *adapter)
{
	struct rabbitmq_sender *sender = calloc(1, sizeof *sender);
	pthread_condattr_t monotonic;

	if (!sender)
		return -ENOMEM;
	sender->room = rabbitmq_message_room_new();
	if (!sender->room) {
		free(sender);
		return -ENOMEM;
	}
	sender->adapter = adapter;
	sender->loop = rabbitmq_link_loop(adapter->send);
	sender->start.fn = on_start;
	sender->wake.fn = on_wake;
	sender->finish.fn = on_finish;
	sender->topic_asked = on_topic_asked;
	list_init(&sender->batches);
	list_init(&sender->posts);
	list_init(&sender->parked);
	list_init(&sender->topics);
	loop_timer_init(&sender->tick, sender->loop, on_tick);
	pthread_mutex_init(&sender->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&sender->idle, &monotonic);
	pthread_condattr_destroy(&monotonic);
	for (size_t i = 0; i < ARRAY_SIZE(sender->lanes); ++i)
		rabbitmq_lane_init(&sender->lanes[i], sender);
	adapter->sender = sender;
	loop_post(sender->loop, &sender->start);
	return 0;
}

static bool cluster_answers(struct adapter *adapter)
{
	struct adapter_state state;

	rabbitmq_health_state(adapter, &state);
	return state.circuit == CIRCUIT_CLOSED;
}

// With the lock, which it lets go meanwhile; looks after a link that hangs in a send.
static void rest(struct rabbitmq_sender *sender, uint64_t limit_ns)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += (long)(LOOK_MS * MS_NS);
	until.tv_sec += until.tv_nsec / (long)S_NS;
	until.tv_nsec %= (long)S_NS;
	pthread_cond_timedwait(&sender->idle, &sender->lock, &until);
	rabbitmq_link_watch(sender->adapter->send, clock_now_ns(), limit_ns);
}

void rabbitmq_sender_stop(struct adapter *adapter)
{
	struct rabbitmq_sender *sender = adapter->sender;
	uint64_t timeout_ns = adapter->options.timeout_ms * MS_NS;
	uint64_t deadline_ns = clock_now_ns() + timeout_ns;

	pthread_mutex_lock(&sender->lock);
	sender->stopping = true;
	while (sender->pending && clock_now_ns() < deadline_ns && cluster_answers(adapter))
		rest(sender, timeout_ns);
	pthread_mutex_unlock(&sender->lock);
	loop_post(sender->loop, &sender->finish);
	pthread_mutex_lock(&sender->lock);
	while (!sender->finished)
		rest(sender, S_NS);
	assert(sender->pending == 0);
	pthread_mutex_unlock(&sender->lock);
}

void rabbitmq_sender_free(struct adapter *adapter)
{
	struct rabbitmq_sender *sender = adapter->sender;

	assert(list_empty(&sender->topics));
	for (size_t i = 0; i < ARRAY_SIZE(sender->lanes); ++i)
		rabbitmq_lane_deinit(&sender->lanes[i]);
	rabbitmq_message_room_free(sender->room);
	pthread_cond_destroy(&sender->idle);
	pthread_mutex_destroy(&sender->lock);
	free(sender);
	adapter->sender = NULL;
}
