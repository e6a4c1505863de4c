// Takes back what was sent behind a refused batch, and sends all but the guilty record again.
//
// When a broker refuses a batch for the sake of one record, everything queued behind it is taken
// back before it can be sent: on_acknowledgement interceptors run on the broker's thread, which
// sends nothing before it has looked at its operations, and a purge is one. So the refused batch
// and what comes after it are in our hands, in the order of sending. The batch is halved until the
// guilty record is alone; what is later of that partition waits, everything else is handed over
// again at once.
//
// Two locks. The gate is held for reading by threads that enqueue, and for writing by the one that
// takes back or hands over again, so no record slips in between. `lock` is for lists that several
// readers of the gate append to. Nothing is answered with either.
//
// Invariants:
// - While a slot is `taking`, nothing is enqueued on its producer.
// - `wanted` counts refusals that were seen; taking ends only when all their reports have come: the
//   purge that is waited for passes every broker's thread behind the refusal.
// - Of a partition with a split, at most one portion is with the producer, and all else is queued.
//
// What it does not do: rows of retry stores that are purged fail, as when a broker is away, and are
// written again by their group. With several requests in flight for one partition a later one may
// pass; librdkafka has one (docs/adapters/kafka-internals.md, in_flight).

#include "adapters/kafka/produce/resend.h"

#include "adapters/kafka/client/error.h"
#include "adapters/kafka/client/health.h"
#include "adapters/kafka/produce/produce.h"
#include "adapters/kafka/produce/reports.h"
#include "adapters/kafka/produce/sender.h"
#include "adapters/kafka/topic/topic.h"
#include "core/base/clock.h"

#include <errno.h>

#define PORTION_MAX 10000u
#define GUILTY_MAX  16u // single records refused in a row; then the rest of their batch is

// A report that was no end.
struct taken {
	uint16_t *place;
	uint64_t report;
	rd_kafka_resp_err_t error;
	bool guilty; // it was alone in its batch
};

// Records that wait in order: a vector with a moving front.
struct places {
	uint16_t **at;
	size_t front, end, room;
};

// A partition that is being divided. It keeps its topic open.
struct split {
	struct list node;
	struct split *next; // of those that have ended
	struct kafka_partition *partition;
	struct places queue;
	struct places back;        // what comes back to the front of `queue`
	uint32_t under_way;        // of the portion that is with the producer
	uint32_t portion;          // records handed over together
	uint32_t suspects;         // records in front, one of which is guilty for sure
	uint32_t rest;             // records in front of the batch that was refused first
	uint32_t guilty;           // refused alone, one after the other
	bool failed;               // the portion was refused
	rd_kafka_resp_err_t error; // how
};

struct slot {
	bool taking;          // atomic
	uint64_t wanted;      // under the gate
	rd_kafka_t *handle;   // that it is taken back from
	struct list splits;   // under the gate
	uint32_t split_count; // atomic
	struct taken *taken;  // of the producer's thread
	size_t count, room;
};

struct resend {
	pthread_rwlock_t gate;
	pthread_mutex_t lock;
	struct slot slots[SENDER_SLOTS];
	struct reports *waiting, **waiting_end; // under lock
	uint64_t held_bytes;                    // under lock
	bool leaving;                           // under the gate
};

// What ends with the gate closed is answered, or freed, when it is open again.
struct endings {
	struct reports *batches;
	uint32_t refused;
	struct split *splits;
};

// ---- records in order

static bool places_push(struct places *places, uint16_t *place)
{
	if (places->end == places->room) {
		size_t room = places->room ? 2 * places->room : 256;
		uint16_t **at = realloc(places->at, room * sizeof *at);

		if (!at)
			return false;
		places->at = at;
		places->room = room;
	}
	places->at[places->end++] = place;
	return true;
}

static uint16_t *places_pop(struct places *places)
{
	return places->front < places->end ? places->at[places->front++] : NULL;
}

static void places_deinit(struct places *places)
{
	free(places->at);
	*places = (struct places){0};
}

// ---- ends

static void end_one(struct endings *endings, uint16_t *place, rd_kafka_resp_err_t error)
{
	struct reports *reports = reports_of(place);
	struct submit_run run = reports_refused(reports->submit, *place, error);

	++endings->refused;
	if (!reports_note(reports, *place, &run))
		return;
	reports->next = endings->batches;
	endings->batches = reports;
}

static void endings_answer(struct adapter *adapter, struct endings *endings)
{
	if (endings->refused)
		health_ended(adapter, endings->refused, true, 0);
	while (endings->batches) {
		struct reports *reports = endings->batches;

		endings->batches = reports->next;
		reports_answer(reports);
	}
	while (endings->splits) {
		struct split *split = endings->splits;

		endings->splits = split->next;
		places_deinit(&split->queue);
		places_deinit(&split->back);
		kafka_topic_close(split->partition->topic);
		free(split);
	}
}

// ---- the gate

int resend_start(struct adapter *adapter)
{
	struct resend *resend = calloc(1, sizeof *resend);
	pthread_rwlockattr_t attributes;

	if (!resend)
		return -ENOMEM;
	pthread_rwlockattr_init(&attributes);
	pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&resend->gate, &attributes);
	pthread_rwlockattr_destroy(&attributes);
	pthread_mutex_init(&resend->lock, NULL);
	resend->waiting_end = &resend->waiting;
	for (unsigned i = 0; i < SENDER_SLOTS; ++i)
		list_init(&resend->slots[i].splits);
	adapter->resend = resend;
	return 0;
}

void resend_enter(struct adapter *adapter)
{
	pthread_rwlock_rdlock(&adapter->resend->gate);
}

void resend_leave(struct adapter *adapter)
{
	pthread_rwlock_unlock(&adapter->resend->gate);
}

static void gate_close(struct adapter *adapter)
{
	pthread_rwlock_wrlock(&adapter->resend->gate);
}

static void gate_open(struct adapter *adapter, struct endings *endings)
{
	pthread_rwlock_unlock(&adapter->resend->gate);
	endings_answer(adapter, endings);
}

// ---- what waits

bool resend_holds(struct adapter *adapter, const struct adapter_topic *topic)
{
	const struct slot *slot = &adapter->resend->slots[topic->slot];

	return topic->moving || __atomic_load_n(&slot->taking, __ATOMIC_ACQUIRE);
}

// With `lock`. What waits is bounded as what is on its way is.
static bool hold_bytes(struct adapter *adapter, uint64_t bytes)
{
	if (adapter->resend->held_bytes + bytes > adapter->options.memory_bytes)
		return false;
	adapter->resend->held_bytes += bytes;
	return true;
}

static uint64_t batch_bytes(const struct reports *reports)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < reports->submit->count; ++i)
		bytes += reports->submit->records[i].size;
	return bytes;
}

bool resend_hold(struct adapter *adapter, struct reports *reports)
{
	struct resend *resend = adapter->resend;
	bool held;

	pthread_mutex_lock(&resend->lock);
	held = hold_bytes(adapter, batch_bytes(reports));
	if (held) {
		reports->next = NULL;
		*resend->waiting_end = reports;
		resend->waiting_end = &reports->next;
	}
	pthread_mutex_unlock(&resend->lock);
	return held;
}

static uint32_t place_bytes(const uint16_t *place)
{
	return reports_of(place)->submit->records[*place].size;
}

bool resend_queue(struct adapter *adapter, struct kafka_partition *partition, uint16_t *place)
{
	struct resend *resend = adapter->resend;
	struct split *split = partition->split;
	bool queued;

	pthread_mutex_lock(&resend->lock);
	queued = hold_bytes(adapter, place_bytes(place));
	if (queued && !places_push(&split->queue, place)) {
		resend->held_bytes -= place_bytes(place);
		queued = false;
	}
	pthread_mutex_unlock(&resend->lock);
	return queued;
}

// With the gate closed: hands over what may go now, in order; the rest waits on.
static void waiting_go(struct adapter *adapter, struct endings *endings)
{
	struct resend *resend = adapter->resend;
	struct reports *reports = resend->waiting;

	resend->waiting = NULL;
	resend->waiting_end = &resend->waiting;
	while (reports) {
		struct reports *next = reports->next;

		resend->held_bytes -= batch_bytes(reports);
		if (produce_batch(adapter, reports)) {
			reports->next = endings->batches;
			endings->batches = reports;
		}
		reports = next;
	}
}

// ---- refusals, as they come

void resend_ended(struct adapter *adapter, unsigned number, rd_kafka_t *handle,
		  const rd_kafka_message_t *message)
{
	struct slot *slot = &adapter->resend->slots[number];

	if (rd_kafka_message_status(message) != RD_KAFKA_MSG_STATUS_NOT_PERSISTED ||
	    (message->err && !kafka_error_is_of_record(message->err)) ||
	    rd_kafka_topic_opaque(message->rkt))
		return;
	gate_close(adapter);
	++slot->wanted;
	if (!slot->taking && !adapter->resend->leaving) {
		slot->handle = handle;
		__atomic_store_n(&slot->taking, true, __ATOMIC_RELEASE);
		rd_kafka_purge(handle, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_NON_BLOCKING);
	}
	resend_leave(adapter);
}

static struct split *split_of(const rd_kafka_message_t *message)
{
	const uint16_t *place = message->_private;
	struct kafka_partition *partition = kafka_topic_partition(reports_of(place)->submit->topic,
								  (uint32_t)message->partition);

	return partition ? partition->split : NULL;
}

static bool taken_add(struct slot *slot, const rd_kafka_message_t *message, uint64_t report)
{
	if (slot->count == slot->room) {
		size_t room = slot->room ? 2 * slot->room : 1024;
		struct taken *taken = realloc(slot->taken, room * sizeof *taken);

		if (!taken)
			return false;
		slot->taken = taken;
		slot->room = room;
	}
	slot->taken[slot->count++] =
		(struct taken){.place = message->_private, .report = report, .error = message->err};
	return true;
}

bool resend_takes(struct adapter *adapter, unsigned number, uint64_t report,
		  const rd_kafka_message_t *message)
{
	struct slot *slot = &adapter->resend->slots[number];

	if (!__atomic_load_n(&slot->taking, __ATOMIC_ACQUIRE) ||
	    rd_kafka_message_status(message) != RD_KAFKA_MSG_STATUS_NOT_PERSISTED ||
	    (message->err != RD_KAFKA_RESP_ERR__PURGE_QUEUE &&
	     !kafka_error_is_of_record(message->err)))
		return false;
	return taken_add(slot, message, report);
}

// One of its front has ended.
static void split_passed(struct split *split)
{
	split->under_way -= split->under_way > 0;
	split->suspects -= split->suspects > 0;
	split->rest -= split->rest > 0;
}

void resend_reported(struct adapter *adapter, unsigned number, const rd_kafka_message_t *message)
{
	struct split *split;

	if (!__atomic_load_n(&adapter->resend->slots[number].split_count, __ATOMIC_ACQUIRE))
		return;
	resend_enter(adapter);
	split = split_of(message);
	if (split) {
		split_passed(split);
		split->guilty = message->err ? split->guilty : 0;
	}
	resend_leave(adapter);
}

// ---- dividing; all with the gate closed

static struct split *split_get(struct slot *slot, struct kafka_partition *partition)
{
	struct split *split = partition->split;

	if (split)
		return split;
	split = calloc(1, sizeof *split);
	if (!split)
		return NULL;
	split->partition = partition;
	kafka_topic_ref(partition->topic);
	split->portion = PORTION_MAX;
	partition->split = split;
	list_push_back(&slot->splits, &split->node);
	__atomic_add_fetch(&slot->split_count, 1, __ATOMIC_ACQ_REL);
	return split;
}

static void split_end(struct slot *slot, struct split *split, struct endings *endings)
{
	split->partition->split = NULL;
	list_unlink(&split->node);
	__atomic_sub_fetch(&slot->split_count, 1, __ATOMIC_ACQ_REL);
	split->next = endings->splits;
	endings->splits = split;
}

static struct kafka_partition *partition_of(const uint16_t *place)
{
	const struct submit *submit = reports_of(place)->submit;

	return kafka_topic_partition(submit->topic, submit->records[*place].partition);
}

// A batch of `count` was refused.
static void batch_suspect(struct slot *slot, struct taken *taken, size_t count)
{
	struct kafka_partition *partition = partition_of(taken->place);
	struct split *split = partition->split;

	taken->guilty = count == 1;
	if (count > 1)
		split = split_get(slot, partition);
	if (!split)
		return;
	split->failed = true;
	split->error = taken->error;
	if (taken->guilty) {
		++split->guilty;
		return;
	}
	split->portion = (uint32_t)MIN(count / 2, (size_t)PORTION_MAX);
	split->suspects = (uint32_t)count;
	split->rest = MAX(split->rest, (uint32_t)count);
}

// The reports lie as they came: those of a batch together.
static void suspects_find(struct slot *slot)
{
	for (size_t i = 0, end; i < slot->count; i = end) {
		for (end = i + 1; end < slot->count; ++end)
			if (slot->taken[end].report != slot->taken[i].report)
				break;
		if (slot->taken[i].error != RD_KAFKA_RESP_ERR__PURGE_QUEUE)
			batch_suspect(slot, &slot->taken[i], end - i);
	}
}

static int taken_compare(const void *left, const void *right)
{
	return reports_compare_places(((const struct taken *)left)->place,
				      ((const struct taken *)right)->place);
}

// Checks it once more: the settings may be known by now.
static rd_kafka_resp_err_t place_send(struct adapter *adapter, rd_kafka_t *handle, uint16_t *place)
{
	struct reports *reports = reports_of(place);
	uint64_t since_ns = reports->submit->submitted_ns;
	struct send_target target;

	if (since_ns && clock_now_ns() - since_ns > adapter->options.timeout_ms * MS_NS)
		return RD_KAFKA_RESP_ERR__MSG_TIMED_OUT;
	if (!produce_target(reports->submit->topic, handle, &target))
		return RD_KAFKA_RESP_ERR__QUEUE_FULL;
	return produce_one(&target, reports, *place);
}

static void taken_return(struct adapter *adapter, rd_kafka_t *handle, struct taken *taken,
			 struct endings *endings)
{
	struct split *split = partition_of(taken->place)->split;
	rd_kafka_resp_err_t error = taken->guilty ? taken->error : RD_KAFKA_RESP_ERR_NO_ERROR;

	if (split && taken->guilty)
		split_passed(split);
	else if (split)
		split->under_way -= split->under_way > 0;
	if (!error && !split)
		error = place_send(adapter, handle, taken->place);
	else if (!error && !places_push(&split->back, taken->place))
		error = RD_KAFKA_RESP_ERR__QUEUE_FULL;
	if (error)
		end_one(endings, taken->place, error);
}

// What comes back goes before what is queued.
static void split_refill(struct adapter *adapter, struct split *split)
{
	uint16_t *place;
	size_t more = split->back.end;

	for (size_t i = 0; i < more; ++i)
		adapter->resend->held_bytes += place_bytes(split->back.at[i]);
	while (more && (place = places_pop(&split->queue)))
		if (!places_push(&split->back, place)) {
			--split->queue.front; // no memory: the order is kept by what fits later
			return;
		}
	if (!more)
		return;
	places_deinit(&split->queue);
	split->queue = split->back;
	split->back = (struct places){0};
}

static bool portion_next(struct adapter *adapter, struct split *split, rd_kafka_t *handle,
			 struct endings *endings)
{
	bool hopeless = split->guilty >= GUILTY_MAX && split->rest;
	uint32_t left = hopeless ? split->rest : split->portion;
	uint16_t *place;

	while (left-- && (place = places_pop(&split->queue))) {
		rd_kafka_resp_err_t error;

		adapter->resend->held_bytes -= place_bytes(place);
		++split->under_way;
		error = hopeless ? split->error : place_send(adapter, handle, place);
		if (!error)
			continue;
		split_passed(split);
		end_one(endings, place, error);
	}
	if (hopeless)
		split->guilty = 0;
	return split->under_way > 0;
}

// The next portion: half of those one of which is guilty; else twice as large as one that went
// well.
static void split_go(struct adapter *adapter, struct slot *slot, struct split *split,
		     rd_kafka_t *handle, struct endings *endings)
{
	if (split->under_way)
		return;
	if (!split->failed)
		split->portion = split->suspects ? (split->suspects + 1) / 2
						 : MIN(2 * split->portion, PORTION_MAX);
	split->failed = false;
	while (split->queue.front < split->queue.end)
		if (portion_next(adapter, split, handle, endings))
			return;
	split_end(slot, split, endings);
}

static void splits_go(struct adapter *adapter, struct slot *slot, rd_kafka_t *handle,
		      struct endings *endings)
{
	LIST_FOREACH(node, next, &slot->splits)
	{
		split_go(adapter, slot, LIST_ENTRY(node, struct split, node), handle, endings);
	}
}

// Refuses what is queued: the adapter is closing.
static void splits_end(struct adapter *adapter, struct slot *slot, struct endings *endings)
{
	LIST_FOREACH(node, next, &slot->splits)
	{
		struct split *split = LIST_ENTRY(node, struct split, node);
		uint16_t *place;

		while ((place = places_pop(&split->queue))) {
			adapter->resend->held_bytes -= place_bytes(place);
			end_one(endings, place, RD_KAFKA_RESP_ERR__PURGE_QUEUE);
		}
		split_end(slot, split, endings);
	}
}

// With the gate closed.
static void waiting_end(struct resend *resend, struct endings *endings)
{
	for (struct reports *reports = resend->waiting, *next; reports; reports = next) {
		next = reports->next;
		for (uint32_t i = 0, count = reports->submit->count; i < count; ++i)
			end_one(endings, &reports->numbers[i], RD_KAFKA_RESP_ERR__PURGE_QUEUE);
	}
	resend->waiting = NULL;
	resend->waiting_end = &resend->waiting;
}

// ---- taking back

static void taken_go(struct adapter *adapter, struct slot *slot, rd_kafka_t *handle,
		     struct endings *endings)
{
	suspects_find(slot);
	qsort(slot->taken, slot->count, sizeof *slot->taken, taken_compare);
	for (size_t i = 0; i < slot->count; ++i)
		taken_return(adapter, handle, &slot->taken[i], endings);
	LIST_FOREACH(node, next, &slot->splits)
	{
		split_refill(adapter, LIST_ENTRY(node, struct split, node));
	}
}

// The producer was replaced meanwhile, or the adapter is closing.
static void taken_end(struct slot *slot, struct endings *endings)
{
	for (size_t i = 0; i < slot->count; ++i) {
		struct split *split = partition_of(slot->taken[i].place)->split;

		if (split)
			split_passed(split);
		end_one(endings, slot->taken[i].place, slot->taken[i].error);
	}
}

static void doubt_settings(const struct slot *slot)
{
	for (size_t i = 0; i < slot->count; ++i)
		if (kafka_error_is_of_record(slot->taken[i].error))
			kafka_topic_settings_doubt(reports_of(slot->taken[i].place)->submit->topic);
}

static void take_back(struct adapter *adapter, struct slot *slot, unsigned number)
{
	struct endings endings = {0};
	rd_kafka_t *handle;
	uint64_t wanted;

	gate_close(adapter);
	for (;;) {
		wanted = slot->wanted;
		resend_leave(adapter);
		sender_take_back(slot->handle);
		gate_close(adapter);
		if (wanted == slot->wanted)
			break;
	}
	doubt_settings(slot);
	handle = sender_enter_slot(adapter, number);
	if (handle == slot->handle && !adapter->resend->leaving)
		taken_go(adapter, slot, handle, &endings);
	else
		taken_end(slot, &endings);
	slot->count = 0;
	if (!adapter->resend->leaving)
		splits_go(adapter, slot, handle, &endings);
	sender_leave(adapter);
	__atomic_store_n(&slot->taking, false, __ATOMIC_RELEASE);
	if (!adapter->resend->leaving)
		waiting_go(adapter, &endings);
	gate_open(adapter, &endings);
}

void resend_go_on(struct adapter *adapter, unsigned number)
{
	struct slot *slot = &adapter->resend->slots[number];
	struct endings endings = {0};

	if (__atomic_load_n(&slot->taking, __ATOMIC_ACQUIRE)) {
		take_back(adapter, slot, number);
	} else if (__atomic_load_n(&slot->split_count, __ATOMIC_ACQUIRE)) {
		gate_close(adapter);
		if (!adapter->resend->leaving)
			splits_go(adapter, slot, sender_enter_slot(adapter, number), &endings);
		if (!adapter->resend->leaving)
			sender_leave(adapter);
		gate_open(adapter, &endings);
	}
}

// ---- moving to another class

void resend_move(struct adapter_topic *topic, uint64_t batch_bytes)
{
	unsigned slot = sender_slot_of(batch_bytes);
	struct adapter *adapter = topic->adapter;
	struct endings endings = {0};

	if (slot == topic->slot && !topic->moving) // written on this thread only
		return;
	if (!sender_slot_open(adapter, slot))
		return;
	gate_close(adapter);
	topic->moving = true;
	topic->slot_next = slot;
	if (!__atomic_load_n(&topic->handed, __ATOMIC_ACQUIRE)) {
		sender_topic_move(topic, slot);
		topic->moving = false;
		waiting_go(adapter, &endings);
	}
	gate_open(adapter, &endings);
}

// ---- the end

void resend_leaving(struct adapter *adapter)
{
	struct endings none = {0};

	gate_close(adapter);
	adapter->resend->leaving = true;
	gate_open(adapter, &none);
}

void resend_end(struct adapter *adapter)
{
	struct endings endings = {0};

	gate_close(adapter);
	for (unsigned i = 0; i < SENDER_SLOTS; ++i)
		splits_end(adapter, &adapter->resend->slots[i], &endings);
	waiting_end(adapter->resend, &endings);
	gate_open(adapter, &endings);
}

void resend_stop(struct adapter *adapter)
{
	struct resend *resend = adapter->resend;

	if (!resend)
		return;
	resend_end(adapter);
	for (unsigned i = 0; i < SENDER_SLOTS; ++i) {
		assert(list_empty(&resend->slots[i].splits));
		free(resend->slots[i].taken);
	}
	pthread_rwlock_destroy(&resend->gate);
	pthread_mutex_destroy(&resend->lock);
	free(resend);
	adapter->resend = NULL;
}
