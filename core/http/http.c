// The HTTP server of the control plane.
//
// The idea: a connection goes through steps (HEAD, BODY, WORK, WRITE, LINGER), each with one total
// deadline. The timer is set once for a step, and single bytes do not push it back, so a slow
// sender does no harm. There is one request per connection, so nothing that follows a request is
// ever interpreted. libevent's evhttp is not used: it interprets the head before its user sees it,
// knows only idle timeouts, and would need a second parser in front of it.
//
// After the answer the write side is closed, and what still arrives is read and dropped for
// LINGER_MS, so that a refusal reaches a client that is still sending.
//
// Invariants: an exchange is answered at most once. It is freed when its connection is closed and
// its last reference is gone, and then later in the same round, never inside its own callback.
// `open` counts the exchanges in the list, `in_work` those that have passed admission and are not
// reserved.
//
// Deliberately absent: keep-alive, chunked bodies, compression.

#include "core/http/http.h"

#include "core/base/log.h"
#include "core/base/peer_shares.h"
#include "core/http/stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>

enum { LISTENERS_MOST = 8, ACCEPT_AT_ONCE = 16, LINGER_MS = 1000, LINGER_BYTES = 1 << 20 };

enum step { STEP_HEAD, STEP_BODY, STEP_WORK, STEP_WRITE, STEP_LINGER, STEP_CLOSED };

struct listener {
	struct http_server *server;
	struct loop_io io;
	bool tls;
};

struct http_server {
	struct loop *loop;
	struct http_limits limits;
	struct http_handler handler;
	struct listener listeners[LISTENERS_MOST];
	size_t listener_count;
	struct loop_timer resume; // listeners paused for want of descriptors
	struct list exchanges;
	struct peer_shares peer_shares; // exchanges that are not in work yet
	uint32_t open;
	uint32_t in_work; // that are not reserved
	void (*drained)(void *ctx);
	void *drained_ctx;
	bool draining;
};

struct http_exchange {
	struct list link;
	struct http_server *server;
	struct loop_io io;
	struct loop_timer deadline;
	struct stream stream;
	enum step step;
	uint32_t refs;
	char *body;
	size_t body_size;
	size_t lingered;
	char *out;
	size_t out_size, out_at;
	struct head head; // points into head_data
	char peer[INET6_ADDRSTRLEN];
	struct sockaddr_storage address;
	struct peer_share peer_share; // until it is in work
	bool answered, reserved, in_work;
	void *user;
	void (*release)(void *user);
	size_t head_size;
	char head_data[HEAD_MAX_BYTES + 1];
};

static void exchange_go(struct http_exchange *exchange);
static void refuse_request(struct http_exchange *exchange, unsigned status, const char *why);

// ---- life of an exchange

static void listeners_want(struct http_server *server, unsigned events)
{
	for (size_t i = 0; i < server->listener_count; ++i)
		loop_io_want(&server->listeners[i].io, events);
}

static void exchange_free(void *memory)
{
	struct http_exchange *exchange = memory;

	if (exchange->user)
		exchange->release(exchange->user);
	free(exchange->body);
	free(exchange->out);
	free(exchange);
}

struct http_exchange *http_ref(struct http_exchange *exchange)
{
	exchange->refs += 1;
	return exchange;
}

void http_unref(struct http_exchange *exchange)
{
	assert(exchange->refs > 0);
	if (--exchange->refs == 0)
		loop_free_later(exchange->server->loop, exchange, exchange_free);
}

// The only closing path. It drops the connection's reference, so the exchange is freed at the end
// of the round unless the handler holds another one. A server that drains may report its end from
// here.
static void exchange_close(struct http_exchange *exchange)
{
	struct http_server *server = exchange->server;

	if (exchange->step == STEP_CLOSED)
		return;
	exchange->step = STEP_CLOSED;
	exchange->answered = true;
	loop_timer_cancel(&exchange->deadline);
	loop_io_deinit(&exchange->io);
	stream_deinit(&exchange->stream);
	list_unlink(&exchange->link);
	peer_shares_leave(&server->peer_shares, &exchange->peer_share);
	server->in_work -= exchange->in_work;
	--server->open;
	http_unref(exchange);
	if (server->draining && server->open == 0 && server->drained)
		server->drained(server->drained_ctx);
}

static void exchange_enter(struct http_exchange *exchange, enum step step, uint32_t ms)
{
	exchange->step = step;
	loop_timer_set(&exchange->deadline, loop_now_ns(exchange->server->loop) + ms * MS_NS);
}

static void refuse_request(struct http_exchange *exchange, unsigned status, const char *why)
{
	const struct http_handler *handler = &exchange->server->handler;

	handler->refuse(handler->ctx, exchange, status, why);
}

static void on_deadline(struct loop_timer *timer)
{
	struct http_exchange *exchange = CONTAINER_OF(timer, struct http_exchange, deadline);

	switch (exchange->step) {
	case STEP_HEAD:
		if (exchange->head_size == 0)
			exchange_close(exchange);
		else
			refuse_request(exchange, 408,
				       "the head of the request did not arrive in time");
		break;
	case STEP_BODY:
		refuse_request(exchange, 408, "the body of the request did not arrive in time");
		break;
	case STEP_WORK: refuse_request(exchange, 504, "there was no answer in time"); break;
	default: exchange_close(exchange);
	}
}

// ---- answering

static const char *reason_of(unsigned status)
{
	static const struct {
		unsigned status;
		const char *text;
	} reasons[] = {
		{200, "OK"},
		{201, "Created"},
		{204, "No Content"},
		{304, "Not Modified"},
		{400, "Bad Request"},
		{401, "Unauthorized"},
		{403, "Forbidden"},
		{404, "Not Found"},
		{405, "Method Not Allowed"},
		{408, "Request Timeout"},
		{409, "Conflict"},
		{412, "Precondition Failed"},
		{413, "Content Too Large"},
		{415, "Unsupported Media Type"},
		{417, "Expectation Failed"},
		{422, "Unprocessable Content"},
		{429, "Too Many Requests"},
		{431, "Request Header Fields Too Large"},
		{500, "Internal Server Error"},
		{502, "Bad Gateway"},
		{503, "Service Unavailable"},
		{504, "Gateway Timeout"},
		{505, "HTTP Version Not Supported"},
		{507, "Insufficient Storage"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(reasons); ++i) {
		if (reasons[i].status == status)
			return reasons[i].text;
	}
	return "Status";
}

// A HEAD request gets the length of the body and not the body. `headers` must end with CRLF.
static int make_answer(struct http_exchange *exchange, const struct http_response *response)
{
	bool head_only = exchange->head.method && strcmp(exchange->head.method, "HEAD") == 0;
	size_t body = head_only ? 0 : response->size;
	char length[48] = "";
	int n;

	if (response->status != 204)
		snprintf(length, sizeof length, "Content-Length: %zu\r\n", response->size);
	n = asprintf(&exchange->out,
		     "HTTP/1.1 %u %s\r\n%s%s%s%s%sConnection: close\r\nCache-Control: no-store\r\n"
		     "X-Content-Type-Options: nosniff\r\n\r\n",
		     response->status, reason_of(response->status),
		     response->content_type ? "Content-Type: " : "",
		     response->content_type ? response->content_type : "",
		     response->content_type ? "\r\n" : "", length,
		     response->headers ? response->headers : "");
	if (n < 0) {
		exchange->out = NULL;
		return -ENOMEM;
	}
	if (body) {
		char *out = realloc(exchange->out, (size_t)n + body);
		if (!out)
			return -ENOMEM;
		memcpy(out + n, response->body, body);
		exchange->out = out;
	}
	exchange->out_size = (size_t)n + body;
	return 0;
}

void http_reply(struct http_exchange *exchange, const struct http_response *response)
{
	if (exchange->answered)
		return;
	exchange->answered = true;
	if (make_answer(exchange, response) < 0) {
		exchange_close(exchange);
		return;
	}
	exchange_enter(exchange, STEP_WRITE, exchange->server->limits.write_ms);
	loop_io_want(&exchange->io, LOOP_WRITE);
}

static void exchange_write(struct http_exchange *exchange)
{
	while (exchange->out_at < exchange->out_size) {
		long n = stream_write(&exchange->stream, exchange->out + exchange->out_at,
				      exchange->out_size - exchange->out_at);
		if (n == STREAM_CLOSED) {
			exchange_close(exchange);
			return;
		}
		if (n < 0) {
			loop_io_want(&exchange->io, n == STREAM_WANT_READ ? LOOP_READ : LOOP_WRITE);
			return;
		}
		exchange->out_at += (size_t)n;
	}
	stream_finish(&exchange->stream);
	exchange_enter(exchange, STEP_LINGER, LINGER_MS);
	loop_io_want(&exchange->io, LOOP_READ);
}

static void exchange_linger(struct http_exchange *exchange)
{
	char drop[4096];

	for (;;) {
		long n = recv(exchange->stream.fd, drop, sizeof drop, 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0 || (exchange->lingered += (size_t)n) > LINGER_BYTES) {
			exchange_close(exchange);
			return;
		}
	}
}

// ---- reading

// What to do with a read that brought nothing. Only the first read of a TLS stream may want to
// write.
static void exchange_wait(struct http_exchange *exchange, long n)
{
	if (n == STREAM_CLOSED)
		exchange_close(exchange);
	else
		loop_io_want(&exchange->io, n == STREAM_WANT_WRITE ? LOOP_WRITE : LOOP_READ);
}

// From here on the exchange gives way to no newcomer. False: the limit of exchanges in work is
// reached.
static bool work_begins(struct http_exchange *exchange)
{
	struct http_server *server = exchange->server;

	if (!exchange->reserved && server->in_work >= server->limits.connections)
		return false;
	peer_shares_leave(&server->peer_shares, &exchange->peer_share);
	exchange->in_work = !exchange->reserved;
	server->in_work += exchange->in_work;
	return true;
}

static void exchange_work(struct http_exchange *exchange)
{
	const struct http_handler *handler = &exchange->server->handler;

	if (!work_begins(exchange)) {
		refuse_request(exchange, 503, "as many requests are in work as may be; try again");
		return;
	}
	loop_io_want(&exchange->io, 0);
	exchange_enter(exchange, STEP_WORK, exchange->server->limits.work_ms);
	handler->request(handler->ctx, exchange);
}

static void exchange_body(struct http_exchange *exchange)
{
	size_t size = (size_t)exchange->head.content_length;

	while (exchange->body_size < size) {
		long n = stream_read(&exchange->stream, exchange->body + exchange->body_size,
				     size - exchange->body_size);
		if (n < 0) {
			exchange_wait(exchange, n);
			return;
		}
		exchange->body_size += (size_t)n;
	}
	exchange->body[size] = '\0';
	exchange_work(exchange);
}

static void send_continue(struct http_exchange *exchange)
{
	static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";

	// The socket's buffer is empty: a short write means that the client is gone.
	if (stream_write(&exchange->stream, line, sizeof line - 1) != (long)(sizeof line - 1))
		exchange_close(exchange);
}

// The head is whole; `size` bytes of head_data belong to it, the rest begins the body.
static void exchange_admit(struct http_exchange *exchange, size_t size)
{
	const struct http_handler *handler = &exchange->server->handler;
	size_t body_limit = 0, early;
	const char *why;
	int status;

	status = head_parse(exchange->head_data, size, &exchange->head, &why);
	if (status) {
		refuse_request(exchange, (unsigned)status, why);
		return;
	}
	handler->head(handler->ctx, exchange, &body_limit);
	if (exchange->answered)
		return;
	if (exchange->head.content_length > body_limit) {
		refuse_request(exchange, body_limit ? 413 : 400,
			       body_limit ? "the body is larger than the limit"
					  : "this request takes no body");
		return;
	}
	exchange->body = malloc((size_t)exchange->head.content_length + 1);
	if (!exchange->body) {
		refuse_request(exchange, 503, "there is no memory for the body");
		return;
	}
	early = MIN(exchange->head_size - size, (size_t)exchange->head.content_length);
	memcpy(exchange->body, exchange->head_data + size, early);
	exchange->body_size = early;
	exchange_enter(exchange, STEP_BODY, exchange->server->limits.body_ms);
	if (exchange->head.expect_continue && early == 0)
		send_continue(exchange);
	exchange_go(exchange);
}

static void exchange_head(struct http_exchange *exchange)
{
	size_t end = 0;

	while (!end) {
		size_t before = exchange->head_size;
		if (before == HEAD_MAX_BYTES) {
			refuse_request(exchange, 431, "the head is larger than 8,192 bytes");
			return;
		}
		long n = stream_read(&exchange->stream, exchange->head_data + before,
				     HEAD_MAX_BYTES - before);
		if (n < 0) {
			exchange_wait(exchange, n);
			return;
		}
		exchange->head_size += (size_t)n;
		end = head_end(exchange->head_data, exchange->head_size);
	}
	exchange_admit(exchange, end);
}

// Continues where the step stands.
static void exchange_go(struct http_exchange *exchange)
{
	switch (exchange->step) {
	case STEP_HEAD: exchange_head(exchange); break;
	case STEP_BODY: exchange_body(exchange); break;
	case STEP_WRITE: exchange_write(exchange); break;
	case STEP_LINGER: exchange_linger(exchange); break;
	case STEP_WORK:
	case STEP_CLOSED: break;
	}
}

static void on_socket(struct loop_io *io, unsigned events)
{
	exchange_go(CONTAINER_OF(io, struct http_exchange, io));
}

// ---- listening

static int exchange_new(struct http_server *server, int fd, bool tls,
			const struct sockaddr_storage *peer)
{
	uint8_t address[16];
	const struct http_handler *handler = &server->handler;
	SSL_CTX *context = tls ? handler->tls_context(handler->ctx) : NULL;
	struct http_exchange *exchange;
	int r;

	if (tls && !context)
		return -ENOENT;
	exchange = calloc(1, sizeof *exchange);
	r = exchange ? stream_init(&exchange->stream, fd, context) : -ENOMEM;
	SSL_CTX_free(context);
	if (r < 0) {
		free(exchange);
		return r;
	}
	r = loop_io_init(&exchange->io, server->loop, fd, on_socket);
	if (r < 0) {
		exchange->stream.fd = -1; // still the caller's
		stream_deinit(&exchange->stream);
		free(exchange);
		return r;
	}
	exchange->server = server;
	exchange->address = *peer;
	exchange->refs = 1;
	exchange->release = handler->release;
	getnameinfo((const struct sockaddr *)peer, sizeof *peer, exchange->peer,
		    sizeof exchange->peer, NULL, 0, NI_NUMERICHOST);
	peer_share_init(&exchange->peer_share);
	peer_shares_address((const struct sockaddr *)peer, address);
	peer_shares_enter(&server->peer_shares, &exchange->peer_share, address);
	loop_timer_init(&exchange->deadline, server->loop, on_deadline);
	list_push_back(&server->exchanges, &exchange->link);
	server->open += 1;
	exchange_enter(exchange, STEP_HEAD, server->limits.head_ms);
	loop_io_want(&exchange->io, LOOP_READ);
	return 0;
}

static void on_resume(struct loop_timer *timer)
{
	struct http_server *server = CONTAINER_OF(timer, struct http_server, resume);

	if (!server->draining)
		listeners_want(server, LOOP_READ);
}

// Short of descriptors: the listener would spin. Looks again in a moment.
static void pause_listening(struct http_server *server)
{
	listeners_want(server, 0);
	loop_timer_set(&server->resume, loop_now_ns(server->loop) + 100 * MS_NS);
}

// One whose request is not whole goes for a newcomer. False: that has the most of them.
static bool give_way(struct http_server *server, const struct sockaddr_storage *peer)
{
	struct peer_share *victim;
	uint8_t address[16];

	peer_shares_address((const struct sockaddr *)peer, address);
	victim = peer_shares_victim(&server->peer_shares, address);
	if (victim)
		exchange_close(CONTAINER_OF(victim, struct http_exchange, peer_share));
	return victim;
}

static void on_connection(struct loop_io *io, unsigned events)
{
	struct listener *listener = CONTAINER_OF(io, struct listener, io);
	struct http_server *server = listener->server;

	for (int i = 0; i < ACCEPT_AT_ONCE; ++i) {
		struct sockaddr_storage address = {0};
		socklen_t size = sizeof address;
		int fd = accept4(io->fd, (struct sockaddr *)&address, &size,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0 && errno == EMFILE && give_way(server, &address))
			continue;
		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			    errno == ENOMEM)
				pause_listening(server);
			return;
		}
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
		if ((server->peer_shares.count >= server->limits.connections &&
		     !give_way(server, &address)) ||
		    exchange_new(server, fd, listener->tls, &address) < 0)
			close(fd);
	}
}

// Splits "host:port" or "[host]:port" and looks it up without asking a name server.
static int resolve_address(const char *address, struct addrinfo **ret)
{
	const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
				       .ai_socktype = SOCK_STREAM};
	const char *colon = strrchr(address, ':');
	char host[INET6_ADDRSTRLEN + 2];
	size_t size;

	if (!colon || (size_t)(colon - address) >= sizeof host)
		return -EINVAL;
	size = (size_t)(colon - address);
	if (size >= 2 && address[0] == '[' && colon[-1] == ']') {
		address += 1;
		size -= 2;
	}
	memcpy(host, address, size);
	host[size] = '\0';
	return getaddrinfo(host, colon + 1, &hints, ret) == 0 ? 0 : -EINVAL;
}

static int bind_listener(const struct addrinfo *info, uint16_t *ret_port)
{
	struct sockaddr_storage bound = {0};
	socklen_t size = sizeof bound;
	int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
	if (bind(fd, info->ai_addr, info->ai_addrlen) < 0 || listen(fd, 511) < 0 ||
	    getsockname(fd, (struct sockaddr *)&bound, &size) < 0) {
		int r = -errno;
		close(fd);
		return r;
	}
	*ret_port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
						      : ((struct sockaddr_in *)&bound)->sin_port);
	return fd;
}

int http_listen(struct http_server *server, const char *address, bool tls, uint16_t *ret_port)
{
	struct listener *listener = &server->listeners[server->listener_count];
	struct addrinfo *info;
	int r;

	if (server->listener_count == LISTENERS_MOST)
		return -ENOSPC;
	r = resolve_address(address, &info);
	if (r < 0)
		return r;
	r = bind_listener(info, ret_port);
	freeaddrinfo(info);
	if (r < 0)
		return r;
	*listener = (struct listener){.server = server, .tls = tls};
	int fd = r;
	r = loop_io_init(&listener->io, server->loop, fd, on_connection);
	if (r < 0) {
		close(fd);
		return r;
	}
	server->listener_count += 1;
	return loop_io_want(&listener->io, LOOP_READ);
}

static void listeners_close(struct http_server *server)
{
	for (size_t i = 0; i < server->listener_count; ++i) {
		int fd = server->listeners[i].io.fd;
		loop_io_deinit(&server->listeners[i].io);
		close(fd);
	}
	server->listener_count = 0;
}

// ---- the server

int http_new(struct loop *loop, const struct http_limits *limits,
	     const struct http_handler *handler, struct http_server **ret)
{
	struct http_server *server = calloc(1, sizeof *server);

	if (!server)
		return -ENOMEM;
	server->loop = loop;
	server->limits = *limits;
	if (peer_shares_init(&server->peer_shares) < 0) {
		free(server);
		return -ENOMEM;
	}
	server->handler = *handler;
	list_init(&server->exchanges);
	loop_timer_init(&server->resume, loop, on_resume);
	*ret = server;
	return 0;
}

// Exchanges whose request is not whole, and those already answered, are closed at once. Those in
// work or being written end by themselves; their deadlines bound the wait. `done` is called once,
// possibly before this returns.
void http_drain(struct http_server *server, void (*done)(void *ctx), void *ctx)
{
	server->draining = true;
	listeners_close(server);
	loop_timer_cancel(&server->resume);
	LIST_FOREACH(link, next, &server->exchanges)
	{
		struct http_exchange *exchange = LIST_ENTRY(link, struct http_exchange, link);
		if (exchange->step < STEP_WORK || exchange->step == STEP_LINGER)
			exchange_close(exchange);
	}
	server->drained = done;
	server->drained_ctx = ctx;
	if (server->open == 0)
		done(ctx);
}

void http_free(struct http_server *server)
{
	if (!server)
		return;
	listeners_close(server);
	loop_timer_cancel(&server->resume);
	LIST_FOREACH(link, next, &server->exchanges)
	exchange_close(LIST_ENTRY(link, struct http_exchange, link));
	peer_shares_deinit(&server->peer_shares);
	free(server);
}

// ---- what a handler may ask

const struct head *http_head(const struct http_exchange *exchange)
{
	return &exchange->head;
}

const char *http_body(const struct http_exchange *exchange, size_t *ret_size)
{
	*ret_size = exchange->body_size;
	return exchange->body;
}

const char *http_peer(const struct http_exchange *exchange)
{
	return exchange->peer;
}

const struct sockaddr *http_peer_address(const struct http_exchange *exchange)
{
	return (const struct sockaddr *)&exchange->address;
}

void http_set_peer(struct http_exchange *exchange, const char *peer)
{
	snprintf(exchange->peer, sizeof exchange->peer, "%s", peer);
}

void http_set_reserved(struct http_exchange *exchange)
{
	exchange->reserved = true;
}

bool http_answered(const struct http_exchange *exchange)
{
	return exchange->answered;
}

void http_set_user(struct http_exchange *exchange, void *user)
{
	exchange->user = user;
}

void *http_user(const struct http_exchange *exchange)
{
	return exchange->user;
}
