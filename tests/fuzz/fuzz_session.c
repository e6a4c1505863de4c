// The proxy as a client that lies finds it: a real one with workers, a topic, a group and messages
// in memory; a connection an input, whose frames have right checksums. Whatever comes, the proxy
// answers or closes, and when the client has ended so has the connection.
//
// First byte: 0: the rest is sent as it is; 1: after the preface come frames; 2: the client has
// logged in first; else it also has the topic open on stream 1, one message sent to it, and the
// group's messages coming on stream 2. A frame is a byte for the type (an index into `types`, flags
// in bits 5 to 7), one for the stream, two for the payload's size, the payload.

#include "core/net/scram.h"
#include "core/wire/credit.h"
#include "core/wire/fields.h"
#include "core/wire/frame.h"
#include "core/wire/produce.h"
#include "core/wire/record.h"
#include "tests/e2e/memory_proxy.h"
#include "tests/fuzz/fuzz.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#define NONCE       "rOprNGfwEbeRWgbNEkqO"
#define HEAD        4u
#define PAYLOAD_MAX 8192u
#define LIFE        1000u // inputs until another proxy begins: what they have stored goes

static const uint8_t types[] = {
	FRAME_HELLO,     FRAME_AUTH,  FRAME_PING,    FRAME_PONG,   FRAME_GOAWAY, FRAME_OPEN_TOPIC,
	FRAME_SUBSCRIBE, FRAME_CLOSE, FRAME_PRODUCE, FRAME_CREDIT, FRAME_SETTLE,
};

static struct sockaddr_in address;
static struct scram_cache cache;

// ---- The proxy -------------------------------------------------------------------------------

static void proxy_begin(void)
{
	unsigned port;

	memory_proxy_start();
	assert(sscanf(memory_proxy.address, "127.0.0.1:%u", &port) == 1);
	address = (struct sockaddr_in){.sin_family = AF_INET,
				       .sin_port = htons((uint16_t)port),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void at_end(void)
{
	memory_proxy_stop();
	memory_proxy_close();
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	memory_proxy_open();
	proxy_begin();
	return atexit(at_end);
}

// ---- The client ------------------------------------------------------------------------------

// Each from an address of its own: a port that was used is not free again for a minute.
static int connect_anew(unsigned number)
{
	struct sockaddr_in own = {.sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK + number % 65536)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert(fd >= 0 && bind(fd, (struct sockaddr *)&own, sizeof own) == 0);
	assert(connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
	return fd;
}

static void send_all(int fd, const void *data, size_t size)
{
	// A proxy that has closed already takes nothing more.
	(void)!send(fd, data, size, MSG_NOSIGNAL);
}

static void send_frame(int fd, uint8_t type, uint8_t flags, uint32_t stream, const uint8_t *payload,
		       size_t size)
{
	uint8_t bytes[WIRE_HEADER_SIZE + PAYLOAD_MAX];

	if (size)
		memcpy(bytes + WIRE_HEADER_SIZE, payload, size);
	frame_seal(bytes, type, flags, stream, (uint32_t)size);
	send_all(fd, bytes, WIRE_HEADER_SIZE + size);
}

// libFuzzer's alarm interrupts what waits.
static void recv_all(int fd, void *room, size_t size)
{
	for (size_t at = 0; at < size;) {
		ssize_t n = recv(fd, (uint8_t *)room + at, size - at, 0);

		assert(n > 0 || (n < 0 && errno == EINTR));
		at += n > 0 ? (size_t)n : 0;
	}
}

// Reads one frame of the proxy's that must come: of that type, with a field.
static void expect(int fd, uint8_t type, struct fields *ret, uint8_t payload[WIRE_EARLY_MAX])
{
	uint8_t head[WIRE_HEADER_SIZE];
	struct frame_header header;

	recv_all(fd, head, sizeof head);
	assert(!frame_decode(head, WIRE_BY_SERVER, WIRE_EARLY_MAX, &header));
	assert(header.type == type);
	recv_all(fd, payload, header.size);
	assert(!fields_read(payload, header.size, ret));
}

static void send_auth(int fd, const char *mechanism, const char *message)
{
	uint8_t payload[SCRAM_MESSAGE_MAX + 64];
	struct field_writer writer;

	field_writer_init(&writer, payload, sizeof payload);
	field_put_text(&writer, FIELD_MECHANISM, mechanism);
	field_put_bytes(&writer, FIELD_SASL, message, strlen(message));
	send_frame(fd, FRAME_AUTH, 0, 0, payload, writer.size);
}

static void log_in(int fd)
{
	static const struct scram_channel none;
	uint8_t payload[WIRE_EARLY_MAX];
	char message[SCRAM_MESSAGE_MAX];
	struct scram_client client;
	struct fields fields;
	bool plus;

	send_frame(fd, FRAME_HELLO, 0, 0, NULL, 0);
	expect(fd, FRAME_WELCOME, &fields, payload);
	assert(scram_client_start(&client, MEMORY_PROXY_KEY, MEMORY_PROXY_SECRET, NONCE, &none,
				  false, &cache, &plus, message) == 0);
	send_auth(fd, SCRAM_MECHANISM, message);
	expect(fd, FRAME_AUTH, &fields, payload);
	assert(scram_client_answer(&client, fields.values[FIELD_SASL], message) == 0);
	send_auth(fd, NULL, message);
	expect(fd, FRAME_READY, &fields, payload);
	assert(scram_client_finish(&client, fields.values[FIELD_SASL]) == 0);
	scram_client_deinit(&client);
}

static void send_name(int fd, uint8_t type, enum field_tag tag, const char *name, uint32_t stream)
{
	uint8_t payload[64];
	struct field_writer writer;

	field_writer_init(&writer, payload, sizeof payload);
	field_put_text(&writer, tag, name);
	send_frame(fd, type, 0, stream, payload, writer.size);
}

// Reads frames of the proxy's until one of that type.
static void await(int fd, uint8_t type)
{
	static uint8_t payload[1u << 20];
	uint8_t head[WIRE_HEADER_SIZE];
	struct frame_header header;

	do {
		recv_all(fd, head, sizeof head);
		assert(!frame_decode(head, WIRE_BY_SERVER, sizeof payload, &header));
		recv_all(fd, payload, header.size);
		assert(header.type != FRAME_ERROR);
	} while (header.type != type);
}

static void prepare(int fd)
{
	static const uint8_t id[RECORD_ID_SIZE] = {1};
	struct record_parts parts = {.id = id, .body = {(const uint8_t *)"body", 4}};
	struct produce_head head = {.batch = 1, .count = 1};
	struct credit credit = {.messages = 1, .bytes = 65536};
	uint8_t payload[256];

	send_name(fd, FRAME_OPEN_TOPIC, FIELD_TOPIC, "t", 1);
	await(fd, FRAME_TOPIC_OPENED);
	produce_head_write(payload, &head);
	record_write(&parts, payload + PRODUCE_HEAD_SIZE);
	send_frame(fd, FRAME_PRODUCE, 0, 1, payload, PRODUCE_HEAD_SIZE + record_parts_size(&parts));
	await(fd, FRAME_PRODUCED);
	send_name(fd, FRAME_SUBSCRIBE, FIELD_GROUP, "g", 2);
	await(fd, FRAME_SUBSCRIBED);
	credit_write(payload, false, &credit);
	send_frame(fd, FRAME_CREDIT, 0, 2, payload, CREDIT_SIZE);
	await(fd, FRAME_DELIVER);
}

static void send_frames(int fd, const uint8_t *data, size_t size)
{
	while (size >= HEAD) {
		size_t payload = MIN((size_t)(data[2] | data[3] << 8) % PAYLOAD_MAX, size - HEAD);

		send_frame(fd, types[(data[0] & 0x1f) % ARRAY_SIZE(types)], data[0] >> 5,
			   data[1] & 3, data + HEAD, payload);
		data += HEAD + payload;
		size -= HEAD + payload;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static unsigned inputs;
	char answers[65536];
	int fd;

	if (size == 0)
		return 0;
	if (++inputs % LIFE == 0) {
		memory_proxy_stop();
		proxy_begin();
	}
	fd = connect_anew(inputs);
	if (data[0] > 0)
		send_all(fd, frame_preface, WIRE_PREFACE_SIZE);
	if (data[0] > 1)
		log_in(fd);
	if (data[0] > 2)
		prepare(fd);
	if (data[0] > 0)
		send_frames(fd, data + 1, size - 1);
	else
		send_all(fd, data + 1, size - 1);
	shutdown(fd, SHUT_WR);
	while (recv(fd, answers, sizeof answers, 0) > 0)
		continue;
	close(fd);
	return 0;
}
