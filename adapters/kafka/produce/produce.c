// Sending: the records of a batch become messages, and their delivery reports become its answer.
//
// Nothing of a message is copied by us: key and body are borrowed from the frame's buffer until the
// last report of the batch (batch.c).
//
// Order: records of a partition are enqueued in the order of the batch. When one is refused for
// want of room, so are all later ones of the batch for its partition. A record that its topic
// cannot take is refused before it is enqueued (limits.h), and holds up nothing. Taking back and
// sending again is in resend.c; each thread that enqueues passes its gate.
//
// Reports come on the producer's thread. All of one event are gone through before anything is
// answered: first the ends of partitions rise, then batches are answered.

#include "adapters/kafka/produce/produce.h"

#include "adapters/kafka/client/error.h"
#include "adapters/kafka/client/health.h"
#include "adapters/kafka/produce/resend.h"
#include "adapters/kafka/produce/sender.h"
#include "adapters/kafka/topic/limits.h"
#include "adapters/kafka/topic/message.h"
#include "adapters/kafka/topic/stored.h"
#include "adapters/kafka/topic/topic.h"
#include "core/base/clock.h"
#include "core/loop/ticker.h"

// What the topic asked for, as far as its copies go.
static enum durability durability_of(const struct adapter_topic *topic)
{
	return MIN((enum durability)topic->model->durability,
		   (enum durability)__atomic_load_n(&topic->durability, __ATOMIC_ACQUIRE));
}

static struct submit_run report_read(const struct submit *submit, uint32_t number,
				     const rd_kafka_message_t *message)
{
	struct submit_run run = reports_refused(submit, number, message->err);

	switch (rd_kafka_message_status(message)) {
	case RD_KAFKA_MSG_STATUS_PERSISTED:
		run.outcome = OUTCOME_OK;
		run.code = CODE_OK;
		run.retry_after_ms = 0;
		run.durability = (uint8_t)durability_of(submit->topic);
		if (message->offset >= 0)
			run.offset = (uint64_t)message->offset;
		break;
	case RD_KAFKA_MSG_STATUS_POSSIBLY_PERSISTED: run.outcome = OUTCOME_UNKNOWN; break;
	case RD_KAFKA_MSG_STATUS_NOT_PERSISTED: break;
	}
	return run;
}

// The end of one partition after the messages gone through so far.
struct end_update {
	struct kafka_partition *partition;
	uint64_t end;
};

static void end_raise(struct end_update *end_update, const struct submit *submit,
		      const struct submit_run *run)
{
	struct kafka_partition *partition;

	if (run->outcome != OUTCOME_OK || run->offset == UINT64_MAX)
		return;
	partition = kafka_topic_partition(submit->topic, run->partition);
	if (partition != end_update->partition && end_update->partition)
		kafka_topic_raise_end(end_update->partition, end_update->end);
	*end_update = (struct end_update){partition, run->offset + 1};
}

// Returns the batch when it has ended with this one.
static struct submit *report_take(const rd_kafka_message_t *message, struct end_update *end_update)
{
	const uint16_t *place = message->_private;
	struct reports *reports = reports_of(place);
	struct submit *submit = reports->submit;
	struct submit_run run = report_read(submit, *place, message);

	end_raise(end_update, submit, &run);
	if (!reports_note(reports, *place, &run))
		return NULL;
	submit->adapter_private = reports;
	submit->next = NULL;
	return submit;
}

void produce_delivered(struct adapter *adapter, unsigned slot, rd_kafka_event_t *event)
{
	static uint64_t reports; // atomic
	struct submit *ended = NULL, **ended_tail = &ended;
	struct end_update end_update = {NULL, 0};
	const rd_kafka_message_t *message;
	const struct produce_sink *sink;
	uint64_t count = 0, since_ns = 0,
		 report = __atomic_add_fetch(&reports, 1, __ATOMIC_RELAXED);
	bool alive = false;

	while ((message = rd_kafka_event_message_next(event))) {
		struct submit *submit;

		// The codes of brokers are positive, those of the client itself negative.
		alive |= message->err >= RD_KAFKA_RESP_ERR_NO_ERROR;
		sink = rd_kafka_topic_opaque(message->rkt);
		if (sink) {
			++count;
			sink->delivered(message);
			continue;
		}
		if (resend_takes(adapter, slot, report, message))
			continue;
		++count;
		resend_reported(adapter, slot, message);
		submit = report_take(message, &end_update);
		if (submit) {
			since_ns = submit->submitted_ns;
			*ended_tail = submit;
			ended_tail = &submit->next;
		}
	}
	if (end_update.partition)
		kafka_topic_raise_end(end_update.partition, end_update.end);
	health_ended(adapter, count, alive, since_ns ? clock_now_ns() - since_ns : 0);
	while (ended) {
		struct submit *submit = ended;

		ended = submit->next;
		reports_answer(submit->adapter_private);
	}
}

// ---- sending

bool produce_target(struct adapter_topic *topic, rd_kafka_t *handle, struct send_target *ret)
{
	*ret = (struct send_target){.adapter = topic->adapter,
				    .handle = handle,
				    .topic = handle ? sender_topic(handle, topic) : NULL,
				    .limits = &topic->limits,
				    .native = topic->model->native,
				    .now_ms = clock_wall_ms()};
	return ret->topic != NULL;
}

static struct slice record_body(const uint8_t *record)
{
	uint32_t size = le32_get(record + 36);

	if (!(record_flags(record) & RECORD_BODY))
		return (struct slice){NULL, 0};
	return (struct slice){record + record_size(record) - size, size};
}

static rd_kafka_resp_err_t message_check(const struct send_target *target,
					 const struct submit_record *record)
{
	return kafka_limits_check(target->limits, record->data, target->native, target->now_ms);
}

static rd_kafka_resp_err_t message_send(const struct send_target *target, struct reports *reports,
					uint32_t number)
{
	const struct submit_record *record = &reports->submit->records[number];
	struct record_view view;
	rd_kafka_vu_t parts[7];
	rd_kafka_error_t *failure;
	rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
	size_t count = 0;

	record_read(record->data, &view);
	parts[count++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = target->topic};
	parts[count++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_PARTITION,
					 .u.i32 = (int32_t)record->partition};
	parts[count++] =
		(rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_VALUE,
				.u.mem = {(void *)(uintptr_t)view.body.data, view.body.size}};
	parts[count++] =
		(rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_KEY,
				.u.mem = {(void *)(uintptr_t)view.key.data, view.key.size}};
	parts[count++] =
		(rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = &reports->numbers[number]};
	// Never later than now: a broker may refuse the whole batch it comes in with others.
	parts[count++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_TIMESTAMP,
					 .u.i64 = MAX(MIN(view.created_ms, target->now_ms), 1)};
	if (message_has_headers(record->data, target->native)) {
		rd_kafka_headers_t *headers =
			message_headers(&view, target->native, reports->accepted_ms);

		if (!headers)
			return RD_KAFKA_RESP_ERR__QUEUE_FULL;
		parts[count++] =
			(rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers};
	}
	failure = rd_kafka_produceva(target->handle, parts, count);
	if (failure) {
		error = rd_kafka_error_code(failure);
		rd_kafka_error_destroy(failure);
		if (parts[count - 1].vtype == RD_KAFKA_VTYPE_HEADERS)
			rd_kafka_headers_destroy(parts[count - 1].u.headers);
	}
	return error;
}

rd_kafka_resp_err_t produce_one(const struct send_target *target, struct reports *reports,
				uint32_t number)
{
	rd_kafka_resp_err_t error = message_check(target, &reports->submit->records[number]);

	return error ? error : message_send(target, reports, number);
}

// What may not be enqueued any more, so that nothing overtakes what was refused but may succeed
// later.
struct blocked {
	bool all;
	uint32_t partition; // UINT32_MAX: none
	rd_kafka_resp_err_t error;
};

static void blocked_note(struct blocked *blocked, uint32_t partition, rd_kafka_resp_err_t error)
{
	if (!code_retriable(kafka_error_send_code(error)))
		return;
	blocked->all = error == RD_KAFKA_RESP_ERR__QUEUE_FULL ||
		       (blocked->partition != UINT32_MAX && blocked->partition != partition);
	blocked->partition = partition;
	blocked->error = error;
}

// A headerless message takes half the time to enqueue, as one of many, but gets the time of doing
// so as its timestamp: not for one that is older.
#define HEADERLESS_MAX    64u
#define HEADERLESS_AGE_MS 1000

static bool is_headerless(const struct send_target *target, const struct submit_record *record)
{
	int64_t created_ms = (int64_t)le64_get(record->data + 24);

	return target->native && !message_has_headers(record->data, true) &&
	       created_ms > target->now_ms - HEADERLESS_AGE_MS && created_ms <= target->now_ms &&
	       !message_check(target, record);
}

// Records from `at` on that are headerless and for one partition, at most HEADERLESS_MAX.
static uint32_t headerless_run(const struct send_target *target, const struct submit *submit,
			       uint32_t at)
{
	uint32_t end = at;

	while (end < submit->count && end - at < HEADERLESS_MAX &&
	       submit->records[end].partition == submit->records[at].partition &&
	       is_headerless(target, &submit->records[end]))
		++end;
	return end - at;
}

static void headerless_send(const struct send_target *target, struct reports *reports, uint32_t at,
			    uint32_t count, rd_kafka_resp_err_t *errors)
{
	const struct submit_record *records = &reports->submit->records[at];
	rd_kafka_message_t messages[HEADERLESS_MAX];

	for (uint32_t i = 0; i < count; ++i) {
		struct slice key = record_key(records[i].data), body = record_body(records[i].data);

		messages[i] = (rd_kafka_message_t){.payload = (void *)(uintptr_t)body.data,
						   .len = body.size,
						   .key = (void *)(uintptr_t)key.data,
						   .key_len = key.size,
						   ._private = &reports->numbers[at + i]};
	}
	// All is written before any is on its way: after the last one the batch may be gone.
	rd_kafka_produce_batch(target->topic, (int32_t)records[0].partition, 0, messages,
			       (int)count);
	for (uint32_t i = 0; i < count; ++i)
		errors[i] = messages[i].err;
}

// Behind what is being divided of its partition, if anything is.
static bool is_behind(const struct send_target *target, struct reports *reports, uint32_t at,
		      rd_kafka_resp_err_t *ret_error)
{
	struct kafka_partition *partition = kafka_topic_partition(
		reports->submit->topic, reports->submit->records[at].partition);

	if (!partition || !partition->split)
		return false;
	*ret_error = resend_queue(target->adapter, partition, &reports->numbers[at])
			     ? RD_KAFKA_RESP_ERR_NO_ERROR
			     : RD_KAFKA_RESP_ERR__QUEUE_FULL;
	return true;
}

// Records from `at` on that are enqueued together; what became of each in `errors`.
static uint32_t some_send(const struct send_target *target, struct reports *reports, uint32_t at,
			  const struct blocked *blocked, rd_kafka_resp_err_t errors[HEADERLESS_MAX])
{
	uint32_t headerless = 0;

	if (is_behind(target, reports, at, &errors[0]))
		return 1;
	if (blocked->all || reports->submit->records[at].partition == blocked->partition)
		errors[0] = blocked->error;
	else if ((headerless = headerless_run(target, reports->submit, at)) > 0)
		headerless_send(target, reports, at, headerless, errors);
	else
		errors[0] = produce_one(target, reports, at);
	return MAX(headerless, 1u);
}

// Enqueues what can be; returns how many were refused. The batch may be gone as soon as its last
// message is enqueued or noted, but where *ret_last is set: then it has ended.
static uint32_t batch_send(const struct send_target *target, struct reports *reports,
			   struct blocked *blocked, bool *ret_last)
{
	struct submit *submit = reports->submit;
	rd_kafka_resp_err_t errors[HEADERLESS_MAX];
	uint32_t refusals = 0, some;

	for (uint32_t at = 0, count = submit->count; at < count; at += some) {
		some = some_send(target, reports, at, blocked, errors);
		for (uint32_t i = 0; i < some; ++i) {
			struct submit_run run;

			if (!errors[i])
				continue;
			if (kafka_error_is_of_record(errors[i]))
				kafka_topic_settings_doubt(submit->topic);
			run = reports_refused(submit, at + i, errors[i]);
			blocked_note(blocked, run.partition, errors[i]);
			++refusals;
			*ret_last = reports_note(reports, at + i, &run);
		}
	}
	return refusals;
}

// A refusal may say something about the handle or the topic, rather than about the message.
static void refusals_look(struct adapter *adapter, const struct blocked *blocked)
{
	if (blocked->error == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION)
		ticker_poke(adapter->watch_ticker);
	else
		sender_check(adapter);
}

static bool batch_send_now(struct adapter *adapter, struct reports *reports)
{
	struct adapter_topic *topic = reports->submit->topic;
	struct blocked blocked = {.partition = UINT32_MAX};
	bool last = false;
	struct send_target target;
	uint32_t refusals;

	reports->handed = true;
	__atomic_add_fetch(&topic->handed, 1, __ATOMIC_ACQ_REL);
	if (!produce_target(topic, sender_enter_slot(adapter, topic->slot), &target))
		blocked = (struct blocked){.all = true, .error = RD_KAFKA_RESP_ERR__QUEUE_FULL};
	refusals = batch_send(&target, reports, &blocked, &last);
	sender_leave(adapter);
	if (refusals) {
		health_ended(adapter, refusals, false, 0);
		refusals_look(adapter, &blocked);
	}
	return last;
}

static bool batch_refuse(struct adapter *adapter, struct reports *reports,
			 rd_kafka_resp_err_t error)
{
	bool last = false;

	health_ended(adapter, reports->submit->count, false, 0);
	for (uint32_t i = 0; i < reports->submit->count; ++i) {
		struct submit_run run = reports_refused(reports->submit, i, error);

		last = reports_note(reports, i, &run);
	}
	return last;
}

bool produce_batch(struct adapter *adapter, struct reports *reports)
{
	if (!resend_holds(adapter, reports->submit->topic))
		return batch_send_now(adapter, reports);
	return !resend_hold(adapter, reports) &&
	       batch_refuse(adapter, reports, RD_KAFKA_RESP_ERR__QUEUE_FULL);
}

static void submit_refuse(struct submit *submit, enum code code, uint32_t retry_after_ms)
{
	submit_finish(submit, OUTCOME_REJECTED, code, retry_after_ms);
}

// What the mean size of the topic's messages is made of. Records lie one behind the other.
static void sizes_note(const struct submit *submit)
{
	const struct submit_record *last = &submit->records[submit->count - 1];
	struct kafka_sent *sent = submit->topic->sent;

	__atomic_add_fetch(&sent->messages, submit->count, __ATOMIC_RELAXED);
	__atomic_add_fetch(&sent->bytes,
			   (uint64_t)(last->data + last->size - submit->records[0].data),
			   __ATOMIC_RELAXED);
}

void produce_submit(struct adapter *adapter, struct submit *submit)
{
	struct reports *reports;
	bool ended;

	if (__atomic_load_n(&submit->topic->gone, __ATOMIC_ACQUIRE)) {
		submit_refuse(submit, CODE_NOT_FOUND, 0);
		return;
	}
	if (!health_admit(adapter, submit->count)) {
		submit_refuse(submit, CODE_BACKEND_DOWN, DOWN_RETRY_MS);
		return;
	}
	reports = reports_new(submit);
	if (!reports) {
		health_ended(adapter, submit->count, false, 0);
		submit_refuse(submit, CODE_OVERLOADED, FULL_RETRY_MS);
		return;
	}
	buf_ref(submit->buf);
	sizes_note(submit);
	resend_enter(adapter);
	ended = produce_batch(adapter, reports);
	resend_leave(adapter);
	if (ended)
		reports_answer(reports);
}
