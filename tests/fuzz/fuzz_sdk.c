// The C library as a proxy that lies finds it: a real client with a producer and a push consumer,
// run by its application's loop, and frames of the fuzzer's choice with right checksums. Whatever
// comes, every message that was taken ends exactly once, and what is delivered can be read.
//
// First byte: bit 0: the client has not even heard WELCOME. Then one action after the other: a byte
// that says what (an index into `types` with a codec in bits 5 and 6; above them sends), a stream,
// a payload of two bytes of size. The producer's stream is 1, the consumer's 2.

#include "core/base/util.h"
#include "sdk/c/src/handshake.h"
#include "sdk/c/src/link_impl.h"
#include "tests/fuzz/fuzz.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#define ACTION_SIZE 4u
#define PAYLOAD_MAX 8192u
#define SEND_ACTION 0x1fu // the other actions are frames

static const uint8_t types[] = {
	FRAME_WELCOME,      FRAME_AUTH,     FRAME_READY,  FRAME_ERROR,    FRAME_PING,
	FRAME_PONG,         FRAME_GOAWAY,   FRAME_CLOSED, FRAME_THROTTLE, FRAME_ADDRESSES,
	FRAME_TOPIC_OPENED, FRAME_PRODUCED, FRAME_WINDOW, FRAME_DELIVER,  FRAME_SUBSCRIBED,
	FRAME_SETTLED,      FRAME_DRAINED,
};

static struct mqp_client *client; // of all runs: making one reads the system's authorities
static struct mqp_message *message;

struct run {
	struct mqp_producer *producer;
	struct mqp_consumer *consumer;
	int peer; // our end of the link's socket
	unsigned taken, ended, delivered;
};

static void ended(const struct mqp_result *result, void *arg)
{
	struct run *run = arg;

	assert(mqp_result_final(result) && mqp_code_name(mqp_result_code(result)));
	++run->ended;
}

static enum mqp_verdict delivered(struct mqp_message *got, void *arg)
{
	static const enum mqp_verdict verdicts[] = {MQP_VERDICT_ACK, MQP_VERDICT_NACK,
						    MQP_VERDICT_REJECT, MQP_VERDICT_RELEASE,
						    MQP_VERDICT_KEEP};
	struct run *run = arg;
	volatile unsigned sum = 0; // of bytes that must be readable
	size_t size;
	const uint8_t *body = mqp_message_body(got, &size);
	enum mqp_verdict verdict = verdicts[run->delivered++ % ARRAY_SIZE(verdicts)];

	for (size_t i = 0; i < size; ++i)
		sum += body[i];
	for (unsigned i = 0; i < mqp_message_header_count(got); ++i) {
		const char *name;
		const void *value;
		size_t name_size;

		assert(mqp_message_header(got, i, &name, &name_size, &value, &size));
		sum += (unsigned char)name[0];
	}
	if (verdict == MQP_VERDICT_KEEP)
		mqp_message_free(got);
	return verdict;
}

static void silent(enum mqp_log_level level, const char *line, void *arg)
{
	assert(level >= MQP_LOG_WARN && line[0]);
}

static int client_begin(void)
{
	struct mqp_client_config config;

	mqp_client_config_init(&config, sizeof config);
	config.addresses = "127.0.0.1:1"; // never connected to: each run brings its own link
	config.access_key = "user";
	config.secret = "pencil";
	config.io = MQP_IO_APP;
	config.log = silent;
	if (mqp_client_new(&config, &client) != MQP_OK || mqp_message_new(&message) != MQP_OK)
		return -1;
	return mqp_message_set_body(message, "body", 4) == MQP_OK ? 0 : -1;
}

// One round, in which the client connects to no server, whatever addresses it was told.
static void go_round(struct run *run)
{
	char written[4096];

	timer_clear(&client->timers, &client->connect_timer);
	assert(mqp_client_process(client) == MQP_OK);
	timer_clear(&client->timers, &client->connect_timer);
	while (recv(run->peer, written, sizeof written, MSG_DONTWAIT) > 0)
		continue;
}

static void members_start(struct run *run)
{
	struct mqp_producer_config producer;
	struct mqp_consumer_config consumer;

	mqp_producer_config_init(&producer, sizeof producer);
	producer.topic = "t";
	mqp_consumer_config_init(&consumer, sizeof consumer);
	consumer.group = "g";
	consumer.callback = delivered;
	consumer.arg = run;
	assert(mqp_producer_new(client, &producer, &run->producer) == MQP_OK);
	assert(mqp_consumer_new(client, &consumer, &run->consumer) == MQP_OK);
}

static void link_begin(struct run *run, bool ready)
{
	static const struct address address = {.host = "fuzz", .port = "1"};
	struct link *link;
	int fds[2];

	assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
	assert(link_new(client, &address, &link) == 0);
	client->link = link;
	run->peer = fds[1];
	transport_init(&link->transport, fds[0]);
	handshake_connected(link);
	go_round(run); // the members are attached
	if (ready) {
		link->state = LINK_READY;
		link->max_frame = link->framer.max_payload = 1u << 20;
		link->codecs = 7;
		link->keepalive_ns = 30 * S_NS;
		link->granted = 1u << 20;
		link->deadline_ns = UINT64_MAX;
		client_link_ready(client, link);
		go_round(run);
	}
}

static void send_message(struct run *run)
{
	if (mqp_send_async(run->producer, message, ended, run) == MQP_OK)
		++run->taken;
	assert(mqp_send_oneway(run->producer, message) != MQP_CLOSED);
}

static void send_frame(struct run *run, const uint8_t *action, const uint8_t *payload, size_t size)
{
	uint8_t bytes[WIRE_HEADER_SIZE + PAYLOAD_MAX];
	unsigned codec = action[0] >> 5 & FRAME_CODEC_MASK;

	memcpy(bytes + WIRE_HEADER_SIZE, payload, size);
	frame_seal(bytes, types[(action[0] & 0x1f) % ARRAY_SIZE(types)], (uint8_t)codec,
		   action[1] & 3, (uint32_t)size);
	// A client that has closed already takes nothing more.
	(void)!send(run->peer, bytes, WIRE_HEADER_SIZE + size, MSG_NOSIGNAL);
	link_event(link_of(client->links.next), EPOLLIN);
}

static void act(struct run *run, const uint8_t *data, size_t size)
{
	while (size >= ACTION_SIZE && !list_empty(&client->links)) {
		size_t payload = MIN((data[2] | data[3] << 8) % PAYLOAD_MAX, size - ACTION_SIZE);

		if ((data[0] & 0x1f) == SEND_ACTION)
			send_message(run);
		else
			send_frame(run, data, data + ACTION_SIZE, payload);
		go_round(run);
		data += ACTION_SIZE + payload;
		size -= ACTION_SIZE + payload;
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	return client_begin();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run run = {0};

	if (size == 0)
		return 0;
	members_start(&run);
	link_begin(&run, !(data[0] & 1));
	send_message(&run);
	go_round(&run);
	act(&run, data + 1, size - 1);
	if (!list_empty(&client->links))
		link_close(link_of(client->links.next), MQP_CLOSED, "the run is over");
	go_round(&run);
	mqp_producer_free(run.producer);
	mqp_consumer_free(run.consumer);
	go_round(&run);
	assert(list_empty(&client->links) && run.taken == run.ended);
	close(run.peer);
	return 0;
}
