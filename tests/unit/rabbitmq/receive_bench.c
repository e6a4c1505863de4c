#include "tests/unit/rabbitmq/receive_bench.h"

#include "adapters/rabbitmq/ask/ask.h"
#include "adapters/rabbitmq/ask/presence.h"
#include "adapters/rabbitmq/message/arriving.h"
#include "adapters/rabbitmq/receive/store_memo.h"
#include "adapters/rabbitmq/send/sender.h"
#include "core/base/clock.h"

#include <errno.h>

struct bench bench;
const struct queue_ops *ops = &rabbitmq_receiver_ops;

// ---- the clocks

uint64_t __wrap_clock_now_ns(void);
int64_t __wrap_clock_wall_ms(void);

uint64_t __wrap_clock_now_ns(void)
{
	return bench.now_ns;
}

int64_t __wrap_clock_wall_ms(void)
{
	return (int64_t)bench.wall_ms;
}

// ---- whether the queue is there

void rabbitmq_presence_seen(struct adapter *adapter, const struct group *group, uint64_t ago_ns)
{
	CHECK(group->object.id == bench.group.object.id);
	++bench.seen;
	bench.seen_ago_ns = ago_ns;
}

void rabbitmq_presence_too_large(struct adapter *adapter, const struct group *group, uint32_t count,
				 uint64_t bytes)
{
	CHECK(group->object.id == bench.group.object.id);
	bench.aside = count;
	bench.aside_bytes = bytes;
}

void rabbitmq_presence_missing(struct adapter *adapter, const struct group *group,
			       char ret_text[RABBITMQ_INCIDENT_TEXT])
{
	CHECK(group->object.id == bench.group.object.id);
	++bench.missing;
	snprintf(ret_text, RABBITMQ_INCIDENT_TEXT, "there is no queue %s", group->physical);
}

// ---- the link

static struct rabbitmq_channel *channel;
static struct {
	amqp_method_number_t id;
	char queue[64];
} requests[32];
static size_t request_first, request_count;
static char tags[2][64]; // of the consumers, as they were named last
static unsigned tag_number;

// The number at the end is another one for each consumer of a channel.
static void tag_note(amqp_bytes_t tag)
{
	char text[64];
	unsigned number;

	snprintf(text, sizeof text, "%.*s", (int)tag.len, (char *)tag.bytes);
	number = (unsigned)strtoul(strrchr(text, '-') + 1, NULL, 10);
	CHECK(number > tag_number);
	tag_number = number;
	strcpy(tags[strstr(text, "retry") != NULL], text);
}

struct loop *rabbitmq_link_loop(struct rabbitmq_link *link)
{
	return bench.loop;
}

void rabbitmq_channel_open(struct rabbitmq_link *link, struct rabbitmq_channel *ours,
			   const struct rabbitmq_channel_handlers *handlers)
{
	CHECK(!bench.open && !bench.opening && !bench.closing);
	channel = ours;
	channel->handlers = handlers;
	bench.opening = true;
	++bench.opens;
	request_count = 0;
}

void rabbitmq_channel_close(struct rabbitmq_channel *ours)
{
	CHECK(ours == channel);
	++bench.closes;
	bench.closing = true;
	strcat(bench.sent, "close; ");
}

static void request_note(amqp_method_number_t id, amqp_bytes_t queue)
{
	size_t at = (request_first + request_count++) % ARRAY_SIZE(requests);

	CHECK(request_count < ARRAY_SIZE(requests));
	requests[at].id = id;
	snprintf(requests[at].queue, sizeof requests[at].queue, "%.*s", (int)queue.len,
		 (char *)queue.bytes);
}

static void sent_add(const char *verb, amqp_bytes_t name, uint64_t number, const char *more)
{
	char *end = bench.sent + strlen(bench.sent);

	if (name.len)
		snprintf(end, 100, "%s %.*s%s; ", verb, (int)name.len, (char *)name.bytes, more);
	else
		snprintf(end, 100, "%s %llu%s; ", verb, (unsigned long long)number, more);
	CHECK(strlen(bench.sent) < sizeof bench.sent - 100);
}

static void ack_note(const amqp_basic_ack_t *ack)
{
	if (ack->delivery_tag > UINT32_MAX)
		strcat(bench.sent, "ack never; ");
	else
		sent_add("ack", amqp_empty_bytes, ack->delivery_tag,
			 ack->multiple ? " and all" : "");
}

static bool is_retry(amqp_bytes_t tag)
{
	return tag.len > 7 && ((const char *)tag.bytes)[7] == 'r';
}

bool rabbitmq_channel_send(struct rabbitmq_channel *ours, amqp_method_number_t id, void *decoded)
{
	const amqp_queue_declare_t *declare = decoded;
	const amqp_exchange_declare_t *exchange = decoded;
	const amqp_basic_qos_t *qos = decoded;
	const amqp_basic_consume_t *consume = decoded;
	const amqp_basic_cancel_t *cancel = decoded;
	const amqp_basic_get_t *get = decoded;

	CHECK(ours == channel && bench.open);
	switch (id) {
	case AMQP_QUEUE_DECLARE_METHOD:
		CHECK(declare->passive && !declare->nowait);
		sent_add("declare", declare->queue, 0, "");
		request_note(id, declare->queue);
		break;
	case AMQP_BASIC_QOS_METHOD:
		CHECK(!qos->global && !qos->prefetch_size);
		sent_add("qos", amqp_empty_bytes, qos->prefetch_count, "");
		request_note(id, amqp_empty_bytes);
		break;
	case AMQP_BASIC_CONSUME_METHOD:
		CHECK(!consume->no_ack && !consume->exclusive && !consume->nowait);
		sent_add("consume", consume->queue, 0, "");
		tag_note(consume->consumer_tag);
		request_note(id, consume->consumer_tag);
		break;
	case AMQP_BASIC_CANCEL_METHOD:
		CHECK(memcmp(tags[is_retry(cancel->consumer_tag)], cancel->consumer_tag.bytes,
			     cancel->consumer_tag.len) == 0);
		sent_add("cancel",
			 amqp_cstring_bytes(is_retry(cancel->consumer_tag) ? "g.retry" : "g"), 0,
			 "");
		request_note(id, cancel->consumer_tag);
		break;
	case AMQP_BASIC_GET_METHOD:
		CHECK(!get->no_ack);
		sent_add("get", get->queue, 0, "");
		request_note(id, get->queue);
		break;
	case AMQP_BASIC_ACK_METHOD: ack_note(decoded); break;
	case AMQP_EXCHANGE_DECLARE_METHOD:
		CHECK(!bench.topic.imported && exchange->passive && !exchange->nowait);
		sent_add("look", exchange->exchange, 0, "");
		request_note(id, exchange->exchange);
		break;
	default: CHECK(false);
	}
	return true;
}

void bench_channel_opened(void)
{
	CHECK(bench.opening);
	bench.opening = false;
	bench.open = true;
	channel->handlers->opened(channel);
	bench_run();
}

void bench_closed(enum code code, uint16_t reply, const char *text)
{
	CHECK(bench.opening || bench.open);
	bench.open = bench.opening = bench.closing = false;
	channel->handlers->closed(channel, code, reply, text);
	bench_run();
}

void bench_method(amqp_method_number_t id, void *decoded)
{
	amqp_method_t method = {.id = id, .decoded = decoded};

	channel->handlers->method(channel, &method);
	bench_run();
}

static void answer_declare(const char *name)
{
	const struct bench_queue *queue = strcmp(name, "g") == 0          ? &bench.main
					  : strcmp(name, "g.replay") == 0 ? &bench.replay
									  : &bench.retry;
	amqp_queue_declare_ok_t found = {.queue = amqp_cstring_bytes(name),
					 .message_count = queue->messages,
					 .consumer_count = queue->consumers};

	if (queue->missing)
		bench_closed(CODE_NOT_FOUND, 404, "NOT_FOUND - no queue");
	else
		bench_method(AMQP_QUEUE_DECLARE_OK_METHOD, &found);
}

static void answer_marker(void)
{
	if (bench.unmarked)
		bench_closed(CODE_NOT_FOUND, 404, "NOT_FOUND - no exchange 't~9' in vhost '/'");
	else
		bench_method(AMQP_EXCHANGE_DECLARE_OK_METHOD, NULL);
}

static void answer_consumer(amqp_method_number_t id, const char *tag)
{
	amqp_basic_cancel_ok_t ok = {amqp_cstring_bytes(tag)};

	bench_method(id == AMQP_BASIC_CONSUME_METHOD ? AMQP_BASIC_CONSUME_OK_METHOD
						     : AMQP_BASIC_CANCEL_OK_METHOD,
		     &ok);
}

// Answers about consumers of a quorum queue come late.
void bench_answer_late(void)
{
	size_t at = request_first % ARRAY_SIZE(requests);
	amqp_method_number_t id = requests[at].id;
	char name[sizeof requests[at].queue];

	CHECK(id == AMQP_BASIC_CONSUME_METHOD || id == AMQP_BASIC_CANCEL_METHOD);
	memcpy(name, requests[at].queue, sizeof name);
	++request_first;
	--request_count;
	bench_answer_all();
	answer_consumer(id, name);
}

void bench_answer(void)
{
	size_t at = request_first++ % ARRAY_SIZE(requests);
	char dummy[64] = {0};

	CHECK(request_count > 0);
	--request_count;
	switch (requests[at].id) {
	case AMQP_QUEUE_DECLARE_METHOD: answer_declare(requests[at].queue); break;
	case AMQP_BASIC_QOS_METHOD: bench_method(AMQP_BASIC_QOS_OK_METHOD, dummy); break;
	case AMQP_EXCHANGE_DECLARE_METHOD: answer_marker(); break;
	case AMQP_BASIC_GET_METHOD: bench_method(AMQP_BASIC_GET_EMPTY_METHOD, dummy); break;
	default: answer_consumer(requests[at].id, requests[at].queue); break;
	}
}

void bench_answer_all(void)
{
	while (request_count > 0)
		bench_answer();
}

// ---- deliveries: a body is the record's, and its headers are in its text

int rabbitmq_arriving_begin(amqp_bytes_t routing_key, const amqp_basic_properties_t *properties,
			    uint64_t body_size, uint32_t partitions, uint32_t most,
			    struct rabbitmq_arriving *ret)
{
	uint8_t id[RECORD_ID_SIZE] = {1};
	struct record_parts parts = {.id = id};

	CHECK_EQ(partitions, 4);
	if (bench.no_frame)
		return -ENOMEM;
	if (body_size > most)
		return -EMSGSIZE;
	memset(ret, 0, sizeof *ret);
	CHECK_EQ(buf_new(record_parts_size(&parts) + body_size, &ret->buf), 0);
	record_write(&parts, ret->buf->data);
	ret->body = ret->buf->data + record_parts_size(&parts);
	ret->partition = 1;
	ret->stored_ms = 77;
	if (properties) { // a copy
		ret->is_copy = true;
		memcpy(&ret->copy, properties->headers.entries, sizeof ret->copy);
	} else {
		ret->anonymous = true;
	}
	return 0;
}

bool rabbitmq_arriving_body(struct rabbitmq_arriving *arriving, const uint8_t *data, size_t size)
{
	memcpy(arriving->body, data, size);
	arriving->body += size;
	return true;
}

amqp_bytes_t bench_tag(const char *queue)
{
	return amqp_cstring_bytes(strcmp(queue, "g") == 0         ? tags[0]
				  : strcmp(queue, "g.retry") == 0 ? tags[1]
								  : queue);
}

static void deliver(const char *queue, uint64_t tag, bool redelivered, const char *body)
{
	struct rabbitmq_copy copy = {.attempts = 2, .partition = 3, .due_ms = 99, .stored_ms = 55};
	amqp_basic_properties_t properties = {.headers.entries = (amqp_table_entry_t *)&copy};
	struct rabbitmq_head head = {.tag = tag,
				     .redelivered = redelivered,
				     .consumer = bench_tag(queue),
				     .body_size = strlen(body)};

	copy.renewal = body[0] == 'R';
	if (copy.renewal || body[0] == 'C')
		head.properties = &properties;
	channel->handlers->head(channel, &head);
	for (size_t at = 0; at < head.body_size;) {
		size_t piece = MIN(head.body_size - at, head.body_size > 100 ? 131064u : 3u);

		channel->handlers->body(channel, (const uint8_t *)body + at, piece);
		at += piece;
	}
}

void bench_deliver(const char *queue, uint64_t tag, bool redelivered, const char *body)
{
	deliver(queue, tag, redelivered, body);
	bench_run();
}

void bench_deliver_more(const char *queue, uint64_t tag)
{
	deliver(queue, tag, false, "");
}

static void answer_get(uint64_t tag, const char *body)
{
	struct rabbitmq_head head = {.tag = tag, .got = true, .body_size = strlen(body)};

	channel->handlers->head(channel, &head);
	channel->handlers->body(channel, (const uint8_t *)body, head.body_size);
	bench_run();
}

void bench_get_unasked(uint64_t tag)
{
	answer_get(tag, "");
}

void bench_answer_get(uint64_t tag, const char *body)
{
	size_t at = request_first++ % ARRAY_SIZE(requests);

	CHECK(request_count-- > 0 && requests[at].id == AMQP_BASIC_GET_METHOD);
	answer_get(tag, body);
}

void bench_deliver_half(const char *queue, uint64_t tag)
{
	struct rabbitmq_head head = {.tag = tag, .consumer = bench_tag(queue), .body_size = 10};

	channel->handlers->head(channel, &head);
	channel->handlers->body(channel, (const uint8_t *)"abc", 3);
	bench_run();
}

// ---- the ask link and the sender

void rabbitmq_ask_run(struct rabbitmq_ask *ask)
{
	CHECK(!bench.ask);
	bench.ask = ask;
	++bench.asks;
}

static bool is_in(const char *names, const char *name)
{
	const char *at = strstr(names, name);
	size_t size = strlen(name);

	return at && (at == names || at[-1] == ' ') && (at[size] == ' ' || !at[size]);
}

void bench_found(const char *names)
{
	struct rabbitmq_ask *ask = bench.ask;
	enum code code = CODE_OK;

	CHECK(ask != NULL);
	for (size_t i = 0; i < ask->count; ++i) {
		struct rabbitmq_step *step = &ask->steps[i];

		if (step->verb == RABBITMQ_QUEUE_DECLARE)
			continue;
		CHECK_EQ(step->verb, RABBITMQ_QUEUE_LOOK);
		step->missing = !is_in(names, step->name);
		step->messages = step->missing ? 0 : 3;
		if (step->missing && !step->may_miss)
			code = CODE_NOT_FOUND;
	}
	bench.ask = NULL;
	ask->done(ask, code, code == CODE_OK ? NULL : "no queue");
	bench_run();
}

void bench_ask_fails(enum code code)
{
	struct rabbitmq_ask *ask = bench.ask;

	CHECK(ask != NULL);
	bench.ask = NULL;
	ask->done(ask, code, "cluster c: words");
	bench_run();
}

void rabbitmq_sender_post(struct adapter *adapter, struct rabbitmq_post *post)
{
	CHECK(!bench.post);
	bench.post = post;
	++bench.posts;
}

void bench_posted(enum outcome outcome, enum code code)
{
	struct rabbitmq_post *post = bench.post;

	CHECK(post != NULL);
	bench.post = NULL;
	post->done(post, outcome, code, "words of the sender");
	bench_run();
}

// ---- the source

static void on_opened(void *ctx, uint64_t epoch)
{
	++bench.opened;
	bench.epoch = epoch;
}

static void on_arrived(void *ctx, const struct queue_arrival *arrivals, size_t count)
{
	++bench.batches;
	for (size_t i = 0; i < count; ++i) {
		const struct queue_arrival *from = &arrivals[i];
		struct bench_arrived *to = &bench.arrived[bench.arrived_count++];

		*to = (struct bench_arrived){.tag = from->tag,
					     .due_ms = from->due_ms,
					     .epoch = from->epoch,
					     .partition = from->partition,
					     .attempts = from->attempts,
					     .stored_ms = from->stored_ms,
					     .given_back = from->given_back,
					     .anonymous = from->anonymous};
		snprintf(to->body, sizeof to->body, "%.*s",
			 (int)(from->buf->size - record_size(from->record)),
			 (const char *)from->record + record_size(from->record));
	}
}

static void on_passed(void *ctx, uint64_t epoch)
{
	++bench.passed;
	bench.epoch = epoch;
}

static void on_cancelled(void *ctx, uint64_t epoch)
{
	++bench.cancelled;
	bench.epoch = epoch;
}

static void note(enum code code, const char *text)
{
	bench.code = code;
	snprintf(bench.text, sizeof bench.text, "%s", text ? text : "");
}

static void on_lost(void *ctx, uint64_t epoch, enum code code, const char *text)
{
	++bench.lost;
	bench.epoch = epoch;
	note(code, text);
}

static void on_gone(void *ctx, const char *text)
{
	++bench.gone;
	note(CODE_NOT_FOUND, text);
}

static void on_written(void *ctx, uint64_t number, enum queue_outcome outcome, enum code code,
		       const char *text)
{
	++bench.written;
	bench.written_number = number;
	bench.outcome = outcome;
	note(code, text);
}

static void on_counted(void *ctx, const struct queue_counts *counts)
{
	CHECK(!bench.detached);
	++bench.counted;
	bench.counts_known = counts != NULL;
	if (counts)
		bench.counts = *counts;
}

static void on_detached(void *ctx)
{
	++bench.detached;
}

static const struct queue_handlers handlers = {.opened = on_opened,
					       .arrived = on_arrived,
					       .passed = on_passed,
					       .cancelled = on_cancelled,
					       .lost = on_lost,
					       .gone = on_gone,
					       .written = on_written,
					       .counted = on_counted,
					       .detached = on_detached};

static void on_stop(struct loop_task *task)
{
	loop_stop(bench.loop);
}

void bench_run(void)
{
	for (unsigned i = 0; i < 6; ++i) {
		struct loop_task stop = {.fn = on_stop};

		loop_post(bench.loop, &stop);
		CHECK_EQ(loop_run(bench.loop), 0);
	}
}

void bench_pass_ms(uint64_t ms)
{
	bench.now_ns += ms * MS_NS;
	bench.wall_ms += ms;
	bench_run();
}

void bench_begin(void)
{
	static char cluster[] = "c";
	struct queue_attach attach = {.handlers = &handlers};

	memset(&bench, 0, sizeof bench);
	request_count = tag_number = 0;
	bench.now_ns = 1000 * S_NS;
	bench.wall_ms = 1700000000000;
	bench.topic = (struct topic){.object = {.refs = 1},
				     .physical = "t",
				     .incarnation = 9,
				     .partitions = 4,
				     .replication = 5,
				     .imported = true};
	bench.group = (struct group){.object = {.refs = 1}, .name = "group", .physical = "g"};
	bench.adapter.cluster = cluster;
	bench.adapter.options.heartbeat_s = BENCH_HEARTBEAT_S;
	bench.adapter.options.consumer_timeout_ms = BENCH_CONSUMER_TIMEOUT_MS;
	CHECK_EQ(loop_new("test", &bench.loop), 0);
	CHECK_EQ(rabbitmq_store_memo_start(&bench.adapter), 0);
	CHECK_EQ(rabbitmq_receiver_start(&bench.adapter), 0);
	attach.group = &bench.group;
	attach.topic = &bench.topic;
	attach.loop = bench.loop;
	CHECK_EQ(ops->attach(&bench.adapter, &attach, &bench.attachment), 0);
}

void bench_end(void)
{
	if (!bench.detached)
		ops->detach(bench.attachment);
	CHECK_EQ(bench.detached, 0);
	bench_run();
	if (bench.open || bench.opening) {
		CHECK_EQ(bench.detached, 0);
		bench_closed(bench.closing ? CODE_OK : CODE_PRECONDITION_FAILED,
			     bench.closing ? 0 : 406, "PRECONDITION_FAILED - unknown delivery tag");
	}
	CHECK_EQ(bench.detached, 1);
	rabbitmq_receiver_stop(&bench.adapter);
	rabbitmq_store_memo_stop(&bench.adapter);
	loop_free(bench.loop);
}

void bench_open_with(const char *names)
{
	static uint64_t epoch = 100;

	ops->open(bench.attachment, ++epoch);
	bench_run();
	while (bench.ask)
		bench_found(names);
	bench_channel_opened();
	bench_answer_all();
	CHECK_EQ(bench.epoch, epoch);
	*bench.sent = '\0';
}

bool bench_write(uint64_t number, uint32_t attempts, uint64_t due_in_ms, bool renewal)
{
	struct queue_copy copy = {.number = number,
				  .attempts = attempts,
				  .partition = 2,
				  .stored_ms = 44,
				  .due_ms = due_in_ms ? bench.wall_ms + due_in_ms : 0,
				  .renewal = renewal};
	bool begun;

	CHECK_EQ(buf_new(64, &copy.buf), 0);
	copy.record = copy.buf->data;
	begun = ops->write(bench.attachment, &copy);
	buf_unref(copy.buf);
	bench_run();
	return begun;
}
