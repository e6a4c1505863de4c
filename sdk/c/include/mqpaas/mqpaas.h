// libmqpaas: send and consume messages through an MQPaaS proxy. The only public header; C99 and
// C++.
//
// Every function says, in this order: what it does; each parameter (shape, unit, limits, copied or
// borrowed); each return value and what was and was not done; ownership after success and after
// failure; which thread may call it and which thread runs callbacks; since which version.
//
// Common rules. Handles are opaque. Text is UTF-8 and ends with a zero unless a size stands beside
// it. "Borrowed" bytes are only read until the call returns, unless the parameter says longer. A
// timeout is in milliseconds: 0 does not wait, -1 waits without limit. An out parameter (`ret_…`)
// is written on success only. A NULL handle where one is needed answers MQP_INVALID_ARGUMENT.
//
// Promises. At least once; no acknowledged message is lost. Messages of one key that one producer
// handle sent (all by mqp_send and mqp_send_async) reach one consumer in that order at their first
// delivery: a message that failed is sent again, with the same id, before later ones of its key.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MQP_API __attribute__((visibility("default")))
#else
#define MQP_API
#endif

#define MQP_VERSION_MAJOR 0
#define MQP_VERSION_MINOR 1
#define MQP_VERSION_PATCH 0

// A connection to the service with its credentials; producers and consumers belong to one.
struct mqp_client;
// Sends to one topic.
struct mqp_producer;
// Takes messages of one subscription group.
struct mqp_consumer;
// A message to be sent (mqp_message_new) or one that was received.
struct mqp_message;
// How a send, or one attempt at it, ended.
struct mqp_result;

// Answers. Numbers below 1000 are the service's own and the same in REST, log and metrics; numbers
// from 1000 are made by this library.
enum mqp_code {
	MQP_OK = 0,                      // done
	MQP_BAD_REQUEST = 1,             // the request is malformed
	MQP_UNAUTHENTICATED = 2,         // the access key or its proof is not accepted
	MQP_FORBIDDEN = 3,               // the access key may not do this
	MQP_NOT_FOUND = 4,               // no such resource
	MQP_CONFLICT = 5,                // the resource exists with other content
	MQP_PRECONDITION_FAILED = 6,     // the resource has changed since it was read
	MQP_IN_USE = 7,                  // the resource is in use
	MQP_TOO_LARGE = 8,               // larger than the limit
	MQP_LIMIT_EXCEEDED = 9,          // a limit of the tenant is reached
	MQP_THROTTLED = 10,              // over the quota; try again later
	MQP_NO_ROUTE = 11,               // no backend is there to keep the message
	MQP_UNSUPPORTED_BY_BACKEND = 12, // the backend cannot do this
	MQP_BACKEND_DOWN = 13,           // the backend cannot be reached
	MQP_BACKEND_FULL = 14,           // the backend has no space left
	MQP_BACKEND_ERROR = 15,          // the backend refused
	MQP_STALE = 16,                  // the receipt or position belongs to the past
	MQP_NOT_READY = 17,              // the resource is being created or deleted
	MQP_SHUTTING_DOWN = 18,          // the proxy is leaving; use another
	MQP_OVERLOADED = 19,             // the proxy is short of memory or descriptors
	MQP_CORRUPT = 20,                // a checksum does not match
	MQP_PROTOCOL = 21,               // the peer broke the protocol
	MQP_TIMEOUT = 22,                // no answer within the deadline
	MQP_CONNECTION_LOST = 23,        // the connection ended before the answer
	MQP_EXPIRED = 24,                // the time to live has passed
	MQP_INTERNAL = 25,               // the proxy failed; its log says more
	MQP_CANCELLED = 26,              // the caller gave up
	MQP_KICKED = 27,                 // an operator closed the connection
	MQP_MOVED = 28,                  // another proxy owns this

	MQP_INVALID_ARGUMENT = 1000, // a parameter is outside its limits; nothing was done
	MQP_NO_MEMORY = 1001,        // this process has no memory left; nothing was done
	MQP_QUEUE_FULL = 1002,       // the producer's memory limit is reached; nothing was taken
	MQP_CLOSED = 1003,           // the handle is closed or being closed; nothing was done
	MQP_WOULD_DEADLOCK = 1004,   // would wait inside a callback for the thread that runs it
	MQP_NOT_CONNECTED = 1005,    // no address could be reached so far
	MQP_TLS = 1006,              // a certificate or the TLS handshake was refused
	MQP_SYSTEM = 1007,           // the operating system refused; errno says why
	MQP_BAD_CREDENTIALS = 1008   // no access key was given, or its file cannot be read
};

// Where a message is after a send ended.
enum mqp_outcome {
	MQP_OUTCOME_OK = 0,       // the backend acknowledged it
	MQP_OUTCOME_REJECTED = 1, // certainly not stored
	MQP_OUTCOME_UNKNOWN = 2   // may be stored
};

// The thread that runs the sockets of a client.
enum mqp_io {
	MQP_IO_THREAD = 0, // one thread of the library's own
	MQP_IO_APP = 1     // the application's loop: mqp_client_fd and mqp_client_process
};

// What a send does when the producer's memory limit is reached.
enum mqp_when_full {
	MQP_FULL_BLOCK = 0, // waits for room, as long as the send's own deadline allows
	MQP_FULL_FAIL = 1   // answers MQP_QUEUE_FULL at once
};

// How batches are compressed.
enum mqp_compression {
	MQP_COMPRESSION_NONE = 0, // not at all
	MQP_COMPRESSION_LZ4 = 1,  // fast
	MQP_COMPRESSION_ZSTD = 2  // small
};

// Weight of a log line.
enum mqp_log_level {
	MQP_LOG_DEBUG = 0, // every step, for finding a fault
	MQP_LOG_INFO = 1,  // connections come and go
	MQP_LOG_WARN = 2,  // something failed and is tried again
	MQP_LOG_ERROR = 3  // something failed for good
};

// What is to become of a received message.
enum mqp_verb {
	MQP_ACK = 0,    // done with
	MQP_NACK = 1,   // not done: comes again after a delay
	MQP_EXTEND = 2, // still being worked on: keep it from coming again for some time
	MQP_REJECT = 3, // can never be done: to the dead letters at once
	MQP_RELEASE = 4 // not looked at: comes again at once, and the attempt does not count
};

// What a push callback returns.
enum mqp_verdict {
	MQP_VERDICT_ACK = 0,     // the library acknowledges and frees the message
	MQP_VERDICT_NACK = 1,    // comes again by the group's own schedule; the library frees it
	MQP_VERDICT_REJECT = 2,  // to the dead letters; the library frees it
	MQP_VERDICT_RELEASE = 3, // comes again at once, uncounted; the library frees it
	MQP_VERDICT_SETTLED = 4, // the callback settled it by mqp_ack, …; the library frees it
	MQP_VERDICT_KEEP = 5     // the application owns it now, settles it later and frees it
};

// Counters since mqp_client_new, and levels (marked "now"). New ones are added at the end.
enum mqp_stat {
	MQP_STAT_SENT = 0,           // messages taken by mqp_send, mqp_send_async, mqp_send_oneway
	MQP_STAT_ACKNOWLEDGED = 1,   // sends that ended OK
	MQP_STAT_REJECTED = 2,       // sends that ended REJECTED
	MQP_STAT_UNKNOWN = 3,        // sends that ended UNKNOWN
	MQP_STAT_ONEWAY_WRITTEN = 4, // oneway messages given to the network
	MQP_STAT_ONEWAY_DROPPED = 5, // oneway messages given up before the network took them
	MQP_STAT_RETRIES = 6,        // messages sent again
	MQP_STAT_BATCHES = 7,        // PRODUCE frames sent
	MQP_STAT_QUEUED_BYTES = 8,   // now: memory held by messages that have not ended
	MQP_STAT_DELIVERED = 9,      // messages received
	MQP_STAT_REDELIVERED = 10,   // of these, with an attempt above 1
	MQP_STAT_ACKED = 11,         // acks the service confirmed
	MQP_STAT_NACKED = 12,        // nacks it confirmed
	MQP_STAT_REJECTS = 13,       // rejects it confirmed
	MQP_STAT_EXTENDED = 14,      // extensions it confirmed
	MQP_STAT_RELEASED = 15,      // releases it confirmed
	MQP_STAT_STALE = 16,         // settles that came too late or were refused
	MQP_STAT_IN_HAND = 17,       // now: received messages that are not settled
	MQP_STAT_CONNECTS = 18,      // connections that became ready
	MQP_STAT_CONNECT_FAILURES = 19, // attempts to connect that failed
	MQP_STAT_GOAWAYS = 20,          // times a proxy asked this client to leave
	MQP_STAT_THROTTLES = 21,        // THROTTLE notices received
	MQP_STAT_BYTES_OUT = 22,        // bytes written to sockets
	MQP_STAT_BYTES_IN = 23,         // bytes read from sockets
	MQP_STAT_CONNECTED = 24         // now: 1 while a connection is ready
};

// The id of a message.
#define MQP_ID_SIZE 16
// Trace id (16), parent id (8), flags (1): W3C trace context level 1.
#define MQP_TRACE_SIZE 25
// mqp_message_partition of a message whose partition is not known or not asked for.
#define MQP_PARTITION_ANY UINT32_MAX
// The delay of mqp_nack that means: by the group's own schedule.
#define MQP_NACK_SCHEDULE UINT32_MAX
// The offset of a send whose backend tells none.
#define MQP_OFFSET_NONE UINT64_MAX

// Takes one log line: `line` is a text without line end, valid during the call. Runs on any thread
// of the library (never two at a time); must not call the library.
typedef void (*mqp_log_fn)(enum mqp_log_level level, const char *line, void *arg);

// Takes the end of a send, exactly once for each mqp_send_async that returned MQP_OK. `result` is
// valid during the call. Runs on the client's I/O thread (MQP_IO_APP: inside mqp_client_process or
// a waiting call); may call every function that does not wait, mqp_send_async included.
typedef void (*mqp_send_fn)(const struct mqp_result *result, void *arg);

// Takes the end of one attempt at sending one message; see mqp_result_final. Runs where mqp_send_fn
// runs, before it; must not call the library except for mqp_result_…
typedef void (*mqp_trace_fn)(const struct mqp_result *attempt, void *arg);

// Takes one received message and says what becomes of it. `message` is valid until the callback
// returns, and longer only with MQP_VERDICT_KEEP. Runs on one of the consumer's callback threads
// (`threads` = 0: inside mqp_client_process); may call every function of the library, on the
// consumer's own threads also those that wait, except mqp_consumer_close and mqp_client_close.
typedef enum mqp_verdict (*mqp_consume_fn)(struct mqp_message *message, void *arg);

// How to reach the service. Fill it with mqp_client_config_init first; a member left 0 or NULL has
// its default.
struct mqp_client_config {
	size_t size; // sizeof(struct mqp_client_config) of the caller; set by the init function

	// Where: "host:port" or "tls://host:port", several separated by commas, tried in this order
	// and then in turn; at most 4,096 bytes. Copied. NULL: `credentials_file`, else environment
	// MQPAAS_ADDRESS, else 127.0.0.1:7300.
	const char *addresses;
	// Credentials: id of the access key and its secret, at most 512 bytes each. Copied. NULL:
	// `credentials_file`, else environment MQPAAS_ACCESS_KEY and MQPAAS_SECRET.
	const char *access_key;
	const char *secret;
	// Path of a file with lines NAME=value for MQPAAS_ADDRESS, MQPAAS_ACCESS_KEY and
	// MQPAAS_SECRET (others and lines that begin with # are skipped), at most 64 KiB. Copied.
	// Read again within a second of a change: the client then makes a second connection with
	// the new values, and moves to it, losing nothing, when the service has accepted them.
	// Until then, and if it never does, the values in use stay in use. NULL: none.
	const char *credentials_file;

	// TLS, for addresses with tls://. Paths of PEM files; copied. When every configured address
	// is tls://, addresses told by the service are used only when they are tls:// too.
	const char *tls_ca_file;   // authorities to trust; NULL: the system's
	const char *tls_cert_file; // certificate chain of this client; NULL: none
	const char *tls_key_file;  // its private key; NULL: in tls_cert_file
	const char *tls_name; // name the server's certificate must have; NULL: the address's host
	int tls_skip_name;    // 1: any name will do, the certificate is still verified

	// A name of this client, shown in the portal; at most 128 bytes; copied. NULL: host:pid.
	const char *client_id;
	enum mqp_io io; // which thread runs the sockets

	// From the start of a connection until it is ready, in ms, 1 … 600,000; 0: 10,000.
	uint32_t connect_timeout_ms;

	mqp_log_fn log;               // NULL: warnings and errors go to standard error
	void *log_arg;                // handed to `log`
	enum mqp_log_level log_level; // lines below it are not made; init: MQP_LOG_WARN
	mqp_trace_fn trace;           // sees every attempt at every send; NULL: none
	void *trace_arg;              // handed to `trace`
};

// How to send to one topic. Fill it with mqp_producer_config_init first; a member left 0 has its
// default.
struct mqp_producer_config {
	size_t size; // sizeof(struct mqp_producer_config) of the caller; set by the init function

	const char *topic; // name, 1–64 characters; copied; required

	// Memory for messages that have not ended, in bytes, 64 KiB … 16 GiB; 0: 64 MiB. And what a
	// send does when it is used up.
	uint64_t memory_bytes;
	enum mqp_when_full when_full;

	// From mqp_send_async or mqp_send_oneway until the library gives a message up, in
	// milliseconds, 1 … 86,400,000; 0: 30,000.
	uint32_t send_timeout_ms;

	enum mqp_compression compression; // used when the service knows it too

	// Not needed for speed: a batch leaves at once while nothing is in flight, and fills while
	// something is. Upper bounds of a batch, in bytes (4 KiB … 16 MiB; 0: 128 KiB; never above
	// what the service takes) and messages (1 … 65,535; 0: 16,384); and how long the first
	// message of a batch that could leave waits for others, in microseconds (0 … 1,000,000).
	uint32_t batch_bytes;
	uint32_t batch_messages;
	uint32_t linger_us;
};

// How to take messages of one group. Fill it with mqp_consumer_config_init first; a member left 0
// or NULL has its default.
struct mqp_consumer_config {
	size_t size; // sizeof(struct mqp_consumer_config) of the caller; set by the init function

	const char *group; // name, 1–64 characters; copied; required

	// Push: called for each message. NULL: a pull consumer, which takes messages by mqp_pull.
	mqp_consume_fn callback;
	void *arg; // handed to `callback`
	// Push: number of threads that run the callback, 1 … 1,024; 0: one thread, or with
	// MQP_IO_APP none (the callback runs inside mqp_client_process). With one thread, or none,
	// messages are handled in the order of delivery.
	uint32_t threads;

	// Push: how many messages, and bytes of them, may be received and not yet settled: 1 …
	// 1,000,000 (0: as many as are about 200 ms of work for the threads, at least two a thread,
	// at most 1,024) and 64 KiB … 4 GiB (0: 16 MiB). A larger single message still comes.
	// Pull: the bytes bound one mqp_pull; the messages are its own parameter.
	uint32_t prefetch_messages;
	uint64_t prefetch_bytes;

	// Push: while a callback runs on a thread of the consumer's the library extends the
	// message's visibility timeout by itself, until this long after the callback began, in
	// milliseconds, 1 … 86,400,000; 0: 600,000. After that the message may come again, to any
	// consumer. Messages that wait for a thread need no extension.
	uint32_t extend_max_ms;
};

// ---- General ----------------------------------------------------------------------------------

// Tells the version of the library that is running.
//
// Returns: text such as "0.1.0"; never NULL.
// Ownership: static; nothing to free.
// Threads: any.
// Since: 0.1.0
MQP_API const char *mqp_version(void);

// Explains an answer to a person.
//
// @code: any value; outside the enumeration too.
// Returns: a short sentence in English without a full stop; never NULL.
// Ownership: static; nothing to free.
// Threads: any.
// Since: 0.1.0
MQP_API const char *mqp_strerror(enum mqp_code code);

// Gives the stable name of an answer, as REST, log and metrics write it.
//
// @code: any value; outside the enumeration too.
// Returns: a word such as "THROTTLED"; "INVALID" outside the enumeration; never NULL.
// Ownership: static; nothing to free.
// Threads: any.
// Since: 0.1.0
MQP_API const char *mqp_code_name(enum mqp_code code);

// Says whether the same request may succeed later unchanged.
//
// @code: any value; outside the enumeration too.
// Returns: 1 if so, else 0.
// Ownership: nothing changes hands.
// Threads: any.
// Since: 0.1.0
MQP_API int mqp_code_retriable(enum mqp_code code);

// Frees text that the library handed out (mqp_client_stats_json).
//
// @text: what the library returned, or NULL (nothing is done).
// Returns: nothing.
// Ownership: `text` is gone afterwards.
// Threads: any.
// Since: 0.1.0
MQP_API void mqp_free(char *text);

// ---- Client -----------------------------------------------------------------------------------

// Fills a configuration with the defaults.
//
// @config: where to; written, not kept.
// @size: sizeof *config as the caller was compiled.
// Returns: nothing.
// Ownership: `config` stays the caller's.
// Threads: any.
// Since: 0.1.0
MQP_API void mqp_client_config_init(struct mqp_client_config *config, size_t size);

// Makes a client and begins to connect, without waiting for the connection.
//
// @config: see struct mqp_client_config; all of it is copied. NULL: everything by default.
// @ret_client: receives the client.
// Returns: MQP_OK; MQP_INVALID_ARGUMENT, MQP_BAD_CREDENTIALS (no access key, or the file cannot be
//   read), MQP_TLS (a PEM file cannot be used), MQP_NO_MEMORY, MQP_SYSTEM (errno): nothing was
//   made.
// Ownership: the caller frees the client with mqp_client_free; nothing after failure.
// Threads: any. With MQP_IO_THREAD a thread is started here; it blocks all signals.
// Since: 0.1.0
MQP_API enum mqp_code mqp_client_new(const struct mqp_client_config *config,
				     struct mqp_client **ret_client);

// Waits until the client is connected and its access key accepted; optional, for early errors.
//
// @client: borrowed.
// @timeout_ms: 0 only asks; -1 without limit.
// Returns: MQP_OK: ready. MQP_UNAUTHENTICATED, MQP_FORBIDDEN, MQP_TLS, MQP_NOT_CONNECTED: why the
//   last attempt failed, at the timeout (the first two at once). MQP_TIMEOUT: no attempt has ended
//   yet. MQP_CLOSED. MQP_WOULD_DEADLOCK: called on the I/O thread. The client keeps trying in every
//   case.
// Ownership: nothing changes hands.
// Threads: any, except in a callback on the I/O thread; MQP_IO_APP: the loop's thread, and
//   callbacks run inside.
// Since: 0.1.0
MQP_API enum mqp_code mqp_client_connect(struct mqp_client *client, int timeout_ms);

// Ends all work in order: sends end, settles are confirmed, callbacks return, connections close.
//
// @client: borrowed; its producers and consumers are closed with it.
// @timeout_ms: for the whole; what is left then is given up. -1 without limit.
// Returns: MQP_OK: everything ended. MQP_TIMEOUT: sends were given up (their callbacks have run,
//   with MQP_CANCELLED) or settles are unconfirmed (these messages may come again).
//   MQP_WOULD_DEADLOCK: called in a callback; nothing was done. Calling it again is harmless.
// Ownership: all handles stay allocated and must still be freed; other calls on them answer
//   MQP_CLOSED.
// Threads: any, except in callbacks; MQP_IO_APP: the loop's thread, and callbacks run inside.
// Since: 0.1.0
MQP_API enum mqp_code mqp_client_close(struct mqp_client *client, int timeout_ms);

// Frees a client; one that was not closed is closed first without waiting, losing what had not
// ended.
//
// @client: or NULL (nothing is done). Its producers, consumers and messages may be freed before or
//   after it; calls on them that would need the client answer MQP_CLOSED.
// Returns: nothing.
// Ownership: the handle is gone afterwards.
// Threads: any, except in callbacks, once; no other call on the client may run at the same time.
// Since: 0.1.0
MQP_API void mqp_client_free(struct mqp_client *client);

// Gives the descriptor that the application's loop polls for reading (MQP_IO_APP).
//
// @client: borrowed.
// Returns: a descriptor, the same one for the client's life; -1 with MQP_IO_THREAD.
// Ownership: the descriptor stays the library's: never read, write or close it.
// Threads: any.
// Since: 0.1.0
MQP_API int mqp_client_fd(const struct mqp_client *client);

// Tells how long the loop may wait at most before it calls mqp_client_process (MQP_IO_APP).
//
// @client: borrowed.
// Returns: milliseconds as poll(2) takes them: 0 work is due, -1 nothing is timed. A later call of
//   this library may bring it nearer, and then makes the descriptor readable.
// Ownership: nothing changes hands.
// Threads: the loop's thread.
// Since: 0.1.0
MQP_API int mqp_client_timeout_ms(struct mqp_client *client);

// Does what is due: reads, writes, times out, runs callbacks; never waits (MQP_IO_APP).
//
// @client: borrowed.
// Returns: MQP_OK; MQP_INVALID_ARGUMENT with MQP_IO_THREAD; MQP_CLOSED after mqp_client_close;
//   MQP_WOULD_DEADLOCK: called inside itself; nothing was done.
// Ownership: nothing changes hands.
// Threads: the loop's thread, one at a time; send, trace and (`threads` = 0) push callbacks run
//   inside.
// Since: 0.1.0
MQP_API enum mqp_code mqp_client_process(struct mqp_client *client);

// Reads one counter of a client, over all its producers and consumers.
//
// @client: borrowed.
// @stat: which.
// Returns: its value; 0 for a value outside the enumeration.
// Ownership: nothing changes hands.
// Threads: any; never waits for I/O.
// Since: 0.1.0
MQP_API uint64_t mqp_client_stat(const struct mqp_client *client, enum mqp_stat stat);

// Writes all counters, the connection and each producer and consumer as one JSON object.
//
// @client: borrowed.
// @ret_json: receives the text, one line.
// Returns: MQP_OK; MQP_INVALID_ARGUMENT; MQP_NO_MEMORY.
// Ownership: the caller frees the text with mqp_free; nothing after failure.
// Threads: any; never waits for I/O.
// Since: 0.1.0
MQP_API enum mqp_code mqp_client_stats_json(struct mqp_client *client, char **ret_json);

// ---- Message ----------------------------------------------------------------------------------

// Makes an empty message to be filled and sent; it may be sent any number of times, and refilled.
//
// @ret_message: receives the message: key and body absent, no headers, no options.
// Returns: MQP_OK; MQP_INVALID_ARGUMENT; MQP_NO_MEMORY.
// Ownership: the caller frees it with mqp_message_free; nothing after failure.
// Threads: any; a message is used by one thread at a time.
// Since: 0.1.0
MQP_API enum mqp_code mqp_message_new(struct mqp_message **ret_message);

// Frees a message; a received one that is not settled is released first, as by mqp_release.
//
// @message: or NULL (nothing is done).
// Returns: nothing.
// Ownership: the handle is gone afterwards, and with a received message all bytes got from it.
// Threads: any; never waits.
// Since: 0.1.0
MQP_API void mqp_message_free(struct mqp_message *message);

// Makes a message empty again, as mqp_message_new left it.
//
// @message: made by mqp_message_new.
// Returns: MQP_OK; MQP_INVALID_ARGUMENT: a received message; nothing was done.
// Ownership: bytes that were lent to the message are no longer borrowed.
// Threads: any; a message is used by one thread at a time.
// Since: 0.1.0
MQP_API enum mqp_code mqp_message_reset(struct mqp_message *message);

// Sets the key: messages of one key keep their order and share a partition.
//
// @message: made by mqp_message_new.
// @key: bytes, borrowed until the last send of this message returns. NULL: absent.
// @size: of the key, at most what the service takes; 0 with a key that is not NULL: present and
//   empty.
// Returns: MQP_OK; MQP_INVALID_ARGUMENT: nothing was changed.
// Ownership: the bytes stay the caller's.
// Threads: any; a message is used by one thread at a time.
// Since: 0.1.0
MQP_API enum mqp_code mqp_message_set_key(struct mqp_message *message, const void *key,
					  size_t size);

// Sets the body.
//
// @message: made by mqp_message_new.
// @body: bytes, borrowed until the last send of this message returns. NULL: absent (a tombstone).
// @size: of the body, at most what the service takes (usually 4 MiB less the rest of the message);
//   0 with a body that is not NULL: present and empty.
// Returns: MQP_OK; MQP_INVALID_ARGUMENT: nothing was changed.
// Ownership: the bytes stay the caller's.
// Threads: any; a message is used by one thread at a time.
// Since: 0.1.0
MQP_API enum mqp_code mqp_message_set_body(struct mqp_message *message, const void *body,
					   size_t size);

// Appends a header; a name may come several times, and the order is kept.
//
// @message: made by mqp_message_new.
// @name: 1–65,535 bytes of text, borrowed until the last send of this message returns.
// @value: bytes, borrowed likewise. NULL: absent.
// @size: of the value, at most 2^30 bytes; 0 with a value that is not NULL: present and empty.
// Returns: MQP_OK; MQP_INVALID_ARGUMENT (also for the 65,536th header); MQP_NO_MEMORY: nothing was
//   changed.
// Ownership: name and value stay the caller's.
// Threads: any; a message is used by one thread at a time.
// Since: 0.1.0
MQP_API enum mqp_code mqp_message_add_header(struct mqp_message *message, const char *name,
					     const void *value, size_t size);

// Sets the tag, by which groups filter.
//
// @message: made by mqp_message_new.
// @tag: 1–255 bytes of text, copied. NULL: none.
// Returns: MQP_OK; MQP_INVALID_ARGUMENT: nothing was changed.
// Ownership: the text stays the caller's.
// Threads: any; a message is used by one thread at a time.
// Since: 0.1.0
MQP_API enum mqp_code mqp_message_set_tag(struct mqp_message *message, const char *tag);

// Sets the creation time; without it a send takes the current time.
//
// @message: made by mqp_message_new.
// @created_ms: milliseconds since 1970-01-01 UTC; may be negative.
// Returns: MQP_OK; MQP_INVALID_ARGUMENT: nothing was changed.
// Ownership: nothing changes hands.
// Threads: any; a message is used by one thread at a time.
// Since: 0.1.0
MQP_API enum mqp_code mqp_message_set_created_ms(struct mqp_message *message, int64_t created_ms);

// Sets the id; without it every send makes a new one, ordered by time.
//
// @message: made by mqp_message_new.
// @id: 16 bytes, not all zero, copied; unique for one message of the tenant. NULL: made by each
//   send.
// Returns: MQP_OK; MQP_INVALID_ARGUMENT: nothing was changed.
// Ownership: the bytes stay the caller's.
// Threads: any; a message is used by one thread at a time.
// Since: 0.1.0
MQP_API enum mqp_code mqp_message_set_id(struct mqp_message *message, const uint8_t *id);

// Delays the delivery until a time.
//
// @message: made by mqp_message_new.
// @due_ms: milliseconds since 1970-01-01 UTC; a time in the past means now.
// Returns: MQP_OK; MQP_INVALID_ARGUMENT: nothing was changed. Whether the backend can delay is
//   answered by the send (MQP_UNSUPPORTED_BY_BACKEND).
// Ownership: nothing changes hands.
// Threads: any; a message is used by one thread at a time.
// Since: 0.1.0
MQP_API enum mqp_code mqp_message_set_due_ms(struct mqp_message *message, int64_t due_ms);

// Limits how long the message may wait for its delivery.
//
// @message: made by mqp_message_new.
// @ttl_ms: milliseconds from when the service stores it, or from the due time when there is one; at
//   least 1. The clock of this machine does not count.
// Returns: MQP_OK; MQP_INVALID_ARGUMENT: nothing was changed.
// Ownership: nothing changes hands.
// Threads: any; a message is used by one thread at a time.
// Since: 0.1.0
MQP_API enum mqp_code mqp_message_set_ttl_ms(struct mqp_message *message, uint32_t ttl_ms);

// Sets the priority, where the backend has one.
//
// @message: made by mqp_message_new.
// @priority: 0 (lowest) … 9; 4 is normal.
// Returns: MQP_OK; MQP_INVALID_ARGUMENT: nothing was changed.
// Ownership: nothing changes hands.
// Threads: any; a message is used by one thread at a time.
// Since: 0.1.0
MQP_API enum mqp_code mqp_message_set_priority(struct mqp_message *message, unsigned priority);

// Asks for a partition instead of the one the key's hash gives.
//
// @message: made by mqp_message_new.
// @partition: 0 … partitions of the topic − 1, or MQP_PARTITION_ANY to ask for none. One that the
//   topic does not have is answered by the send (MQP_BAD_REQUEST).
// Returns: MQP_OK; MQP_INVALID_ARGUMENT: nothing was changed.
// Ownership: nothing changes hands.
// Threads: any; a message is used by one thread at a time.
// Since: 0.1.0
MQP_API enum mqp_code mqp_message_set_partition(struct mqp_message *message, uint32_t partition);

// Carries a W3C trace context with the message.
//
// @message: made by mqp_message_new.
// @trace: MQP_TRACE_SIZE bytes: trace id, parent id, flags; copied. NULL: none.
// Returns: MQP_OK; MQP_INVALID_ARGUMENT: nothing was changed.
// Ownership: the bytes stay the caller's.
// Threads: any; a message is used by one thread at a time.
// Since: 0.1.0
MQP_API enum mqp_code mqp_message_set_trace(struct mqp_message *message, const uint8_t *trace);

// Gives the key.
//
// @message: borrowed; made or received.
// @ret_size: receives its size in bytes (0 when absent). NULL: not wanted.
// Returns: the key, without a terminating zero; NULL when absent.
// Ownership: the bytes belong to the message and are valid until it is freed (received) or changed.
// Threads: any; a message is used by one thread at a time.
// Since: 0.1.0
MQP_API const void *mqp_message_key(const struct mqp_message *message, size_t *ret_size);

// Gives the body.
//
// @message: borrowed; made or received.
// @ret_size: receives its size in bytes (0 when absent). NULL: not wanted.
// Returns: the body, without a terminating zero; NULL when absent.
// Ownership: the bytes belong to the message and are valid until it is freed (received) or changed.
// Threads: any; a message is used by one thread at a time.
// Since: 0.1.0
MQP_API const void *mqp_message_body(const struct mqp_message *message, size_t *ret_size);

// Counts the headers.
//
// @message: borrowed; made or received.
// Returns: 0 … 65,535; a name that comes twice counts twice.
// Ownership: nothing changes hands.
// Threads: any; a message is used by one thread at a time.
// Since: 0.1.0
MQP_API unsigned mqp_message_header_count(const struct mqp_message *message);

// Gives one header by its place.
//
// @message: borrowed; made or received.
// @index: from 0. Going up by one each time costs nothing; jumping reads from the first.
// @ret_name: receives the name, without a terminating zero.
// @ret_name_size: receives its size in bytes.
// @ret_value: receives the value, without a terminating zero; NULL when absent.
// @ret_value_size: receives its size in bytes (0 when absent).
// Returns: 1; 0: there is no such header, or a parameter is NULL; nothing was written.
// Ownership: the bytes belong to the message and are valid until it is freed (received) or changed.
// Threads: any; a message is used by one thread at a time.
// Since: 0.1.0
MQP_API int mqp_message_header(const struct mqp_message *message, unsigned index,
			       const char **ret_name, size_t *ret_name_size, const void **ret_value,
			       size_t *ret_value_size);

// Finds the first header of a name.
//
// @message: borrowed; made or received.
// @name: text, compared byte by byte; borrowed.
// @ret_value: receives the value, without a terminating zero; NULL when absent.
// @ret_size: receives its size in bytes (0 when absent).
// Returns: 1; 0: there is none, or a parameter is NULL; nothing was written.
// Ownership: the bytes belong to the message and are valid until it is freed (received) or changed.
// Threads: any; a message is used by one thread at a time.
// Since: 0.1.0
MQP_API int mqp_message_find_header(const struct mqp_message *message, const char *name,
				    const void **ret_value, size_t *ret_size);

// Gives the tag.
//
// @message: borrowed; made or received.
// @ret_size: receives its size in bytes (0 when there is none). NULL: not wanted.
// Returns: the text, without a terminating zero; NULL when there is none.
// Ownership: the bytes belong to the message and are valid until it is freed or changed.
// Threads: any; a message is used by one thread at a time.
// Since: 0.1.0
MQP_API const char *mqp_message_tag(const struct mqp_message *message, size_t *ret_size);

// Gives the id.
//
// @message: borrowed; made or received.
// Returns: 16 bytes; NULL for a made message without one (each send makes its own: mqp_result_id).
// Ownership: the bytes belong to the message and are valid until it is freed or changed.
// Threads: any; a message is used by one thread at a time.
// Since: 0.1.0
MQP_API const uint8_t *mqp_message_id(const struct mqp_message *message);

// Tells when the message was created.
//
// @message: borrowed; made or received.
// @ret_ms: receives milliseconds since 1970-01-01 UTC.
// Returns: 1; 0: a made message without one; nothing was written.
// Ownership: nothing changes hands.
// Threads: any; a message is used by one thread at a time.
// Since: 0.1.0
MQP_API int mqp_message_created_ms(const struct mqp_message *message, int64_t *ret_ms);

// Tells when the backend stored the message.
//
// @message: borrowed; received.
// @ret_ms: receives milliseconds since 1970-01-01 UTC.
// Returns: 1; 0: a made message; nothing was written.
// Ownership: nothing changes hands.
// Threads: any; a message is used by one thread at a time.
// Since: 0.1.0
MQP_API int mqp_message_stored_ms(const struct mqp_message *message, int64_t *ret_ms);

// Tells before which time the message was not to be delivered.
//
// @message: borrowed; made or received.
// @ret_ms: receives milliseconds since 1970-01-01 UTC.
// Returns: 1; 0: there is no due time; nothing was written.
// Ownership: nothing changes hands.
// Threads: any; a message is used by one thread at a time.
// Since: 0.1.0
MQP_API int mqp_message_due_ms(const struct mqp_message *message, int64_t *ret_ms);

// Tells how long the message may wait for its delivery.
//
// @message: borrowed; made or received.
// @ret_ms: receives milliseconds from when it was stored, or from the due time when there is one.
// Returns: 1; 0: there is no limit; nothing was written.
// Ownership: nothing changes hands.
// Threads: any; a message is used by one thread at a time.
// Since: 0.1.0
MQP_API int mqp_message_ttl_ms(const struct mqp_message *message, uint32_t *ret_ms);

// Tells the priority.
//
// @message: borrowed; made or received.
// Returns: 0 … 9; 4 when none was set.
// Ownership: nothing changes hands.
// Threads: any; a message is used by one thread at a time.
// Since: 0.1.0
MQP_API unsigned mqp_message_priority(const struct mqp_message *message);

// Tells the partition: where a received message is stored, or what was asked for a made one.
//
// @message: borrowed; made or received.
// Returns: the number, from 0; MQP_PARTITION_ANY for a made message that asks for none.
// Ownership: nothing changes hands.
// Threads: any; a message is used by one thread at a time.
// Since: 0.1.0
MQP_API uint32_t mqp_message_partition(const struct mqp_message *message);

// Gives the W3C trace context.
//
// @message: borrowed; made or received.
// Returns: MQP_TRACE_SIZE bytes; NULL when there is none.
// Ownership: the bytes belong to the message and are valid until it is freed or changed.
// Threads: any; a message is used by one thread at a time.
// Since: 0.1.0
MQP_API const uint8_t *mqp_message_trace(const struct mqp_message *message);

// Tells where in its partition a received message is stored.
//
// @message: borrowed; received.
// Returns: the offset; MQP_OFFSET_NONE for a made message.
// Ownership: nothing changes hands.
// Threads: any; a message is used by one thread at a time.
// Since: 0.1.0
MQP_API uint64_t mqp_message_offset(const struct mqp_message *message);

// Tells how many times the message has been delivered to its group.
//
// @message: borrowed; received.
// Returns: 1 for the first delivery; 0 for a made message. A delivery that ended without an attempt
//   is not counted: it was released, or its consumer was lost before its callback began, or for the
//   first time while it ran. So a message with 1 may have been seen before.
// Ownership: nothing changes hands.
// Threads: any; a message is used by one thread at a time.
// Since: 0.1.0
MQP_API uint32_t mqp_message_attempt(const struct mqp_message *message);

// ---- Result of a send -------------------------------------------------------------------------

// Makes an empty result for mqp_send to fill; it may be used any number of times.
//
// @ret_result: receives the result.
// Returns: MQP_OK; MQP_INVALID_ARGUMENT; MQP_NO_MEMORY.
// Ownership: the caller frees it with mqp_result_free; nothing after failure.
// Threads: any; a result is used by one thread at a time.
// Since: 0.1.0
MQP_API enum mqp_code mqp_result_new(struct mqp_result **ret_result);

// Frees a result made by mqp_result_new.
//
// @result: or NULL (nothing is done); never one that a callback was given.
// Returns: nothing.
// Ownership: the handle is gone afterwards.
// Threads: any.
// Since: 0.1.0
MQP_API void mqp_result_free(struct mqp_result *result);

// Tells where the message is.
//
// @result: borrowed.
// Returns: MQP_OUTCOME_OK, MQP_OUTCOME_REJECTED (certainly not stored; also before it was filled),
//   MQP_OUTCOME_UNKNOWN (may be stored: sending the same content again may make a duplicate).
// Ownership: nothing changes hands.
// Threads: where the result is valid.
// Since: 0.1.0
MQP_API enum mqp_outcome mqp_result_outcome(const struct mqp_result *result);

// Tells the reason of an outcome that is not OK.
//
// @result: borrowed.
// Returns: MQP_OK with MQP_OUTCOME_OK, else why.
// Ownership: nothing changes hands.
// Threads: where the result is valid.
// Since: 0.1.0
MQP_API enum mqp_code mqp_result_code(const struct mqp_result *result);

// Gives the id that the message was sent with.
//
// @result: borrowed.
// Returns: 16 bytes; never NULL (all zero in a result that was never filled).
// Ownership: the bytes belong to the result.
// Threads: where the result is valid.
// Since: 0.1.0
MQP_API const uint8_t *mqp_result_id(const struct mqp_result *result);

// Names the topic that was sent to.
//
// @result: borrowed.
// Returns: its name; "" in a result that was never filled.
// Ownership: the text belongs to the producer and is valid until that is freed.
// Threads: where the result is valid.
// Since: 0.1.0
MQP_API const char *mqp_result_topic(const struct mqp_result *result);

// Tells the partition that an OK was stored in.
//
// @result: borrowed.
// Returns: the number, from 0; MQP_PARTITION_ANY when the outcome is not OK.
// Ownership: nothing changes hands.
// Threads: where the result is valid.
// Since: 0.1.0
MQP_API uint32_t mqp_result_partition(const struct mqp_result *result);

// Tells where in its partition an OK was stored.
//
// @result: borrowed.
// Returns: the offset; MQP_OFFSET_NONE when the outcome is not OK or the backend tells none.
// Ownership: nothing changes hands.
// Threads: where the result is valid.
// Since: 0.1.0
MQP_API uint64_t mqp_result_offset(const struct mqp_result *result);

// Tells which life of a re-created topic the position belongs to.
//
// @result: borrowed.
// Returns: the incarnation; 0 when the outcome is not OK.
// Ownership: nothing changes hands.
// Threads: where the result is valid.
// Since: 0.1.0
MQP_API uint64_t mqp_result_incarnation(const struct mqp_result *result);

// Tells what an OK survives.
//
// @result: borrowed.
// Returns: 0 nothing; 1 the death of the process that holds it; 2 a power cut of its machine; 3 the
//   loss of one of several machines; -1 when the outcome is not OK.
// Ownership: nothing changes hands.
// Threads: where the result is valid.
// Since: 0.1.0
MQP_API int mqp_result_durability(const struct mqp_result *result);

// Counts the times the message was given to a connection.
//
// @result: borrowed.
// Returns: 0 (never left this process), 1, …; in a trace callback the number of this attempt.
// Ownership: nothing changes hands.
// Threads: where the result is valid.
// Since: 0.1.0
MQP_API unsigned mqp_result_attempts(const struct mqp_result *result);

// Tells after what time the service asks to try a rejected message again.
//
// @result: borrowed.
// Returns: milliseconds; 0: none was stated.
// Ownership: nothing changes hands.
// Threads: where the result is valid.
// Since: 0.1.0
MQP_API uint32_t mqp_result_retry_after_ms(const struct mqp_result *result);

// Says whether the send ended with this attempt.
//
// @result: borrowed.
// Returns: 1: the last one; 0 (only in a trace callback): the library sends the message again.
// Ownership: nothing changes hands.
// Threads: where the result is valid.
// Since: 0.1.0
MQP_API int mqp_result_final(const struct mqp_result *result);

// ---- Producer ---------------------------------------------------------------------------------

// Fills a configuration with the defaults.
//
// @config: where to; written, not kept.
// @size: sizeof *config as the caller was compiled.
// Returns: nothing.
// Ownership: `config` stays the caller's.
// Threads: any.
// Since: 0.1.0
MQP_API void mqp_producer_config_init(struct mqp_producer_config *config, size_t size);

// Makes a producer for one topic, without waiting for the service.
//
// @client: borrowed.
// @config: see struct mqp_producer_config; all of it is copied.
// @ret_producer: receives the producer.
// Returns: MQP_OK; MQP_INVALID_ARGUMENT, MQP_CLOSED, MQP_NO_MEMORY: nothing was made.
// Ownership: the caller frees the producer with mqp_producer_free; nothing after failure.
// Threads: any.
// Since: 0.1.0
MQP_API enum mqp_code mqp_producer_new(struct mqp_client *client,
				       const struct mqp_producer_config *config,
				       struct mqp_producer **ret_producer);

// Waits until the topic is open at the service; optional, for early errors.
//
// @producer: borrowed.
// @timeout_ms: 0 only asks; -1 without limit.
// Returns: MQP_OK: open. MQP_NOT_FOUND, MQP_FORBIDDEN and others: what the service answered last,
//   at once unless it is retriable. MQP_UNAUTHENTICATED, MQP_NOT_CONNECTED, MQP_TLS and others: why
//   there is no connection. MQP_TIMEOUT: connected, and no answer. The producer keeps trying.
// Ownership: nothing changes hands.
// Threads: as mqp_client_connect.
// Since: 0.1.0
MQP_API enum mqp_code mqp_producer_ready(struct mqp_producer *producer, int timeout_ms);

// Sends one message and waits for its end.
//
// @producer: borrowed.
// @message: made or received; borrowed, its bytes are copied.
// @timeout_ms: from now until the library gives up, retries included; 1 … 86,400,000.
// @result: made by mqp_result_new; filled with the details, also when the message was not taken
//   (REJECTED, no attempt), except with MQP_INVALID_ARGUMENT and MQP_WOULD_DEADLOCK. NULL: not
//   wanted.
// Returns: MQP_OK: the backend acknowledged it. A code of the service or MQP_CANCELLED, and at the
//   timeout its cause (MQP_UNAUTHENTICATED, MQP_NOT_CONNECTED, MQP_TLS, MQP_THROTTLED, …), or
//   MQP_TIMEOUT: no answer. See mqp_result_outcome for whether it may be stored, and
//   mqp_code_retriable for whether trying again may help. MQP_INVALID_ARGUMENT,
//   MQP_NO_MEMORY, MQP_QUEUE_FULL, MQP_TOO_LARGE, MQP_CLOSED, MQP_WOULD_DEADLOCK: certainly not
//   sent.
// Ownership: message, its bytes and result stay the caller's.
// Threads: any number at once, except in a callback on the I/O thread; MQP_IO_APP: the loop's
//   thread, and callbacks run inside. Sends of many threads share batches and one connection.
// Since: 0.1.0
MQP_API enum mqp_code mqp_send(struct mqp_producer *producer, const struct mqp_message *message,
			       int timeout_ms, struct mqp_result *result);

// Takes one message to be sent and reports its end by a callback.
//
// @producer: borrowed.
// @message: made or received; borrowed, its bytes are copied before the call returns.
// @callback: see mqp_send_fn; called exactly once if and only if the answer is MQP_OK. NULL: the
//   outcome is not reported (mqp_flush and the counters still include it).
// @arg: handed to the callback; not looked at.
// Returns: MQP_OK: taken. MQP_QUEUE_FULL: the memory limit is reached (MQP_FULL_FAIL, or a callback
//   called this). MQP_FULL_BLOCK, no room within `send_timeout_ms`: the cause, as mqp_send, or
//   MQP_TIMEOUT. MQP_TOO_LARGE, MQP_INVALID_ARGUMENT, MQP_NO_MEMORY, MQP_CLOSED. After all but
//   MQP_OK nothing was taken.
// Ownership: message and bytes stay the caller's.
// Threads: any number at once, callbacks included; waits only for room, never for the network.
// Since: 0.1.0
MQP_API enum mqp_code mqp_send_async(struct mqp_producer *producer,
				     const struct mqp_message *message, mqp_send_fn callback,
				     void *arg);

// Takes one message to be sent once, without any report.
//
// @producer: borrowed.
// @message: made or received; borrowed, its bytes are copied before the call returns.
// Returns: as mqp_send_async. MQP_OK says nothing about the message's fate: it may be lost, and is
//   then counted (MQP_STAT_ONEWAY_DROPPED here, or `dropped` at the service). Order is kept among
//   oneway messages of a producer, not against the others.
// Ownership: message and bytes stay the caller's.
// Threads: as mqp_send_async.
// Since: 0.1.0
MQP_API enum mqp_code mqp_send_oneway(struct mqp_producer *producer,
				      const struct mqp_message *message);

// Waits until every message taken before has ended (oneway: has been given to the network).
//
// @producer: borrowed.
// @timeout_ms: 0 only asks; -1 without limit (each message still has its own deadline).
// Returns: MQP_OK. MQP_TIMEOUT: some have not ended, and go on; instead of it the cause, as
//   mqp_send, where there is one. MQP_WOULD_DEADLOCK.
// Ownership: nothing changes hands.
// Threads: as mqp_client_connect. Lingering batches leave at once.
// Since: 0.1.0
MQP_API enum mqp_code mqp_flush(struct mqp_producer *producer, int timeout_ms);

// Takes no more messages, waits for those taken, and closes the topic at the service.
//
// @producer: borrowed.
// @timeout_ms: what has not ended then ends as MQP_CANCELLED. -1 without limit.
// Returns: MQP_OK: all had ended; MQP_TIMEOUT: some were given up, and their callbacks have run;
//   MQP_WOULD_DEADLOCK: nothing was done. Calling it again is harmless.
// Ownership: the producer stays allocated until mqp_producer_free.
// Threads: as mqp_client_connect.
// Since: 0.1.0
MQP_API enum mqp_code mqp_producer_close(struct mqp_producer *producer, int timeout_ms);

// Frees a producer; one that was not closed is closed first with the timeout 0.
//
// @producer: or NULL (nothing is done).
// Returns: nothing.
// Ownership: the handle is gone afterwards.
// Threads: any, except in callbacks on the I/O thread, once; no other call on the producer may run
//   at the same time.
// Since: 0.1.0
MQP_API void mqp_producer_free(struct mqp_producer *producer);

// ---- Consumer ---------------------------------------------------------------------------------

// Fills a configuration with the defaults.
//
// @config: where to; written, not kept.
// @size: sizeof *config as the caller was compiled.
// Returns: nothing.
// Ownership: `config` stays the caller's.
// Threads: any.
// Since: 0.1.0
MQP_API void mqp_consumer_config_init(struct mqp_consumer_config *config, size_t size);

// Makes a consumer of one group; a push consumer's callbacks may begin before this returns.
//
// @client: borrowed.
// @config: see struct mqp_consumer_config; all of it is copied.
// @ret_consumer: receives the consumer.
// Returns: MQP_OK; MQP_INVALID_ARGUMENT (also `threads` > 0 without a callback), MQP_CLOSED,
//   MQP_NO_MEMORY, MQP_SYSTEM (no thread; errno): nothing was made.
// Ownership: the caller frees the consumer with mqp_consumer_free; nothing after failure.
// Threads: any. Push callbacks run on `threads` threads started here, which block all signals.
// Since: 0.1.0
MQP_API enum mqp_code mqp_consumer_new(struct mqp_client *client,
				       const struct mqp_consumer_config *config,
				       struct mqp_consumer **ret_consumer);

// Waits until the service has accepted the subscription; optional, for early errors.
//
// @consumer: borrowed.
// @timeout_ms: 0 only asks; -1 without limit.
// Returns: MQP_OK: subscribed. MQP_NOT_FOUND, MQP_FORBIDDEN and others: what the service answered
//   last, at once unless it is retriable. MQP_UNAUTHENTICATED, MQP_NOT_CONNECTED, MQP_TLS and
//   others: why there is no connection. MQP_TIMEOUT: connected, and no answer. The consumer keeps
//   trying.
// Ownership: nothing changes hands.
// Threads: as mqp_client_connect.
// Since: 0.1.0
MQP_API enum mqp_code mqp_consumer_ready(struct mqp_consumer *consumer, int timeout_ms);

// Takes up to `max` messages of a pull consumer, waiting only while there is none.
//
// @consumer: borrowed; made without a callback.
// @max: 1 … 65,535. A message that a consumer was lost with comes alone.
// @wait_ms: how long to wait for the first message, at most, whatever the service does. 0 does not
//   wait: it takes what has come and asks for more, which the next call finds. -1 without limit.
// @ret_messages: array of at least `max` places; receives the messages.
// @ret_count: receives their number, 1 … `max`.
// Returns: MQP_OK: at least one. MQP_TIMEOUT: none within `wait_ms`; credit not used is given back.
//   What comes in spite of that (`wait_ms` 0, a slow service) waits for the next call for half of
//   the visibility timeout and is then released, uncounted. MQP_INVALID_ARGUMENT, MQP_CLOSED,
//   MQP_WOULD_DEADLOCK, MQP_IN_USE: another mqp_pull is waiting on this consumer. MQP_NOT_FOUND,
//   MQP_FORBIDDEN: the service refuses the subscription. MQP_UNAUTHENTICATED, MQP_NOT_CONNECTED,
//   MQP_TLS and others: why there is no connection.
// Ownership: the caller settles each message and frees it with mqp_message_free; nothing after
//   failure.
// Threads: any, one at a time, except in a callback on the I/O thread; MQP_IO_APP: the loop's
//   thread, and callbacks run inside.
// Since: 0.1.0
MQP_API enum mqp_code mqp_pull(struct mqp_consumer *consumer, unsigned max, int wait_ms,
			       struct mqp_message **ret_messages, unsigned *ret_count);

// Stops the callbacks of a push consumer until mqp_consumer_resume; those running go on.
//
// @consumer: borrowed; made with a callback.
// Returns: MQP_OK, also when it was paused; received messages that no callback has seen are
//   released soon, all at once, and come again in their order, uncounted, unless it is resumed
//   first. MQP_INVALID_ARGUMENT: a pull consumer. MQP_CLOSED.
// Ownership: nothing changes hands.
// Threads: any, callbacks included; does not wait for running callbacks.
// Since: 0.1.0
MQP_API enum mqp_code mqp_consumer_pause(struct mqp_consumer *consumer);

// Lets the callbacks of a paused push consumer go on.
//
// @consumer: borrowed; made with a callback.
// Returns: MQP_OK, also when it was not paused; MQP_INVALID_ARGUMENT: a pull consumer; MQP_CLOSED.
// Ownership: nothing changes hands.
// Threads: any, callbacks included.
// Since: 0.1.0
MQP_API enum mqp_code mqp_consumer_resume(struct mqp_consumer *consumer);

// Takes no more messages, waits for running callbacks and for the settles made so far.
//
// @consumer: borrowed. Messages no callback has seen are released. Messages the application still
//   holds (pulled or kept) are not waited for: they come again, as at a lost connection.
// @timeout_ms: -1 without limit. Running callbacks are waited for in any case.
// Returns: MQP_OK: all settles confirmed; MQP_TIMEOUT: some are not, these messages may come again;
//   MQP_WOULD_DEADLOCK: called in a callback; nothing was done. Calling it again is harmless.
// Ownership: the consumer stays allocated until mqp_consumer_free.
// Threads: any, except in callbacks; MQP_IO_APP: the loop's thread, and callbacks run inside.
// Since: 0.1.0
MQP_API enum mqp_code mqp_consumer_close(struct mqp_consumer *consumer, int timeout_ms);

// Frees a consumer; one that was not closed is closed first with the timeout 0.
//
// @consumer: or NULL (nothing is done). Messages received from it may be freed later.
// Returns: nothing.
// Ownership: the handle is gone afterwards.
// Threads: any, except in callbacks, once; no other call on the consumer may run at the same time.
// Since: 0.1.0
MQP_API void mqp_consumer_free(struct mqp_consumer *consumer);

// ---- Settling ---------------------------------------------------------------------------------

// Acknowledges a received message without waiting; acks share batches.
//
// @message: received and not settled.
// Returns: MQP_OK: noted; the service makes it durable soon, and until then a crash may bring the
//   message again (mqp_settle_sync waits for that). MQP_STALE: the connection it came over has
//   ended, it comes again. MQP_CONFLICT: settled before. MQP_INVALID_ARGUMENT: not received.
//   MQP_NO_MEMORY: nothing was done.
// Ownership: the message stays the caller's, to be freed with mqp_message_free.
// Threads: any, callbacks included; never waits.
// Since: 0.1.0
MQP_API enum mqp_code mqp_ack(struct mqp_message *message);

// Gives a received message back to come again after a delay, without waiting.
//
// @message: received and not settled.
// @delay_ms: milliseconds; MQP_NACK_SCHEDULE: by the group's own schedule.
// Returns: as mqp_ack.
// Ownership: the message stays the caller's, to be freed with mqp_message_free.
// Threads: any, callbacks included; never waits.
// Since: 0.1.0
MQP_API enum mqp_code mqp_nack(struct mqp_message *message, uint32_t delay_ms);

// Keeps a received message from coming again for some more time, without waiting.
//
// @message: received and not settled; it stays unsettled.
// @for_ms: milliseconds from now, at least 1.
// Returns: as mqp_ack.
// Ownership: the message stays the caller's.
// Threads: any, callbacks included; never waits. Push callbacks are extended by the library.
// Since: 0.1.0
MQP_API enum mqp_code mqp_extend(struct mqp_message *message, uint32_t for_ms);

// Moves a received message to the group's dead letters, without waiting.
//
// @message: received and not settled.
// Returns: as mqp_ack. A group without dead letters refuses it later (MQP_STAT_STALE counts it, a
//   log line names the reason; mqp_settle_sync answers MQP_UNSUPPORTED_BY_BACKEND); the message
//   then comes again.
// Ownership: the message stays the caller's, to be freed with mqp_message_free.
// Threads: any, callbacks included; never waits.
// Since: 0.1.0
MQP_API enum mqp_code mqp_reject(struct mqp_message *message);

// Gives a received message back to come again at once, as if never delivered, without waiting.
//
// @message: received and not settled.
// Returns: as mqp_ack.
// Ownership: the message stays the caller's, to be freed with mqp_message_free.
// Threads: any, callbacks included; never waits.
// Since: 0.1.0
MQP_API enum mqp_code mqp_release(struct mqp_message *message);

// Settles many received messages alike without waiting.
//
// @messages: array of received, unsettled messages, all of one consumer; borrowed.
// @count: how many, 1 … 1,000,000.
// @verb: what is to become of them.
// @ms: MQP_NACK: delay, MQP_EXTEND: how long; milliseconds; else 0.
// Returns: MQP_OK: all noted. Otherwise as mqp_ack for the first message that is not; the others
//   are noted (MQP_INVALID_ARGUMENT and MQP_NO_MEMORY: none is).
// Ownership: the messages stay the caller's, to be freed with mqp_message_free.
// Threads: any, callbacks included; never waits.
// Since: 0.1.0
MQP_API enum mqp_code mqp_settle(struct mqp_message *const *messages, size_t count,
				 enum mqp_verb verb, uint32_t ms);

// Settles many received messages alike and waits until the service has made it durable.
//
// @messages: array of received, unsettled messages, all of one consumer; borrowed.
// @count: how many, 1 … 1,000,000.
// @verb: what is to become of them.
// @ms: MQP_NACK: delay, MQP_EXTEND: how long; milliseconds; else 0.
// @timeout_ms: 1 … 86,400,000.
// @ret_codes: array of `count` places; receives the answer for each message (also when the whole is
//   not MQP_OK, except for MQP_INVALID_ARGUMENT, MQP_NO_MEMORY and MQP_WOULD_DEADLOCK). NULL: not
//   wanted.
// Returns: MQP_OK: all confirmed: they will not come again by reason of a crash. Otherwise the
//   first answer that is not OK: MQP_STALE (settled before, timed out, or the connection ended: it
//   may come again), MQP_TIMEOUT (no answer; it may or may not come again), MQP_CONFLICT,
//   MQP_UNSUPPORTED_BY_BACKEND (reject without dead letters). MQP_INVALID_ARGUMENT, MQP_NO_MEMORY,
//   MQP_WOULD_DEADLOCK: nothing was done.
// Ownership: the messages stay the caller's, to be freed with mqp_message_free.
// Threads: any, push callbacks on own threads included, except in a callback on the I/O thread;
//   MQP_IO_APP: the loop's thread, and callbacks run inside.
// Since: 0.1.0
MQP_API enum mqp_code mqp_settle_sync(struct mqp_message *const *messages, size_t count,
				      enum mqp_verb verb, uint32_t ms, int timeout_ms,
				      enum mqp_code *ret_codes);

#ifdef __cplusplus
}
#endif
