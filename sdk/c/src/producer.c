// The application's side of a producer: making it, sending, flushing, closing.
//
// A send checks the message, copies it into the open batch under the lock, wakes the I/O if that is
// idle, and waits where the call waits. Any thread may call.
//
// Invariants: the memory of waiting messages is bounded by memory_bytes (one message always fits);
// every message that was accepted is reported once. After closing began nothing is accepted. Not
// here: all sending, which is in producer_io.c.

#include "sdk/c/src/producer.h"

#include "core/base/clock.h"
#include "core/base/util.h"
#include "sdk/c/src/message.h"
#include "sdk/c/src/producer_io.h"
#include "sdk/c/src/waiter.h"

#include <errno.h>

#define MEMORY_DEFAULT   (64ull << 20)
#define MEMORY_MIN       (64ull << 10)
#define MEMORY_MAX       (16ull << 30)
#define TIMEOUT_DEFAULT  30000u
#define TIMEOUT_MAX      86400000u
#define BATCH_DEFAULT    (128u << 10)
#define BATCH_MIN        (4u << 10)
#define BATCH_MAX        (16u << 20)
#define MESSAGES_DEFAULT 16384u
#define MESSAGES_MAX     65535u
#define LINGER_MAX       1000000u

void mqp_producer_config_init(struct mqp_producer_config *config, size_t size)
{
	if (!config || size < sizeof config->size)
		return;
	memset(config, 0, size);
	config->size = size;
}

static bool in_range(uint64_t value, uint64_t least, uint64_t greatest)
{
	return value >= least && value <= greatest;
}

// Copies, fills in defaults and checks.
static enum mqp_code config_take(struct mqp_producer_config *to,
				 const struct mqp_producer_config *from)
{
	if (from->size < sizeof from->size || from->size > sizeof *from)
		return MQP_INVALID_ARGUMENT;
	memset(to, 0, sizeof *to);
	memcpy(to, from, from->size);
	to->memory_bytes = to->memory_bytes ? to->memory_bytes : MEMORY_DEFAULT;
	to->send_timeout_ms = to->send_timeout_ms ? to->send_timeout_ms : TIMEOUT_DEFAULT;
	to->batch_bytes = to->batch_bytes ? to->batch_bytes : BATCH_DEFAULT;
	to->batch_messages = to->batch_messages ? to->batch_messages : MESSAGES_DEFAULT;
	if (!to->topic || !to->topic[0] || strlen(to->topic) > 256 ||
	    !in_range(to->memory_bytes, MEMORY_MIN, MEMORY_MAX) ||
	    !in_range(to->send_timeout_ms, 1, TIMEOUT_MAX) ||
	    !in_range(to->batch_bytes, BATCH_MIN, BATCH_MAX) ||
	    !in_range(to->batch_messages, 1, MESSAGES_MAX) || to->linger_us > LINGER_MAX ||
	    (unsigned)to->when_full > MQP_FULL_FAIL ||
	    (unsigned)to->compression > MQP_COMPRESSION_ZSTD)
		return MQP_INVALID_ARGUMENT;
	return MQP_OK;
}

static void queues_init(struct mqp_producer *producer)
{
	struct send_queue_config queue = {
		.memory_bytes = producer->config.memory_bytes,
		.linger_ns = producer->config.linger_us * 1000ull,
		.batch_bytes = producer->config.batch_bytes,
		.batch_messages = producer->config.batch_messages,
	};

	send_queue_init(&producer->acked, &queue);
	send_queue_init(&producer->oneway, &queue);
}

static void producer_destroy(struct mqp_producer *producer)
{
	send_queue_deinit(&producer->acked);
	send_queue_deinit(&producer->oneway);
	pthread_cond_destroy(&producer->changed);
	pthread_cond_destroy(&producer->room);
	pthread_mutex_destroy(&producer->lock);
	client_unref(producer->client);
	free(producer->topic);
	free(producer);
}

static int producer_alloc(struct mqp_client *client, const struct mqp_producer_config *config,
			  struct mqp_producer **ret)
{
	struct mqp_producer *producer = calloc(1, sizeof *producer);

	if (!producer)
		return -ENOMEM;
	producer->config = *config;
	producer->topic = strdup(config->topic);
	if (!producer->topic || ids_init(&producer->ids) < 0) {
		free(producer->topic);
		free(producer);
		return -ENOMEM;
	}
	producer->config.topic = producer->topic;
	producer->client = client_ref(client);
	producer->status = MQP_TIMEOUT;
	producer->max_record = UINT32_MAX / 4;
	pthread_mutex_init(&producer->lock, NULL);
	client_cond_init(&producer->changed);
	client_cond_init(&producer->room);
	queues_init(producer);
	producer_io_init(producer);
	*ret = producer;
	return 0;
}

enum mqp_code mqp_producer_new(struct mqp_client *client, const struct mqp_producer_config *config,
			       struct mqp_producer **ret_producer)
{
	struct mqp_producer_config checked;
	struct mqp_producer *producer;
	enum mqp_code code;

	if (!client || !config || !ret_producer)
		return MQP_INVALID_ARGUMENT;
	code = config_take(&checked, config);
	if (code != MQP_OK)
		return code;
	if (producer_alloc(client, &checked, &producer) < 0)
		return MQP_NO_MEMORY;
	if (client_join(client, &producer->member) < 0) {
		producer_destroy(producer);
		return MQP_CLOSED;
	}
	*ret_producer = producer;
	return MQP_OK;
}

enum mqp_code producer_why(struct mqp_producer *producer)
{
	enum mqp_code status;
	bool open;

	pthread_mutex_lock(&producer->lock);
	open = producer->open;
	status = open && producer->throttled ? MQP_THROTTLED : producer->status;
	pthread_mutex_unlock(&producer->lock);
	return client_why(producer->client, status);
}

// ---- Taking messages --------------------------------------------------------------------------

struct room {
	struct mqp_producer *producer;
	struct send_queue *queue;
	size_t charge;
};

// A sender that has to wait goes on when an eighth is free. If every batch that ends woke it, a
// fast sender and the I/O would do little but change places.
static bool room_done(void *ctx)
{
	const struct room *room = ctx;

	return room->producer->closing ||
	       (send_queue_is_relieved(room->queue) && send_queue_fits(room->queue, room->charge));
}

// Waits for memory without the lock. MQP_QUEUE_FULL, or why there is none within the time.
static enum mqp_code producer_wait_room(struct mqp_producer *producer, struct send_queue *queue,
					size_t size, uint64_t deadline_ns)
{
	struct room room = {producer, queue, send_queue_charge(size)};
	bool got;

	if (producer->config.when_full == MQP_FULL_FAIL || client_blocked(producer->client))
		return MQP_QUEUE_FULL;
	pthread_mutex_lock(&producer->lock);
	++queue->waiters;
	pthread_mutex_unlock(&producer->lock);
	got = client_wait(producer->client, &producer->lock, &producer->room, room_done, &room,
			  deadline_ns);
	pthread_mutex_lock(&producer->lock);
	--queue->waiters;
	got |= send_queue_fits(queue,
			       room.charge); // less than an eighth will do at the last moment
	pthread_mutex_unlock(&producer->lock);
	return got ? MQP_OK : producer_why(producer);
}

// A message on its way into a send queue.
struct taking {
	struct send_queue *queue;
	struct batch_entry entry;
	struct record_parts parts;
	size_t size;
	uint64_t now_ns;
	uint8_t id[MQP_ID_SIZE];
};

static void taking_init(struct taking *taking, struct mqp_producer *producer,
			const struct mqp_message *message, uint64_t timeout_ms)
{
	int64_t wall_ms;

	taking->now_ns = clock_now_ns();
	wall_ms = (int64_t)(taking->now_ns / MS_NS) +
		  atomic_load_explicit(&producer->client->wall_offset_ms, memory_order_relaxed);
	message_parts(message, taking->id, wall_ms, &taking->parts);
	taking->size = record_parts_size(&taking->parts);
	taking->entry.deadline_ns = taking->now_ns + timeout_ms * MS_NS;
	taking->entry.flags = message->parts.key.data ? BATCH_KEYED : 0;
}

// Under the lock. SEND_QUEUE_E_FULL, SEND_QUEUE_E_TOO_LARGE, -ESHUTDOWN, -ENOMEM.
static int producer_add(struct mqp_producer *producer, struct taking *taking)
{
	uint8_t *record;
	bool wake = false;
	int r;

	if (producer->closing)
		return -ESHUTDOWN;
	if (taking->size > producer->max_record)
		return SEND_QUEUE_E_TOO_LARGE;
	r = send_queue_add(taking->queue, taking->size, &taking->entry, taking->now_ns, &record,
			   &wake);
	if (r != 0)
		return r;
	ids_next(&producer->ids, taking->parts.created_ms, taking->id);
	record_write(&taking->parts, record);
	assert(record_size(record) == taking->size);
	++producer->taken;
	if (wake)
		client_post(producer->client, &producer->member.work);
	return 0;
}

static enum mqp_code code_of(int r)
{
	switch (r) {
	case 0: return MQP_OK;
	case SEND_QUEUE_E_TOO_LARGE: return MQP_TOO_LARGE;
	case -ESHUTDOWN: return MQP_CLOSED;
	default: return MQP_NO_MEMORY;
	}
}

static enum mqp_code producer_take(struct mqp_producer *producer, const struct mqp_message *message,
				   struct taking *taking, uint64_t timeout_ms)
{
	taking_init(taking, producer, message, timeout_ms);
	for (;;) {
		enum mqp_code code;
		int r;

		pthread_mutex_lock(&producer->lock);
		r = producer_add(producer, taking);
		pthread_mutex_unlock(&producer->lock);
		if (r != SEND_QUEUE_E_FULL)
			return code_of(r);
		code = producer_wait_room(producer, taking->queue, taking->size,
					  taking->entry.deadline_ns);
		if (code != MQP_OK)
			return code;
	}
}

enum mqp_code mqp_send_async(struct mqp_producer *producer, const struct mqp_message *message,
			     mqp_send_fn callback, void *arg)
{
	struct taking taking;

	if (!producer || !message)
		return MQP_INVALID_ARGUMENT;
	taking.queue = &producer->acked;
	taking.entry = (struct batch_entry){.done = callback, .arg = arg};
	return producer_take(producer, message, &taking, producer->config.send_timeout_ms);
}

enum mqp_code mqp_send_oneway(struct mqp_producer *producer, const struct mqp_message *message)
{
	struct taking taking;

	if (!producer || !message)
		return MQP_INVALID_ARGUMENT;
	taking.queue = &producer->oneway;
	taking.entry = (struct batch_entry){0};
	return producer_take(producer, message, &taking, producer->config.send_timeout_ms);
}

// A synchronous send on its caller's stack.
struct call {
	struct waiter waiter;
	bool done; // for a caller that runs the loop itself
	struct mqp_result result;
};

static void call_end(const struct mqp_result *result, void *arg)
{
	struct call *call = arg;

	call->result = *result;
	call->done = true;
	waiter_wake(&call->waiter);
}

static bool call_done(void *ctx)
{
	return ((const struct call *)ctx)->done;
}

enum mqp_code mqp_send(struct mqp_producer *producer, const struct mqp_message *message,
		       int timeout_ms, struct mqp_result *result)
{
	struct call call = {.done = false};
	struct taking taking;
	enum mqp_code code;

	if (!producer || !message || timeout_ms < 1 || timeout_ms > (int)TIMEOUT_MAX)
		return MQP_INVALID_ARGUMENT;
	if (client_blocked(producer->client))
		return MQP_WOULD_DEADLOCK;
	waiter_init(&call.waiter);
	taking.queue = &producer->acked;
	taking.entry = (struct batch_entry){.done = call_end, .arg = &call};
	code = producer_take(producer, message, &taking, (uint64_t)timeout_ms);
	if (code != MQP_OK) {
		if (result)
			result_refused(result, producer->topic, code);
		return code;
	}
	// The I/O ends every message at its deadline, so there is no second clock here.
	if (client_pumps(producer->client))
		client_wait(producer->client, &producer->lock, &producer->changed, call_done, &call,
			    UINT64_MAX);
	else
		waiter_wait(&call.waiter);
	if (result)
		*result = call.result;
	return call.result.code;
}

// ---- Waiting for all -------------------------------------------------------------------------

struct flush {
	struct mqp_producer *producer;
	uint64_t acked;
	uint64_t oneway;
};

static bool flush_done(void *ctx)
{
	const struct flush *flush = ctx;

	return send_queue_flushed(&flush->producer->acked, flush->acked) &&
	       send_queue_flushed(&flush->producer->oneway, flush->oneway);
}

static void producer_post(struct mqp_producer *producer)
{
	if (!producer->detached)
		client_post(producer->client, &producer->member.work);
}

static bool producer_wait(struct mqp_producer *producer, client_done_fn done, void *ctx,
			  uint64_t deadline_ns)
{
	return client_wait(producer->client, &producer->lock, &producer->changed, done, ctx,
			   deadline_ns);
}

enum mqp_code mqp_flush(struct mqp_producer *producer, int timeout_ms)
{
	struct flush flush = {.producer = producer};

	if (!producer)
		return MQP_INVALID_ARGUMENT;
	if (client_blocked(producer->client))
		return MQP_WOULD_DEADLOCK;
	pthread_mutex_lock(&producer->lock);
	flush.acked = send_queue_flush(&producer->acked);
	flush.oneway = send_queue_flush(&producer->oneway);
	producer_post(producer);
	pthread_mutex_unlock(&producer->lock);
	return producer_wait(producer, flush_done, &flush, client_deadline(timeout_ms))
		       ? MQP_OK
		       : producer_why(producer);
}

static bool ready_done(void *ctx)
{
	const struct mqp_producer *producer = ctx;

	return producer->open || producer->closing ||
	       (producer->status != MQP_TIMEOUT && !mqp_code_retriable(producer->status));
}

enum mqp_code mqp_producer_ready(struct mqp_producer *producer, int timeout_ms)
{
	enum mqp_code code;

	if (!producer)
		return MQP_INVALID_ARGUMENT;
	if (client_blocked(producer->client))
		return MQP_WOULD_DEADLOCK;
	producer_wait(producer, ready_done, producer, client_deadline(timeout_ms));
	pthread_mutex_lock(&producer->lock);
	code = producer->closing ? MQP_CLOSED : producer->open ? MQP_OK : producer->status;
	pthread_mutex_unlock(&producer->lock);
	return code == MQP_OK || code == MQP_CLOSED ? code : client_why(producer->client, code);
}

// ---- Closing ---------------------------------------------------------------------------------

static bool empty_done(void *ctx)
{
	const struct mqp_producer *producer = ctx;

	return producer->detached || (!producer->acked.messages && !producer->oneway.messages);
}

static bool detached_done(void *ctx)
{
	return ((const struct mqp_producer *)ctx)->detached;
}

static void producer_ask(struct mqp_producer *producer, bool *flag)
{
	pthread_mutex_lock(&producer->lock);
	*flag = true;
	send_queue_flush(&producer->acked);
	send_queue_flush(&producer->oneway);
	producer_post(producer);
	pthread_cond_broadcast(&producer->changed);
	pthread_cond_broadcast(&producer->room);
	pthread_mutex_unlock(&producer->lock);
}

// Waits for the answers of everything until the deadline, then cancels the rest, then lets the I/O
// detach. The later waits have no deadline, since they end within a round or two.
enum mqp_code producer_close(struct mqp_producer *producer, uint64_t deadline_ns)
{
	bool all;

	producer_ask(producer, &producer->closing);
	all = producer_wait(producer, empty_done, producer, deadline_ns);
	if (!all) {
		producer_ask(producer, &producer->cancel);
		producer_wait(producer, empty_done, producer, UINT64_MAX);
	}
	producer_ask(producer, &producer->parting);
	producer_wait(producer, detached_done, producer, UINT64_MAX);
	return all ? MQP_OK : MQP_TIMEOUT;
}

enum mqp_code mqp_producer_close(struct mqp_producer *producer, int timeout_ms)
{
	if (!producer)
		return MQP_INVALID_ARGUMENT;
	if (client_blocked(producer->client))
		return MQP_WOULD_DEADLOCK;
	return producer_close(producer, client_deadline(timeout_ms));
}

void mqp_producer_free(struct mqp_producer *producer)
{
	if (!producer || mqp_producer_close(producer, 0) == MQP_WOULD_DEADLOCK)
		return;
	client_part(producer->client, &producer->member);
	producer_destroy(producer);
}
