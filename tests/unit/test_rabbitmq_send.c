// adapters/rabbitmq/send: whatever link, broker and time do, each batch and each copy is answered
// once, and the circuit breaker gets back what it has admitted, message by message.
//
// Links, ask link and clock are the test's; one loop plays every thread. Random schedules of what
// a broker, a network and an operator may do: confirms in any form, nacks, returns, closed
// channels, lost connections, alarms, silence, topics that are missing, a stop at any moment.

#include "adapters/breaker.h"
#include "adapters/rabbitmq/ask/ask.h"
#include "adapters/rabbitmq/link/link.h"
#include "adapters/rabbitmq/send/health.h"
#include "adapters/rabbitmq/send/sender.h"
#include "adapters/rabbitmq/send/sender_state.h"
#include "adapters/rabbitmq/send/topic.h"
#include "core/base/clock.h"
#include "tests/unit/unit.h"

#include <string.h>

enum {
	CHANNELS = RABBITMQ_LANES + 1,
	TOPICS = 3,
	TAGS = 20000, // of one channel, that the stand-in remembers
	ASKS = 64,
	TIMEOUT_MS = 5000,
	BODY = 24,
	SENT = RABBITMQ_CONFIRMS_COUNT + 500,
};

enum state { NONE, WAITING, OPEN, CLOSING }; // of a channel, as the broker has it

struct published {
	char id[64]; // the property message-id
	bool answered;
};

struct broker_channel {
	struct rabbitmq_channel *ours;
	enum state state;
	bool selecting; // confirm.select is not answered
	uint64_t next;  // tag
	struct published *published;
};

static struct sim {
	uint64_t random;
	uint64_t now_ns;
	struct loop *loop;
	struct adapter adapter;
	struct topic topics[TOPICS];
	struct adapter_topic *open[TOPICS];
	struct broker_channel channels[CHANNELS];
	bool up, blocked;
	bool breaking; // the connection has failed, which is not told yet
	bool steady;   // no publish finds that it has
	struct rabbitmq_ask *asks[ASKS];
	size_t ask_count;
	uint64_t admitted, ended; // by the breaker
	unsigned submits, posts;  // without an answer
	unsigned rejected, unknown, ok;
	bool stopped;
} sim;

static uint32_t any(uint32_t bound)
{
	sim.random = sim.random * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(sim.random >> 33) % bound;
}

// ---- the clock and the breaker's books

uint64_t __wrap_clock_now_ns(void);
bool __real_breaker_admit(struct breaker *breaker, uint64_t count, uint64_t now_ns,
			  bool *ret_probe);
bool __wrap_breaker_admit(struct breaker *breaker, uint64_t count, uint64_t now_ns,
			  bool *ret_probe);
void __real_breaker_ended(struct breaker *breaker, uint64_t count, bool alive, uint64_t now_ns);
void __wrap_breaker_ended(struct breaker *breaker, uint64_t count, bool alive, uint64_t now_ns);

uint64_t __wrap_clock_now_ns(void)
{
	return __atomic_load_n(&sim.now_ns, __ATOMIC_ACQUIRE);
}

bool __wrap_breaker_admit(struct breaker *breaker, uint64_t count, uint64_t now_ns, bool *ret_probe)
{
	bool admitted = __real_breaker_admit(breaker, count, now_ns, ret_probe);

	if (admitted)
		sim.admitted += count;
	return admitted;
}

void __wrap_breaker_ended(struct breaker *breaker, uint64_t count, bool alive, uint64_t now_ns)
{
	sim.ended += count;
	CHECK(sim.ended <= sim.admitted);
	CHECK_EQ(breaker->waiting - count, sim.admitted - sim.ended);
	__real_breaker_ended(breaker, count, alive, now_ns);
}

static void on_stop(struct loop_task *task)
{
	loop_stop(sim.loop);
}

static void run(void)
{
	for (unsigned i = 0; i < 3; ++i) {
		struct loop_task stop = {.fn = on_stop};

		loop_post(sim.loop, &stop);
		CHECK_EQ(loop_run(sim.loop), 0);
	}
}

static void pass_ms(uint64_t ms)
{
	__atomic_add_fetch(&sim.now_ns, ms * MS_NS, __ATOMIC_RELEASE);
	run();
}

// ---- the link

struct loop *rabbitmq_link_loop(struct rabbitmq_link *link)
{
	return sim.loop;
}

void rabbitmq_link_watch(struct rabbitmq_link *link, uint64_t now_ns, uint64_t limit_ns)
{
}

bool rabbitmq_link_is_up(const struct rabbitmq_link *link)
{
	return sim.up;
}

bool rabbitmq_link_is_blocked(const struct rabbitmq_link *link)
{
	return sim.blocked;
}

uint32_t rabbitmq_link_frame_bytes(const struct rabbitmq_link *link)
{
	return sim.up ? 131072 : 0;
}

static struct broker_channel *channel_of(const struct rabbitmq_channel *ours)
{
	for (size_t i = 0; i < CHANNELS; ++i)
		if (sim.channels[i].ours == ours)
			return &sim.channels[i];
	return NULL;
}

void rabbitmq_channel_open(struct rabbitmq_link *link, struct rabbitmq_channel *ours,
			   const struct rabbitmq_channel_handlers *handlers)
{
	struct broker_channel *channel = channel_of(ours);

	if (!channel)
		channel = channel_of(NULL);
	CHECK(channel && channel->state == NONE);
	channel->ours = ours;
	channel->state = WAITING;
	ours->handlers = handlers;
}

void rabbitmq_channel_close(struct rabbitmq_channel *ours)
{
	struct broker_channel *channel = channel_of(ours);

	CHECK(channel && channel->state != NONE);
	channel->state = CLOSING;
}

static bool is_usable(const struct broker_channel *channel)
{
	return channel->state == OPEN && sim.up && !sim.breaking;
}

bool rabbitmq_channel_send(struct rabbitmq_channel *ours, amqp_method_number_t id, void *decoded)
{
	struct broker_channel *channel = channel_of(ours);

	CHECK_EQ(id, AMQP_CONFIRM_SELECT_METHOD);
	if (!is_usable(channel))
		return false;
	channel->selecting = true;
	return true;
}

bool rabbitmq_channel_publish(struct rabbitmq_channel *ours, amqp_bytes_t exchange,
			      amqp_bytes_t routing_key, bool mandatory,
			      const amqp_basic_properties_t *properties, amqp_bytes_t body)
{
	struct broker_channel *channel = channel_of(ours);
	struct published *published;

	CHECK(!sim.blocked && !channel->selecting && mandatory);
	if (!sim.steady && any(200) == 0)
		sim.breaking = true;
	if (!is_usable(channel))
		return false;
	CHECK(channel->next < TAGS);
	published = &channel->published[channel->next++];
	published->answered = false;
	snprintf(published->id, sizeof published->id, "%.*s", (int)properties->message_id.len,
		 (const char *)properties->message_id.bytes);
	return true;
}

void rabbitmq_ask_run(struct rabbitmq_ask *ask)
{
	CHECK(sim.ask_count < ASKS);
	sim.asks[sim.ask_count++] = ask;
}

// ---- what the broker does

static void channel_end(struct broker_channel *channel, enum code code, uint16_t reply,
			const char *text)
{
	channel->state = NONE;
	channel->selecting = false;
	channel->next = 1;
	channel->ours->handlers->closed(channel->ours, code, reply, text);
	run();
}

static void connection_end(enum code code)
{
	sim.up = sim.breaking = sim.blocked = false;
	for (size_t i = 0; i < CHANNELS; ++i)
		if (sim.channels[i].state == OPEN || sim.channels[i].state == CLOSING)
			channel_end(&sim.channels[i],
				    sim.channels[i].state == CLOSING ? CODE_OK : code, 0, "lost");
}

static void method_tell(struct broker_channel *channel, amqp_method_number_t id, void *decoded)
{
	amqp_method_t method = {.id = id, .decoded = decoded};

	channel->ours->handlers->method(channel->ours, &method);
	run();
}

// What is next for a channel that is not consuming confirms: it opens, is ready, or ends.
static void channel_go_on(struct broker_channel *channel)
{
	if (channel->state == CLOSING) {
		channel_end(channel, CODE_OK, 0, NULL);
	} else if (channel->state == WAITING && sim.up) {
		channel->state = OPEN;
		channel->next = 1;
		channel->ours->handlers->opened(channel->ours);
		run();
	} else if (channel->selecting && sim.up) {
		channel->selecting = false;
		method_tell(channel, AMQP_CONFIRM_SELECT_OK_METHOD, NULL);
	}
}

static void confirm(struct broker_channel *channel, uint64_t tag, bool multiple, bool ack)
{
	amqp_basic_ack_t acked = {.delivery_tag = tag, .multiple = multiple};
	amqp_basic_nack_t nacked = {.delivery_tag = tag, .multiple = multiple};

	method_tell(channel, ack ? AMQP_BASIC_ACK_METHOD : AMQP_BASIC_NACK_METHOD,
		    ack ? (void *)&acked : (void *)&nacked);
}

static void confirm_some(struct broker_channel *channel)
{
	// Also tags that were answered, that are silent, and now and then one that never was.
	uint64_t tag = 1 + any((uint32_t)channel->next - 1 + (any(50) == 0));

	confirm(channel, tag, any(2), any(4) > 0);
}

static void return_some(struct broker_channel *channel)
{
	uint64_t tag = 1 + any((uint32_t)channel->next - 1);
	amqp_basic_properties_t properties = {
		._flags = AMQP_BASIC_MESSAGE_ID_FLAG,
		.message_id = amqp_cstring_bytes(channel->published[tag].id)};
	struct rabbitmq_head head = {.returned = true, .code = 312, .properties = &properties};

	channel->ours->handlers->head(channel->ours, &head);
	if (any(2))
		confirm(channel, tag, false, true);
}

static void channel_refuse(struct broker_channel *channel)
{
	static const struct {
		uint16_t reply, code;
		const char *text;
	} rows[] = {{404, CODE_NOT_FOUND, "NOT_FOUND - no exchange 't1' in vhost '/'"},
		    {403, CODE_FORBIDDEN, "ACCESS_REFUSED - access to exchange 't2' refused"},
		    {406, CODE_CONFLICT, "message size 900 is larger than configured max size 23"},
		    {506, CODE_BACKEND_ERROR, "RESOURCE_ERROR"},
		    {0, CODE_TOO_LARGE, "does not fit"},
		    {0, CODE_OVERLOADED, "too many channels"}};
	size_t i = any(ARRAY_SIZE(rows));

	channel_end(channel, (enum code)rows[i].code, rows[i].reply, rows[i].text);
}

static void ask_answer(size_t at, enum code code)
{
	struct rabbitmq_ask *ask = sim.asks[at];

	sim.asks[at] = sim.asks[--sim.ask_count];
	for (size_t i = 0; code == CODE_OK && i < ask->count; ++i)
		ask->steps[i].missing = any(8) == 0;
	ask->done(ask, code, code == CODE_OK ? NULL : "words");
	run();
}

// ---- what is sent

struct sent {
	struct submit submit;
	struct submit_record *records;
	uint8_t *data;
};

static void on_done(struct submit *submit)
{
	struct sent *sent = CONTAINER_OF(submit, struct sent, submit);
	uint32_t count = 0;

	for (uint32_t i = 0; i < submit->run_count; ++i) {
		const struct submit_run *one = &submit->runs[i];

		count += one->count;
		*(one->outcome == OUTCOME_OK         ? &sim.ok
		  : one->outcome == OUTCOME_REJECTED ? &sim.rejected
						     : &sim.unknown) += one->count;
		CHECK_EQ(one->outcome == OUTCOME_OK, one->code == CODE_OK);
	}
	CHECK_EQ(count, submit->count);
	CHECK(sim.submits > 0);
	--sim.submits;
	free(submit->runs);
	free(sent->records);
	free(sent->data);
	memset(sent, 0xee, sizeof *sent); // an answer that comes again meets this
	free(sent);
}

static size_t record_make(uint8_t *room)
{
	static uint64_t number;
	uint8_t id[RECORD_ID_SIZE] = {1};
	struct record_parts parts = {
		.id = id,
		.created_ms = 1,
		.body = {(const uint8_t *)"xxxxxxxxxxxxxxxxxxxxxxxx", any(BODY)}};

	++number;
	memcpy(id + 1, &number, sizeof number);
	record_write(&parts, room);
	return record_parts_size(&parts);
}

static void submit(size_t topic, uint32_t count)
{
	struct sent *sent = calloc(1, sizeof *sent);
	size_t step = RECORD_HEAD_SIZE + BODY;

	CHECK(sent);
	sent->records = calloc(count, sizeof *sent->records);
	sent->data = malloc(count * step);
	sent->submit = (struct submit){.topic = sim.open[topic],
				       .records = sent->records,
				       .count = count,
				       .runs = calloc(count, sizeof *sent->submit.runs),
				       .done = on_done};
	CHECK(sent->records && sent->data && sent->submit.runs);
	for (uint32_t i = 0; i < count; ++i) {
		sent->records[i] =
			(struct submit_record){.data = sent->data + i * step,
					       .size = (uint32_t)record_make(sent->data + i * step),
					       .partition = any(50) == 0 ? 9 : any(2)};
	}
	++sim.submits;
	rabbitmq_sender_submit(&sim.adapter, &sent->submit);
}

struct posted {
	struct rabbitmq_post post;
	uint8_t record[RECORD_HEAD_SIZE + BODY];
};

static void on_posted(struct rabbitmq_post *post, enum outcome outcome, enum code code,
		      const char *text)
{
	CHECK_EQ(outcome == OUTCOME_OK, code == CODE_OK);
	CHECK(sim.posts > 0);
	--sim.posts;
	free(CONTAINER_OF(post, struct posted, post));
}

static void post(void)
{
	struct posted *posted = calloc(1, sizeof *posted);

	CHECK(posted);
	record_make(posted->record);
	posted->post = (struct rabbitmq_post){.queue = "g.retry",
					      .record = posted->record,
					      .due_ms = 5,
					      .stored_ms = 4,
					      .done = on_posted};
	++sim.posts;
	rabbitmq_sender_post(&sim.adapter, &posted->post);
}

// ---- the whole

static void no_line(void *ctx, enum log_level level, const char *line, size_t size)
{
}

static void begin(uint64_t random)
{
	static char cluster[] = "c";
	static const char *const names[TOPICS] = {"t0", "t1", "t2"};
	struct published *kept[CHANNELS];

	for (size_t i = 0; i < CHANNELS; ++i) {
		kept[i] = sim.channels[i].published;
		if (!kept[i])
			kept[i] = calloc(TAGS, sizeof *kept[i]);
		CHECK(kept[i]);
	}
	memset(&sim, 0, sizeof sim);
	for (size_t i = 0; i < CHANNELS; ++i)
		sim.channels[i] = (struct broker_channel){.published = kept[i], .next = 1};
	log_set_sink(no_line, NULL);
	sim.random = random;
	sim.now_ns = 1000 * S_NS;
	sim.adapter.cluster = cluster;
	sim.adapter.options.timeout_ms = TIMEOUT_MS;
	sim.adapter.options.memory_bytes = 1 << 20;
	CHECK_EQ(loop_new("test", &sim.loop), 0);
	CHECK_EQ(rabbitmq_health_start(&sim.adapter), 0);
	CHECK_EQ(rabbitmq_sender_start(&sim.adapter), 0);
	rabbitmq_health_opened(&sim.adapter);
	for (size_t i = 0; i < TOPICS; ++i) {
		sim.topics[i] = (struct topic){.object = {.refs = 1, .id = i},
					       .physical = names[i],
					       .incarnation = 9,
					       .partitions = 2,
					       .imported = i == 1};
		sim.open[i] = rabbitmq_topic_open(&sim.adapter, &sim.topics[i]);
		CHECK(sim.open[i]);
	}
	run();
}

static void *stop_sender(void *nothing)
{
	rabbitmq_sender_stop(&sim.adapter);
	__atomic_store_n(&sim.stopped, true, __ATOMIC_RELEASE);
	return nothing;
}

// The order in which an adapter closes: sender, ask link, send link.
static void end(void)
{
	pthread_t thread;

	CHECK_EQ(pthread_create(&thread, NULL, stop_sender, NULL), 0);
	while (!__atomic_load_n(&sim.stopped, __ATOMIC_ACQUIRE))
		pass_ms(100);
	pthread_join(thread, NULL);
	CHECK_EQ(sim.submits + sim.posts, 0);
	submit(0, 2);
	post();
	CHECK_EQ(sim.submits + sim.posts, 0); // from then on everything at once
	while (sim.ask_count)
		ask_answer(0, CODE_SHUTTING_DOWN);
	run();
	for (size_t i = 0; i < CHANNELS; ++i)
		if (sim.channels[i].state != NONE)
			channel_end(&sim.channels[i], CODE_SHUTTING_DOWN, 0, "closing");
	for (size_t i = 0; i < TOPICS; ++i)
		rabbitmq_topic_close(sim.open[i]);
	CHECK_EQ(sim.ended, sim.admitted);
	CHECK_EQ(sim.adapter.sender->bytes, 0);
	rabbitmq_sender_free(&sim.adapter);
	rabbitmq_health_stop(&sim.adapter);
	loop_free(sim.loop);
}

static void channels_ready(void)
{
	for (size_t i = 0; i < CHANNELS; ++i) {
		channel_go_on(&sim.channels[i]); // opened
		channel_go_on(&sim.channels[i]); // selected
	}
}

static void begin_ready(void)
{
	begin(1);
	sim.up = true;
	channels_ready();
	while (sim.ask_count) {
		struct rabbitmq_ask *ask = sim.asks[--sim.ask_count];

		ask->done(ask, CODE_OK, NULL);
		run();
	}
}

static struct broker_channel *busy_channel(void)
{
	for (size_t i = 0; i < CHANNELS; ++i)
		if (sim.channels[i].next > 1)
			return &sim.channels[i];
	CHECK(!"nothing is published");
	return NULL;
}

// ---- single steps

static void circuit_open(void)
{
	rabbitmq_health_note(&sim.adapter, CODE_BACKEND_DOWN, "no broker");
	sim.up = false;
	for (unsigned i = 0; i < 2 && sim.ask_count; ++i)
		ask_answer(sim.ask_count - 1, CODE_BACKEND_DOWN);
}

// Nothing is under way: the end of a copy that was not admitted would end the program.
static void a_copy_that_is_refused_ends_nothing(void)
{
	begin_ready();
	circuit_open();
	post();
	run();
	CHECK_EQ(sim.posts, 0);
	CHECK_EQ(sim.admitted, 0);
	CHECK_EQ(sim.ended, 0);
	submit(0, 3);
	CHECK_EQ(sim.rejected, 3);
	end();
}

// A window is full in the middle of a batch when the channel ends: what is published is in doubt,
// the rest is refused, and each ends once.
static void a_batch_that_is_published_in_part(void)
{
	for (unsigned silent = 0; silent < 2; ++silent) {
		begin_ready();
		sim.adapter.options.memory_bytes = 1 << 30;
		sim.steady = true;
		submit(0, SENT);
		run();
		CHECK_EQ(busy_channel()->next, RABBITMQ_CONFIRMS_COUNT + 1);
		CHECK_EQ(sim.submits, 1);
		if (silent)
			pass_ms(TIMEOUT_MS + 200);
		else
			channel_end(busy_channel(), CODE_CONNECTION_LOST, 0, "lost");
		CHECK_EQ(sim.submits, 0);
		CHECK_EQ(sim.ok, 0);
		CHECK_EQ(sim.unknown, RABBITMQ_CONFIRMS_COUNT);
		CHECK_EQ(sim.rejected, SENT - RABBITMQ_CONFIRMS_COUNT);
		CHECK_EQ(sim.ended, sim.admitted);
		end();
	}
}

// ---- random schedules

static void channel_step(void)
{
	struct broker_channel *channel = &sim.channels[any(CHANNELS)];

	if (!channel->ours)
		return;
	if (channel->state != OPEN || channel->selecting)
		channel_go_on(channel);
	else if (any(40) == 0)
		channel_refuse(channel);
	else if (channel->next == 1)
		run();
	else if (any(6) == 0)
		return_some(channel);
	else
		confirm_some(channel);
}

static void link_step(void)
{
	if (!sim.up) {
		sim.up = any(3) == 0;
		rabbitmq_health_note(&sim.adapter, sim.up ? CODE_OK : CODE_BACKEND_DOWN, "words");
	} else if (any(4) == 0) {
		connection_end(any(2) ? CODE_CONNECTION_LOST : CODE_BACKEND_DOWN);
	}
}

static void blocked_step(void)
{
	if (!sim.up)
		return;
	sim.blocked = !sim.blocked && any(3) == 0;
	rabbitmq_health_blocked(&sim.adapter, sim.blocked ? "low on memory" : NULL);
}

static void ask_step(void)
{
	static const enum code codes[] = {CODE_OK, CODE_OK, CODE_OK, CODE_TIMEOUT,
					  CODE_BACKEND_DOWN};

	if (sim.ask_count)
		ask_answer(any((uint32_t)sim.ask_count), codes[any(ARRAY_SIZE(codes))]);
}

static void step(void)
{
	uint32_t drawn = any(100);

	if (sim.breaking && any(3) == 0)
		connection_end(CODE_CONNECTION_LOST);
	if (drawn < 20)
		submit(any(TOPICS), 1 + any(any(20) == 0 ? 400 : 6));
	else if (drawn < 28)
		post();
	else if (drawn < 65)
		channel_step();
	else if (drawn < 69)
		link_step();
	else if (drawn < 72)
		blocked_step();
	else if (drawn < 82)
		ask_step();
	else if (drawn < 85)
		rabbitmq_health_look(&sim.adapter);
	else if (drawn < 98)
		pass_ms(any(200));
	else
		pass_ms(any(2 * TIMEOUT_MS));
	if (any(2))
		run();
}

static void every_message_ends_once_whatever_happens(void)
{
	unsigned ok = 0, rejected = 0, unknown = 0;

	for (uint64_t seed = 1; seed <= 300; ++seed) {
		begin(seed * 7919);
		sim.up = any(4) > 0;
		for (unsigned i = 0, steps = 40 + any(400); i < steps; ++i)
			step();
		ok += sim.ok;
		rejected += sim.rejected;
		unknown += sim.unknown;
		end();
	}
	CHECK(ok > 1000 && rejected > 1000 && unknown > 1000); // all of it was tried
}

UNIT_MAIN(UNIT_CASE(a_copy_that_is_refused_ends_nothing),
	  UNIT_CASE(a_batch_that_is_published_in_part),
	  UNIT_CASE(every_message_ends_once_whatever_happens))
