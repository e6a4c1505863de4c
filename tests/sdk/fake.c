// One thread polls everything; a mutex guards the state against the test's own thread, which only
// reads counters and sets plans.

#include "tests/sdk/fake.h"

#include "core/net/framer.h"
#include "core/net/outq.h"
#include "core/net/scram.h"
#include "core/wire/codec.h"
#include "core/wire/credit.h"
#include "core/wire/deliver.h"
#include "core/wire/fields.h"
#include "core/wire/produce.h"
#include "core/wire/produced.h"
#include "core/wire/record.h"
#include "core/wire/settle.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#define CONNS_MAX 64
#define STREAMS   256

enum entry_state { ENTRY_WAITING, ENTRY_OUT, ENTRY_DONE };

struct entry {
	uint8_t *record;
	enum entry_state state;
	uint32_t attempt;
	int conn; // that it is out on
	uint32_t stream;
	uint64_t number; // of its delivery
	uint32_t flags;
};

struct subscription {
	bool used;
	struct credit credit;
	uint64_t delivered, delivered_bytes, drained;
};

struct conn {
	bool used, ready, preface, goodbye, frozen;
	uint8_t binding[TRANSPORT_BINDING_ROOM];
	struct transport transport;
	struct framer framer;
	struct outq outq, held; // held: answers kept back
	struct scram_server scram;
	uint64_t window, used_window;
	bool topic[STREAMS];
	bool ended[STREAMS]; // CLOSED was sent unasked; what comes is ignored until CLOSE
	bool was[STREAMS];   // opened under this id before
	struct subscription subscriptions[STREAMS];
};

struct fake {
	struct fake_config config;
	char access_key[64], secret[128];
	struct scram_verifier verifier;
	pthread_t thread;
	pthread_mutex_t lock;
	int listener, wake;
	uint16_t port;
	bool stop, hold, bound;
	SSL_CTX *tls;
	struct conn conns[CONNS_MAX];
	struct entry *log;
	size_t stored, room;
	size_t oneway, batches, largest, largest_settle, logins, verbs[WIRE_VERB_COUNT];
	size_t reused, closes;
	enum fake_plan plan;
	unsigned plan_times;
	enum code plan_code, group_code;
	uint32_t plan_retry_ms, plan_pass;
};

static void wake(struct fake *fake)
{
	uint64_t one = 1;

	assert(write(fake->wake, &one, sizeof one) == (ssize_t)sizeof one);
}

// ---- Writing ---------------------------------------------------------------------------------

static void send_frame(struct outq *outq, uint8_t type, uint32_t stream, const void *payload,
		       size_t size)
{
	uint8_t *room;

	assert(outq_small(outq, (uint32_t)size, &room) == 0);
	if (size)
		memcpy(room, payload, size);
	assert(outq_small_done(outq, room, type, stream, (uint32_t)size) == 0);
}

static void send_fields(struct conn *conn, uint8_t type, uint32_t stream,
			const struct field_writer *writer)
{
	send_frame(&conn->outq, type, stream, writer->data, writer->size);
}

static void send_code(struct conn *conn, uint8_t type, uint32_t stream, enum code code)
{
	struct field_writer writer;
	uint8_t payload[64];

	field_writer_init(&writer, payload, sizeof payload);
	field_put_int(&writer, FIELD_CODE, code);
	send_fields(conn, type, stream, &writer);
}

// ---- Connections -----------------------------------------------------------------------------

static void conn_close(struct fake *fake, struct conn *conn)
{
	int index = (int)(conn - fake->conns);

	if (!conn->used)
		return;
	for (size_t i = 0; i < fake->stored; ++i) {
		struct entry *entry = &fake->log[i];

		if (entry->state == ENTRY_OUT && entry->conn == index)
			entry->state = ENTRY_WAITING;
	}
	outq_deinit(&conn->outq);
	outq_deinit(&conn->held);
	framer_deinit(&conn->framer);
	transport_deinit(&conn->transport);
	*conn = (struct conn){0};
}

static void conn_accept(struct fake *fake)
{
	int fd = accept4(fake->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), one = 1;

	if (fd < 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	for (int i = 0; i < CONNS_MAX; ++i) {
		struct conn *conn = &fake->conns[i];

		if (conn->used)
			continue;
		*conn = (struct conn){.used = true};
		transport_init(&conn->transport, fd);
		if (fake->tls)
			assert(transport_accept_tls(&conn->transport, fake->tls) == 0);
		framer_init(&conn->framer, WIRE_BY_CLIENT, WIRE_EARLY_MAX);
		outq_init(&conn->outq);
		outq_init(&conn->held);
		return;
	}
	close(fd);
}

static int hello(struct fake *fake, struct conn *conn)
{
	struct field_writer writer;
	uint8_t payload[256];

	field_writer_init(&writer, payload, sizeof payload);
	field_put_text(&writer, FIELD_SERVER_VERSION, "fake");
	field_put_int(&writer, FIELD_CODECS, CODEC_ALL);
	field_put_int(&writer, FIELD_FEATURES, fake->config.old ? 1 : FEATURES_KNOWN);
	field_put_int(&writer, FIELD_MAX_FRAME, fake->config.max_frame);
	field_put_int(&writer, FIELD_MAX_MESSAGE, fake->config.max_frame - 64);
	field_put_int(&writer, FIELD_KEEPALIVE_MS, fake->config.keepalive_ms);
	field_put_text(&writer, FIELD_MECHANISMS,
		       fake->tls ? SCRAM_MECHANISM_PLUS "," SCRAM_MECHANISM : SCRAM_MECHANISM);
	send_fields(conn, FRAME_WELCOME, 0, &writer);
	return 0;
}

static void send_sasl(struct conn *conn, struct field_writer *writer, uint8_t type,
		      const char *message)
{
	field_put_bytes(writer, FIELD_SASL, message, strlen(message));
	send_fields(conn, type, 0, writer);
}

static int auth(struct fake *fake, struct conn *conn, const struct fields *fields)
{
	struct scram_channel channel;
	char mechanism[33];
	bool plus;
	struct field_writer writer;
	char message[SCRAM_MESSAGE_MAX];
	uint8_t payload[2048];

	field_writer_init(&writer, payload, sizeof payload);
	if (fields_has(fields, FIELD_MECHANISM)) {
		fields_text(fields, FIELD_MECHANISM, mechanism, sizeof mechanism);
		plus = strcmp(mechanism, SCRAM_MECHANISM_PLUS) == 0;
		fake->bound = plus;
		transport_channel(&conn->transport, conn->binding, &channel);
		if (scram_server_start(&conn->scram, plus, &channel, fields->values[FIELD_SASL]))
			return -1;
		scram_server_challenge(&conn->scram, &fake->verifier, "0123456789abcdefghij",
				       message);
		send_sasl(conn, &writer, FRAME_AUTH, message);
		return 0;
	}
	if (scram_server_final(&conn->scram, fields->values[FIELD_SASL], message) ||
	    strcmp(conn->scram.user, fake->access_key) != 0) {
		send_code(conn, FRAME_ERROR, 0, CODE_UNAUTHENTICATED);
		conn->goodbye = true;
		return 0;
	}
	conn->ready = true;
	conn->window = fake->config.window;
	conn->framer.max_payload = fake->config.max_frame;
	++fake->logins;
	field_put_text(&writer, FIELD_TENANT, "test");
	field_put_int(&writer, FIELD_WINDOW, conn->window);
	send_sasl(conn, &writer, FRAME_READY, message);
	return 0;
}

// ---- Producing -------------------------------------------------------------------------------

static void store(struct fake *fake, const uint8_t *record)
{
	uint32_t size = record_size(record);
	struct entry *log;

	if (fake->stored == fake->room) {
		fake->room = fake->room ? 2 * fake->room : 64;
		log = realloc(fake->log, fake->room * sizeof *log);
		assert(log);
		fake->log = log;
	}
	fake->log[fake->stored] = (struct entry){.record = malloc(size)};
	memcpy(fake->log[fake->stored++].record, record, size);
}

static void answer(struct fake *fake, struct conn *conn, uint32_t stream,
		   const struct produce_head *head, const struct produced_run *runs, size_t count)
{
	uint8_t payload[PRODUCED_HEAD_SIZE + 2 * PRODUCED_RUN_SIZE];

	produce_head_write(payload, head);
	for (size_t i = 0; i < count; ++i)
		produced_run_write(payload + PRODUCED_HEAD_SIZE + i * PRODUCED_RUN_SIZE, &runs[i]);
	send_frame(fake->hold ? &conn->held : &conn->outq, FRAME_PRODUCED, stream, payload,
		   PRODUCED_HEAD_SIZE + count * PRODUCED_RUN_SIZE);
}

static void window(struct fake *fake, struct conn *conn)
{
	uint8_t payload[8];

	conn->window = conn->used_window + fake->config.window;
	le64_put(payload, conn->window);
	send_frame(fake->hold ? &conn->held : &conn->outq, FRAME_WINDOW, 0, payload, 8);
}

static int produce_plain(struct fake *fake, struct conn *conn, const struct frame_header *header,
			 const uint8_t *payload, size_t size)
{
	bool planned = fake->plan_times > 0, oneway = header->flags & FRAME_ONEWAY;
	enum fake_plan plan = planned ? fake->plan : PLAN_STORE;
	struct produced_run runs[2] = {{.durability = 1, .offset = fake->stored, .incarnation = 7}};
	struct produce_head head;
	uint32_t pass;
	size_t at = PRODUCE_HEAD_SIZE, run_count = 0;

	if (produce_head_read(payload, size, &head))
		return -1;
	fake->plan_times -= planned;
	++fake->batches;
	fake->largest = MAX(fake->largest, head.count);
	pass = plan == PLAN_REJECT ? MIN(fake->plan_pass, head.count) : head.count;
	if (plan == PLAN_LOSE_REQUEST || plan == PLAN_SILENT)
		pass = 0;
	for (uint32_t i = 0; i < head.count; ++i) {
		uint32_t record;

		if (record_check(payload + at, size - at, &record) != RECORD_OK)
			return -1;
		if (i < pass)
			store(fake, payload + at);
		at += record;
	}
	if (at != size)
		return -1;
	if (plan == PLAN_LOSE_ANSWER || plan == PLAN_LOSE_REQUEST)
		return -1;
	fake->oneway += oneway ? pass : 0;
	if (plan == PLAN_SILENT)
		return 0;
	if (!oneway) {
		if (pass) {
			runs[run_count++].count = pass;
			if (plan == PLAN_UNKNOWN) {
				runs[0].outcome = OUTCOME_UNKNOWN;
				runs[0].code = (uint16_t)fake->plan_code;
			}
		}
		if (pass < head.count)
			runs[run_count++] = (struct produced_run){
				.count = head.count - pass,
				.outcome = OUTCOME_REJECTED,
				.code = (uint16_t)fake->plan_code,
				.retry_after_ms = fake->plan_retry_ms,
			};
		answer(fake, conn, header->stream, &head, runs, run_count);
	}
	window(fake, conn);
	return 0;
}

static int produce(struct fake *fake, struct conn *conn, const struct frame *frame)
{
	unsigned codec = frame->header.flags & FRAME_CODEC_MASK;
	struct buf *plain;
	int r;

	conn->used_window += WIRE_HEADER_SIZE + frame->header.size;
	if (conn->used_window > conn->window)
		return -1;
	if (!codec)
		return produce_plain(fake, conn, &frame->header, frame->payload.data,
				     frame->payload.size);
	if (codec_decompress((enum frame_codec)codec, frame->payload, fake->config.max_frame,
			     &plain))
		return -1;
	r = produce_plain(fake, conn, &frame->header, plain->data, plain->size);
	buf_unref(plain);
	return r;
}

// ---- Consuming -------------------------------------------------------------------------------

static void deliver_one(struct fake *fake, struct conn *conn, uint32_t stream, size_t index)
{
	struct entry *entry = &fake->log[index];
	uint32_t size = record_size(entry->record);
	struct deliver_head head = {.partition = 0, .count = 1, .epoch = 3};
	struct deliver_entry one;
	uint8_t *payload = malloc(DELIVER_HEAD_SIZE + DELIVER_ENTRY_SIZE + size);

	entry->state = ENTRY_OUT;
	entry->conn = (int)(conn - fake->conns);
	entry->stream = stream;
	entry->number = conn->subscriptions[stream].delivered;
	++entry->attempt;
	one = (struct deliver_entry){
		.offset = index, .stored_ms = 1, .attempt = entry->attempt, .flags = entry->flags};
	deliver_head_write(payload, &head);
	deliver_entry_write(payload + DELIVER_HEAD_SIZE, &one);
	memcpy(payload + DELIVER_HEAD_SIZE + DELIVER_ENTRY_SIZE, entry->record, size);
	send_frame(&conn->outq, FRAME_DELIVER, stream, payload,
		   DELIVER_HEAD_SIZE + DELIVER_ENTRY_SIZE + size);
	free(payload);
}

static bool may_deliver(const struct subscription *subscription)
{
	return subscription->used && subscription->credit.messages > subscription->delivered &&
	       subscription->credit.bytes > subscription->delivered_bytes;
}

static void deliver(struct fake *fake, struct conn *conn, uint32_t stream)
{
	struct subscription *subscription = &conn->subscriptions[stream];

	for (size_t i = 0; i < fake->stored && may_deliver(subscription); ++i) {
		if (fake->log[i].state != ENTRY_WAITING)
			continue;
		++subscription->delivered;
		subscription->delivered_bytes += record_size(fake->log[i].record);
		deliver_one(fake, conn, stream, i);
	}
	if (subscription->used && subscription->credit.drain > subscription->drained) {
		uint8_t payload[8];

		subscription->drained = subscription->credit.drain;
		subscription->credit.messages = subscription->delivered;
		subscription->credit.bytes = subscription->delivered_bytes;
		le64_put(payload, subscription->drained);
		send_frame(&conn->outq, FRAME_DRAINED, stream, payload, 8);
	}
}

static void deliver_all(struct fake *fake)
{
	for (int i = 0; i < CONNS_MAX; ++i)
		for (uint32_t stream = 0; stream < STREAMS; ++stream)
			if (fake->conns[i].used && fake->conns[i].subscriptions[stream].used)
				deliver(fake, &fake->conns[i], stream);
}

static uint32_t settle_run(struct fake *fake, struct conn *conn, const struct settle_entry *entry)
{
	uint32_t settled = 0;

	for (uint64_t i = entry->offset; i < entry->offset + entry->count; ++i) {
		struct entry *stored = &fake->log[i];

		if (i >= fake->stored || stored->state != ENTRY_OUT ||
		    stored->attempt != entry->attempt || stored->conn != conn - fake->conns ||
		    (!fake->config.old &&
		     (uint32_t)stored->number != entry->number + (uint32_t)(i - entry->offset)))
			continue;
		++settled;
		++fake->verbs[entry->verb];
		if (entry->verb == WIRE_ACK || entry->verb == WIRE_REJECT)
			stored->state = ENTRY_DONE;
		else if (entry->verb != WIRE_EXTEND)
			stored->state = ENTRY_WAITING;
		if (entry->verb == WIRE_RELEASE)
			--stored->attempt;
	}
	return settled;
}

static int settle(struct fake *fake, struct conn *conn, const struct frame *frame)
{
	const uint8_t *payload = frame->payload.data;
	struct settle_head head;
	uint8_t *reply;
	size_t offsets = 0;

	if (settle_check(payload, frame->payload.size, !fake->config.old, &head))
		return -1;
	reply = malloc(SETTLED_HEAD_SIZE + (size_t)head.count * SETTLED_ENTRY_SIZE);
	settle_head_write(reply, &head);
	for (uint32_t i = 0; i < head.count; ++i) {
		struct settle_entry entry;
		struct settle_outcome done;

		settle_entry_read(payload + SETTLE_HEAD_SIZE + (size_t)i * SETTLE_ENTRY_SIZE,
				  &entry);
		offsets += entry.count;
		done.settled = settle_run(fake, conn, &entry);
		done.code = done.settled == entry.count ? CODE_OK : CODE_STALE;
		settle_outcome_write(reply + SETTLED_HEAD_SIZE + (size_t)i * SETTLED_ENTRY_SIZE,
				     &done);
	}
	fake->largest_settle = MAX(fake->largest_settle, offsets);
	if (head.settle)
		send_frame(&conn->outq, FRAME_SETTLED, frame->header.stream, reply,
			   SETTLED_HEAD_SIZE + (size_t)head.count * SETTLED_ENTRY_SIZE);
	free(reply);
	return 0;
}

// What has begun never falls and never passes what was delivered.
static int credit(struct fake *fake, struct subscription *subscription, const struct frame *frame)
{
	uint64_t before = subscription->credit.begun;

	if (!subscription->used || credit_read(frame->payload.data, frame->payload.size,
					       !fake->config.old, &subscription->credit))
		return -1;
	return subscription->credit.begun < before ||
			       subscription->credit.begun > subscription->delivered
		       ? -1
		       : 0;
}

// ---- Frames ----------------------------------------------------------------------------------

static void open_topic(struct fake *fake, struct conn *conn, uint32_t stream,
		       const struct fields *fields)
{
	struct field_writer writer;
	uint8_t payload[64];
	char name[257];

	if (strcmp(fields_text(fields, FIELD_TOPIC, name, sizeof name), fake->config.topic) != 0) {
		send_code(conn, FRAME_ERROR, stream, CODE_NOT_FOUND);
		return;
	}
	conn->topic[stream] = true;
	field_writer_init(&writer, payload, sizeof payload);
	field_put_int(&writer, FIELD_PARTITIONS, 1);
	field_put_int(&writer, FIELD_DURABILITY, 1);
	send_fields(conn, FRAME_TOPIC_OPENED, stream, &writer);
}

static void subscribe(struct fake *fake, struct conn *conn, uint32_t stream,
		      const struct fields *fields)
{
	struct field_writer writer;
	uint8_t payload[64];
	char name[257];

	fields_text(fields, FIELD_GROUP, name, sizeof name);
	if (fake->group_code != CODE_OK || strcmp(name, fake->config.group) != 0) {
		send_code(conn, FRAME_ERROR, stream,
			  fake->group_code ? fake->group_code : CODE_NOT_FOUND);
		return;
	}
	conn->subscriptions[stream] = (struct subscription){.used = true};
	field_writer_init(&writer, payload, sizeof payload);
	field_put_int(&writer, FIELD_VISIBILITY_MS, fake->config.visibility_ms);
	send_fields(conn, FRAME_SUBSCRIBED, stream, &writer);
}

// CLOSED does not wait for answers that are held: the worst that a server may do.
static void close_stream(struct fake *fake, struct conn *conn, uint32_t stream)
{
	++fake->closes;
	if (conn->ended[stream]) {
		conn->ended[stream] = false;
		return;
	}
	for (size_t i = 0; i < fake->stored; ++i) {
		struct entry *entry = &fake->log[i];

		if (entry->state == ENTRY_OUT && entry->conn == conn - fake->conns &&
		    entry->stream == stream)
			entry->state = ENTRY_WAITING;
	}
	conn->topic[stream] = false;
	conn->subscriptions[stream] = (struct subscription){0};
	send_code(conn, FRAME_CLOSED, stream, CODE_OK);
}

static int conn_frame(struct fake *fake, struct conn *conn, const struct frame *frame)
{
	uint32_t stream = frame->header.stream;
	struct fields fields = {0};

	if (stream >= STREAMS)
		return -1;
	switch (frame->header.type) {
	case FRAME_HELLO:
	case FRAME_AUTH:
	case FRAME_OPEN_TOPIC:
	case FRAME_SUBSCRIBE:
		if (fields_read(frame->payload.data, frame->payload.size, &fields))
			return -1;
		break;
	default: break;
	}
	if (conn->ended[stream] && frame->header.type != FRAME_CLOSE)
		return 0;
	if (frame->header.type == FRAME_OPEN_TOPIC || frame->header.type == FRAME_SUBSCRIBE) {
		fake->reused += conn->was[stream];
		conn->was[stream] = true;
	}
	switch (frame->header.type) {
	case FRAME_HELLO: return hello(fake, conn);
	case FRAME_AUTH: return auth(fake, conn, &fields);
	case FRAME_OPEN_TOPIC: open_topic(fake, conn, stream, &fields); return 0;
	case FRAME_SUBSCRIBE: subscribe(fake, conn, stream, &fields); return 0;
	case FRAME_CLOSE: close_stream(fake, conn, stream); return 0;
	case FRAME_PING:
		send_frame(&conn->outq, FRAME_PONG, 0, frame->payload.data, frame->payload.size);
		return 0;
	case FRAME_PONG: return 0;
	case FRAME_PRODUCE: return conn->topic[stream] ? produce(fake, conn, frame) : -1;
	case FRAME_SETTLE: return conn->subscriptions[stream].used ? settle(fake, conn, frame) : -1;
	case FRAME_CREDIT: return credit(fake, &conn->subscriptions[stream], frame);
	default: return -1;
	}
}

static int conn_read(struct fake *fake, struct conn *conn)
{
	const char *problem;
	struct frame frame;
	ssize_t got = framer_fill(&conn->framer, &conn->transport);
	int r;

	if (got == -EAGAIN)
		return 0;
	if (got <= 0)
		return -1;
	if (!conn->preface) {
		const uint8_t *preface = framer_take(&conn->framer, WIRE_PREFACE_SIZE);

		if (!preface || memcmp(preface, frame_preface, WIRE_PREFACE_SIZE) != 0)
			return preface ? -1 : 0;
		conn->preface = true;
	}
	while ((r = framer_next(&conn->framer, &frame, &problem)) == FRAMER_FRAME)
		if (conn_frame(fake, conn, &frame) < 0)
			return -1;
	if (r == 0 && transport_pending(&conn->transport))
		return conn_read(fake, conn);
	return r == 0 ? 0 : -1;
}

static void conn_flush(struct fake *fake, struct conn *conn)
{
	int r;

	if (!fake->hold && conn->held.count) {
		for (uint32_t i = 0; i < conn->held.count; ++i) {
			struct outq_part *part =
				&conn->held.parts[(conn->held.head + i) & (conn->held.room - 1)];

			outq_add(&conn->outq, part->buf, part->data, part->size);
		}
		outq_deinit(&conn->held);
	}
	r = outq_flush(&conn->outq, &conn->transport);
	if ((r < 0 && r != -EAGAIN) || (r == 0 && conn->goodbye))
		conn_close(fake, conn);
}

static void *fake_main(void *arg)
{
	struct fake *fake = arg;

	pthread_mutex_lock(&fake->lock);
	while (!fake->stop) {
		struct pollfd fds[CONNS_MAX + 2];
		uint64_t counter;

		fds[0] = (struct pollfd){.fd = fake->wake, .events = POLLIN};
		fds[1] = (struct pollfd){.fd = fake->listener, .events = POLLIN};
		for (int i = 0; i < CONNS_MAX; ++i) {
			struct conn *conn = &fake->conns[i];

			fds[i + 2] = (struct pollfd){
				.fd = conn->used && !conn->frozen ? conn->transport.fd : -1,
				.events = (short)(POLLIN | (conn->outq.bytes ? POLLOUT : 0)),
			};
		}
		pthread_mutex_unlock(&fake->lock);
		poll(fds, CONNS_MAX + 2, -1);
		pthread_mutex_lock(&fake->lock);
		if (fds[0].revents)
			assert(read(fake->wake, &counter, sizeof counter) > 0);
		for (int i = 0; i < CONNS_MAX; ++i)
			if ((fds[i + 2].revents & (POLLIN | POLLHUP | POLLERR)) &&
			    fake->conns[i].used && !fake->conns[i].frozen &&
			    conn_read(fake, &fake->conns[i]) < 0)
				conn_close(fake, &fake->conns[i]);
		if (fds[1].revents)
			conn_accept(fake);
		deliver_all(fake);
		for (int i = 0; i < CONNS_MAX; ++i)
			if (fake->conns[i].used && !fake->conns[i].frozen)
				conn_flush(fake, &fake->conns[i]);
	}
	pthread_mutex_unlock(&fake->lock);
	return NULL;
}

// ---- What tests ask --------------------------------------------------------------------------

static void secret_set(struct fake *fake, const char *access_key, const char *secret)
{
	static const uint8_t salt[SCRAM_SALT_SIZE] = "fifteen bytes..";

	snprintf(fake->access_key, sizeof fake->access_key, "%s", access_key);
	snprintf(fake->secret, sizeof fake->secret, "%s", secret);
	assert(scram_verifier_make(secret, salt, SCRAM_ITERATIONS, &fake->verifier) == 0);
}

int fake_new(const struct fake_config *config, struct fake **ret)
{
	struct fake *fake = calloc(1, sizeof *fake);
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof in;
	char problem[256];

	assert(fake);
	fake->config = *config;
	fake->config.window = config->window ? config->window : 8u << 20;
	fake->config.max_frame = config->max_frame ? config->max_frame : 1u << 20;
	fake->config.visibility_ms = config->visibility_ms ? config->visibility_ms : 30000;
	fake->config.keepalive_ms = config->keepalive_ms ? config->keepalive_ms : 20000;
	pthread_mutex_init(&fake->lock, NULL);
	secret_set(fake, config->access_key, config->secret);
	if (config->cert_file)
		assert(tls_server_new(config->cert_file, config->key_file, &fake->tls, problem,
				      sizeof problem) == 0);
	fake->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	fake->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert(fake->listener >= 0);
	assert(bind(fake->listener, (struct sockaddr *)&in, sizeof in) == 0);
	assert(listen(fake->listener, 64) == 0);
	assert(getsockname(fake->listener, (struct sockaddr *)&in, &size) == 0);
	fake->port = ntohs(in.sin_port);
	assert(pthread_create(&fake->thread, NULL, fake_main, fake) == 0);
	*ret = fake;
	return 0;
}

void fake_free(struct fake *fake)
{
	if (!fake)
		return;
	pthread_mutex_lock(&fake->lock);
	fake->stop = true;
	pthread_mutex_unlock(&fake->lock);
	wake(fake);
	pthread_join(fake->thread, NULL);
	for (int i = 0; i < CONNS_MAX; ++i)
		conn_close(fake, &fake->conns[i]);
	for (size_t i = 0; i < fake->stored; ++i)
		free(fake->log[i].record);
	free(fake->log);
	if (fake->listener >= 0)
		close(fake->listener);
	close(fake->wake);
	SSL_CTX_free(fake->tls);
	pthread_mutex_destroy(&fake->lock);
	free(fake);
}

void fake_address(const struct fake *fake, char *text, size_t size)
{
	snprintf(text, size, "127.0.0.1:%u", fake->port);
}

// Runs `statement` with the state locked, then lets the thread look again.
#define CHANGE(fake, statement)                                                                    \
	do {                                                                                       \
		pthread_mutex_lock(&(fake)->lock);                                                 \
		statement;                                                                         \
		pthread_mutex_unlock(&(fake)->lock);                                               \
		wake(fake);                                                                        \
	} while (0)

static void plan_set(struct fake *fake, enum fake_plan plan, unsigned times, enum code code,
		     uint32_t retry_after_ms, uint32_t pass)
{
	fake->plan = plan;
	fake->plan_times = times;
	fake->plan_code = code;
	fake->plan_retry_ms = retry_after_ms;
	fake->plan_pass = pass;
}

void fake_plan(struct fake *fake, enum fake_plan plan, unsigned times, enum code code,
	       uint32_t retry_after_ms, uint32_t pass)
{
	CHANGE(fake, plan_set(fake, plan, times, code, retry_after_ms, pass));
}

void fake_hold_answers(struct fake *fake, bool hold)
{
	CHANGE(fake, fake->hold = hold);
}

void fake_set_secret(struct fake *fake, const char *access_key, const char *secret)
{
	CHANGE(fake, secret_set(fake, access_key, secret));
}

void fake_refuse_group(struct fake *fake, enum code code)
{
	CHANGE(fake, fake->group_code = code);
}

static void goaway_all(struct fake *fake, const char *address)
{
	for (int i = 0; i < CONNS_MAX; ++i) {
		struct field_writer writer;
		uint8_t payload[512];

		if (!fake->conns[i].ready)
			continue;
		field_writer_init(&writer, payload, sizeof payload);
		field_put_int(&writer, FIELD_CODE, CODE_SHUTTING_DOWN);
		field_put_text(&writer, FIELD_ADDRESS, address);
		field_put_int(&writer, FIELD_DEADLINE_MS, 10000);
		send_fields(&fake->conns[i], FRAME_GOAWAY, 0, &writer);
	}
}

void fake_goaway(struct fake *fake, const char *address)
{
	CHANGE(fake, goaway_all(fake, address));
}

static void topics_close(struct fake *fake, enum code code)
{
	for (int i = 0; i < CONNS_MAX; ++i)
		for (uint32_t stream = 0; stream < STREAMS; ++stream) {
			if (!fake->conns[i].topic[stream])
				continue;
			fake->conns[i].topic[stream] = false;
			fake->conns[i].ended[stream] = true;
			send_code(&fake->conns[i], FRAME_CLOSED, stream, code);
		}
}

void fake_close_topics(struct fake *fake, enum code code)
{
	CHANGE(fake, topics_close(fake, code));
}

static void throttle_all(struct fake *fake)
{
	for (int i = 0; i < CONNS_MAX; ++i)
		if (fake->conns[i].ready)
			send_code(&fake->conns[i], FRAME_THROTTLE, 0, CODE_THROTTLED);
}

void fake_throttle(struct fake *fake)
{
	CHANGE(fake, throttle_all(fake));
}

static void listener_close(struct fake *fake)
{
	close(fake->listener);
	fake->listener = -1;
}

void fake_stop_listening(struct fake *fake)
{
	CHANGE(fake, listener_close(fake));
}

static void kick_all(struct fake *fake)
{
	for (int i = 0; i < CONNS_MAX; ++i)
		conn_close(fake, &fake->conns[i]);
}

void fake_kick(struct fake *fake)
{
	CHANGE(fake, kick_all(fake));
}

static void freeze_all(struct fake *fake)
{
	for (int i = 0; i < CONNS_MAX; ++i) {
		fake->conns[i].frozen = fake->conns[i].used;
		fake->conns[i].ready = false;
	}
}

void fake_freeze(struct fake *fake)
{
	CHANGE(fake, freeze_all(fake));
}

static void expire_all(struct fake *fake)
{
	for (size_t i = 0; i < fake->stored; ++i)
		if (fake->log[i].state == ENTRY_OUT)
			fake->log[i].state = ENTRY_WAITING;
}

void fake_expire(struct fake *fake)
{
	CHANGE(fake, expire_all(fake));
}

static void store_text(struct fake *fake, const char *key, const char *body)
{
	uint8_t id[RECORD_ID_SIZE] = {1}, record[4096];
	struct record_parts parts = {.id = id, .created_ms = 5, .priority = 4};

	le64_put(id + 8, fake->stored);
	if (key)
		parts.key = (struct slice){(const uint8_t *)key, strlen(key)};
	parts.body = (struct slice){(const uint8_t *)body, strlen(body)};
	assert(record_parts_size(&parts) <= sizeof record);
	record_write(&parts, record);
	store(fake, record);
}

void fake_store(struct fake *fake, const char *key, const char *body)
{
	CHANGE(fake, store_text(fake, key, body));
}

static void copy_text(struct slice from, char *to, size_t size)
{
	size_t used = MIN(from.size, size - 1);

	if (used)
		memcpy(to, from.data, used);
	to[used] = 0;
}

bool fake_message(struct fake *fake, size_t index, char *key, char *body, size_t size,
		  uint8_t id[16])
{
	struct record_view view;
	bool there;

	pthread_mutex_lock(&fake->lock);
	there = index < fake->stored;
	if (there) {
		record_read(fake->log[index].record, &view);
		copy_text(view.key, key, size);
		copy_text(view.body, body, size);
		memcpy(id, view.id, 16);
	}
	pthread_mutex_unlock(&fake->lock);
	return there;
}

#define COUNTER(name, expression)                                                                  \
	size_t name(struct fake *fake)                                                             \
	{                                                                                          \
		size_t value;                                                                      \
		pthread_mutex_lock(&fake->lock);                                                   \
		value = (expression);                                                              \
		pthread_mutex_unlock(&fake->lock);                                                 \
		return value;                                                                      \
	}

static size_t count_state(const struct fake *fake, enum entry_state state)
{
	size_t count = 0;

	for (size_t i = 0; i < fake->stored; ++i)
		count += fake->log[i].state == state;
	return count;
}

static size_t count_ready(const struct fake *fake)
{
	size_t count = 0;

	for (int i = 0; i < CONNS_MAX; ++i)
		count += fake->conns[i].ready;
	return count;
}

static uint64_t count_begun(const struct fake *fake)
{
	uint64_t count = 0;

	for (int i = 0; i < CONNS_MAX; ++i)
		for (int stream = 0; stream < STREAMS; ++stream)
			count += fake->conns[i].subscriptions[stream].credit.begun;
	return count;
}

void fake_suspect(struct fake *fake, size_t index, bool last)
{
	pthread_mutex_lock(&fake->lock);
	fake->log[index].flags = DELIVER_SUSPECT | (last ? DELIVER_LAST : 0);
	pthread_mutex_unlock(&fake->lock);
}

static size_t count_credit(const struct fake *fake)
{
	size_t count = 0;

	for (int i = 0; i < CONNS_MAX; ++i)
		for (int stream = 0; stream < STREAMS; ++stream) {
			const struct subscription *subscription =
				&fake->conns[i].subscriptions[stream];

			count += subscription->credit.messages - subscription->delivered;
		}
	return count;
}

COUNTER(fake_stored, fake->stored)
COUNTER(fake_oneway, fake->oneway)
COUNTER(fake_batches, fake->batches)
COUNTER(fake_largest, fake->largest)
COUNTER(fake_largest_settle, fake->largest_settle)
COUNTER(fake_acked, fake->verbs[WIRE_ACK])
COUNTER(fake_in_flight, count_state(fake, ENTRY_OUT))
COUNTER(fake_connections, count_ready(fake))
COUNTER(fake_logins, fake->logins)
COUNTER(fake_reused, fake->reused)
COUNTER(fake_closes, fake->closes)
COUNTER(fake_begun, count_begun(fake))
COUNTER(fake_unused_credit, count_credit(fake))

bool fake_bound(struct fake *fake)
{
	bool bound;

	pthread_mutex_lock(&fake->lock);
	bound = fake->bound;
	pthread_mutex_unlock(&fake->lock);
	return bound;
}

size_t fake_verb(struct fake *fake, unsigned verb)
{
	size_t value;

	pthread_mutex_lock(&fake->lock);
	value = fake->verbs[verb];
	pthread_mutex_unlock(&fake->lock);
	return value;
}
