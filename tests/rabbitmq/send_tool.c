// The sending side of the RabbitMQ adapter in the hands of a test: commands on standard input, what
// happens on standard output, a line each.
//
//	send_tool OPTIONS_JSON [SECRETS_JSON]
//
//	topic NAME PARTITIONS FLAGS      opens it; FLAGS: "imported", "native", "-"
//	send NAME COUNT BYTES BATCH LOG  COUNT messages, BATCH in each submit
//	post QUEUE COUNT                 copies, to a queue
//	state · stop
//
// The body of a message is its number, from where the last send of the topic ended, and BYTES
// bytes; its key is the number modulo 7. When all have ended, it is said how many did in what way;
// LOG is a file to which each answer goes: "OUTCOME CODE NUMBER" ("-": none).
//
// Each answer is checked: one for each message, in the order of the batch.

#include "adapters/rabbitmq/send/sender.h"
#include "adapters/rabbitmq/send/topic.h"
#include "core/base/clock.h"
#include "core/wire/record.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

#define TOPICS 64

extern const struct adapter_ops rabbitmq_ops;

struct open_topic {
	char name[64];
	const struct topic *model;
	struct adapter_topic *topic;
	uint64_t next; // number
};

// One `send` or `post`.
struct sending {
	const char *name;
	FILE *log;
	uint64_t begun_ns, left, counts[3][CODE_COUNT];
};

struct batch {
	struct submit submit;
	struct sending *sending;
	uint64_t first;
	struct submit_record *records;
	struct submit_run *runs;
};

struct copy {
	struct rabbitmq_post post;
	struct sending *sending;
};

static struct adapter *adapter;
static struct open_topic topics[TOPICS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;
static unsigned under_way; // sendings

static void say(const char *fmt, ...) PRINTF_LIKE(1, 2);
static void say(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
}

static const char *const outcomes[] = {"OK", "REJECTED", "UNKNOWN"};

// ---- answers

// With the lock.
static void sending_end(struct sending *sending)
{
	char line[1024] = "";
	size_t used = 0;

	for (unsigned outcome = 0; outcome < 3; ++outcome)
		for (unsigned code = 0; code < CODE_COUNT; ++code)
			if (sending->counts[outcome][code])
				used += (size_t)snprintf(line + used, sizeof line - used,
							 " %s/%s:%" PRIu64, outcomes[outcome],
							 code_name((enum code)code),
							 sending->counts[outcome][code]);
	if (sending->log)
		fclose(sending->log);
	say("sent %s %llu%s", sending->name, (clock_now_ns() - sending->begun_ns) / MS_NS, line);
	free((char *)sending->name);
	free(sending);
	--under_way;
	pthread_cond_broadcast(&ended);
}

static void answer_note(struct sending *sending, unsigned outcome, unsigned code, uint64_t number)
{
	++sending->counts[outcome][code];
	if (sending->log)
		fprintf(sending->log, "%s %s %" PRIu64 "\n", outcomes[outcome],
			code_name((enum code)code), number);
	assert(sending->left > 0);
	if (--sending->left == 0)
		sending_end(sending);
}

static void on_done(struct submit *submit)
{
	struct batch *batch = CONTAINER_OF(submit, struct batch, submit);
	uint32_t at = 0;

	pthread_mutex_lock(&lock);
	for (uint32_t i = 0; i < submit->run_count; ++i) {
		const struct submit_run *run = &submit->runs[i];

		assert(run->count > 0 && at + run->count <= submit->count);
		for (uint32_t j = 0; j < run->count; ++j, ++at)
			answer_note(batch->sending, run->outcome, run->code, batch->first + at);
	}
	pthread_mutex_unlock(&lock);
	assert(at == submit->count);
	submit->run_count = 0; // a second answer would be seen
	submit->count = 0;
	buf_unref(submit->buf);
	free(batch->records);
	free(batch->runs);
	free(batch);
}

static void on_posted(struct rabbitmq_post *post, enum outcome outcome, enum code code,
		      const char *text)
{
	struct copy *copy = CONTAINER_OF(post, struct copy, post);

	pthread_mutex_lock(&lock);
	answer_note(copy->sending, outcome, code, post->due_ms);
	pthread_mutex_unlock(&lock);
	buf_unref(post->buf);
	free(copy);
}

// ---- sending

static struct sending *sending_new(const char *name, uint64_t count, const char *log)
{
	struct sending *sending = calloc(1, sizeof *sending);

	sending->name = strdup(name);
	sending->left = count;
	sending->begun_ns = clock_now_ns();
	sending->log = strcmp(log, "-") == 0 ? NULL : fopen(log, "w");
	pthread_mutex_lock(&lock);
	++under_way;
	pthread_mutex_unlock(&lock);
	return sending;
}

// A record whose body begins with its number.
static size_t record_make(uint64_t number, size_t bytes, uint8_t *room, char *body)
{
	uint8_t id[RECORD_ID_SIZE] = {1};
	char key[8];
	struct record_parts parts = {.id = id, .created_ms = clock_wall_ms()};
	int size = snprintf(body, 24, "%" PRIu64 " ", number);

	le64_put(id + 8, number);
	memset(body + size, '.', bytes);
	parts.body = (struct slice){(const uint8_t *)body, (size_t)size + bytes};
	snprintf(key, sizeof key, "k%u", (unsigned)(number % 7));
	parts.key = (struct slice){(const uint8_t *)key, strlen(key)};
	if (room)
		record_write(&parts, room);
	return record_parts_size(&parts);
}

static void batch_send(struct open_topic *to, struct sending *sending, uint32_t count, size_t bytes)
{
	struct batch *batch = calloc(1, sizeof *batch);
	char *body = malloc(bytes + 24);
	size_t used = 0;

	batch->sending = sending;
	batch->first = to->next;
	batch->records = calloc(count, sizeof *batch->records);
	batch->runs = calloc(count, sizeof *batch->runs);
	assert(buf_new(count * (bytes + 128), &batch->submit.buf) == 0);
	for (uint32_t i = 0; i < count; ++i) {
		uint64_t number = to->next++;
		uint8_t *record = batch->submit.buf->data + used;
		size_t size = record_make(number, bytes, record, body);

		batch->records[i] = (struct submit_record){
			record, (uint32_t)size, (uint32_t)(number % 7) % to->model->partitions};
		used += size;
	}
	free(body);
	batch->submit.topic = to->topic;
	batch->submit.records = batch->records;
	batch->submit.count = count;
	batch->submit.runs = batch->runs;
	batch->submit.done = on_done;
	rabbitmq_ops.submit(adapter, &batch->submit);
}

static void post_send(struct sending *sending, const char *queue, uint64_t number)
{
	struct copy *copy = calloc(1, sizeof *copy);
	char body[64];

	copy->sending = sending;
	assert(buf_new(record_make(number, 10, NULL, body), &copy->post.buf) == 0);
	record_make(number, 10, copy->post.buf->data, body);
	copy->post.queue = queue;
	copy->post.record = copy->post.buf->data;
	copy->post.due_ms = number;
	copy->post.done = on_posted;
	rabbitmq_sender_post(adapter, &copy->post);
}

// ---- commands

static struct open_topic *topic_find(const char *name)
{
	struct open_topic *topic = topics;

	while (topic->topic && strcmp(topic->name, name) != 0)
		++topic;
	assert(topic < topics + TOPICS);
	return topic;
}

static void topic_open(const char *name, unsigned partitions, const char *flags)
{
	struct open_topic *topic = topic_find(name);
	struct topic draft = {.object.id = (uint64_t)(topic - topics) + 1,
			      .name = name,
			      .physical = name,
			      .incarnation = 1,
			      .partitions = partitions,
			      .message_bytes = 1 << 28,
			      .durability = DURABILITY_D1,
			      .native = strstr(flags, "native"),
			      .imported = strstr(flags, "imported")};

	snprintf(topic->name, sizeof topic->name, "%s", name);
	topic->model = model_new(MODEL_TOPIC, &draft);
	topic->topic = rabbitmq_ops.topic_open(adapter, topic->model);
	say("open %s", name);
}

static void send(char **words)
{
	struct open_topic *topic = topic_find(words[0]);
	uint64_t count = strtoull(words[1], NULL, 10), bytes = strtoull(words[2], NULL, 10);
	uint64_t most = strtoull(words[3], NULL, 10);
	struct sending *sending = sending_new(words[0], count, words[4]);

	for (uint64_t left = count; left > 0; left -= MIN(left, most))
		batch_send(topic, sending, (uint32_t)MIN(left, most), bytes);
}

static void post(char **words)
{
	static char queue[256]; // of all posts: only one at a time is under way
	uint64_t count = strtoull(words[1], NULL, 10);
	struct sending *sending = sending_new(words[0], count, "-");

	snprintf(queue, sizeof queue, "%s", words[0]);
	for (uint64_t i = 0; i < count; ++i)
		post_send(sending, queue, i);
}

static void state_say(void)
{
	static const char *const healths[] = {"CONNECTING", "READY", "DEGRADED", "DOWN"};
	struct adapter_state state;

	rabbitmq_ops.state(adapter, &state);
	say("state %s %d %s", healths[state.health], state.circuit, state.error);
}

// False: it is the last.
static bool command_do(char *line)
{
	const char *verb = strsep(&line, " ");
	char empty[] = "", *words[5];

	for (size_t i = 0; i < ARRAY_SIZE(words); ++i)
		words[i] = line ? strsep(&line, " ") : empty;
	if (strcmp(verb, "topic") == 0)
		topic_open(words[0], (unsigned)strtoul(words[1], NULL, 10), words[2]);
	else if (strcmp(verb, "send") == 0)
		send(words);
	else if (strcmp(verb, "post") == 0)
		post(words);
	else if (strcmp(verb, "state") == 0)
		state_say();
	else
		return false;
	return true;
}

static void on_closed(void *ctx)
{
	pthread_mutex_lock(&lock);
	*(bool *)ctx = true;
	pthread_cond_broadcast(&ended);
	pthread_mutex_unlock(&lock);
}

static void topics_close(void)
{
	for (struct open_topic *topic = topics; topic->topic; ++topic) {
		rabbitmq_ops.topic_close(topic->topic);
		model_unref(topic->model);
	}
}

int main(int argc, char **argv)
{
	const struct cluster cluster = {.name = "c",
					.kind = "rabbitmq",
					.options_json = argc > 1 ? argv[1] : "{}",
					.secrets_json = argc > 2 ? argv[2] : NULL};
	struct log_ctx log = {.cluster = "c"};
	struct adapter_env env = {.data_dir = "/nonexistent", .log = &log};
	char *error = NULL, line[1024];
	bool closed = false;

	if (rabbitmq_ops.open(&cluster, &env, &adapter, &error) < 0) {
		say("refused %s", error);
		free(error);
		return 1;
	}
	while (fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\n")] = '\0';
		if (!command_do(line))
			break;
	}
	topics_close();
	rabbitmq_ops.close(adapter, on_closed, &closed);
	pthread_mutex_lock(&lock);
	while (!closed)
		pthread_cond_wait(&ended, &lock);
	assert(under_way == 0);
	pthread_mutex_unlock(&lock);
	say("stopped");
	return 0;
}
