// A connection to Redis over hiredis, asynchronous on our loop.
//
// hiredis parses and queues; descriptors, timers, connecting anew and every deadline are ours. A
// call that is late costs the connection: what Redis is about to answer would otherwise be taken
// for the answer to a later call, and a connection that hangs is not found in any other way.
//
// The context of hiredis ends in one place, on_cleanup(), whoever ended it. Calls are hiredis's
// until then: each gets its reply or NULL. A call that was answered by its deadline stays until
// hiredis gives it back.
//
// Invariants: a call is answered once; `context` is NULL or open; a call is in `calls` until it is
// freed. Not here: what the scripts mean.

#include "core/redis/redis.h"

#include "core/base/util.h"
#include "core/redis/tls/redis_tls.h"

#include <errno.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <sys/socket.h>

#define CONNECT_NS   (2 * S_NS)
#define BACK_OFF_NS  (50 * MS_NS)
#define BACK_OFF_MAX S_NS
#define WORDS_SIZE   200u
#define SHA_SIZE     41u
#define TOLD_MAX     4u // NOSCRIPT, at most, to one call

struct redis {
	struct loop *loop;
	struct loop_io io;
	struct loop_timer timer; // connects, or gives up connecting
	redisAsyncContext *context;
	char *host, *user, *password;
	uint16_t port;
	bool tls, ready, closing;
	redis_state_fn state;
	void *data;
	struct list calls;
	uint64_t back_off_ns;
	char words[WORDS_SIZE]; // why there is no connection
};

struct call {
	struct list link;
	struct redis *redis;
	struct loop_timer timer;
	redis_answer_fn fn; // NULL: has been answered
	void *data;
	const struct redis_script *script;
	unsigned tries;
	bool sent; // hiredis has it
	size_t count;
	const char **args; // EVALSHA, its name, the number of keys, keys and arguments
	char sha[SHA_SIZE], keys[24];
	char memory[];
};

// ---- calls

static void call_free(struct call *call)
{
	loop_timer_cancel(&call->timer);
	list_unlink(&call->link);
	free(call->args);
	loop_free_later(call->redis->loop, call, free);
}

static void call_tell(struct call *call, const struct redis_answer *answer)
{
	redis_answer_fn fn = call->fn;

	call->fn = NULL;
	loop_timer_cancel(&call->timer);
	if (fn)
		fn(call->data, answer);
}

static void call_end(struct call *call, enum redis_outcome outcome, const char *words)
{
	call_tell(call, &(struct redis_answer){.outcome = outcome, .words = words});
}

static void call_texts(struct call *call, redisReply *const *replies, size_t count)
{
	const char *texts[REDIS_TEXTS_MAX];

	if (count > REDIS_TEXTS_MAX) {
		call_end(call, REDIS_UNUSABLE, "the answer has too many parts");
		return;
	}
	for (size_t i = 0; i < count; ++i) {
		if (replies[i]->type != REDIS_REPLY_STRING &&
		    replies[i]->type != REDIS_REPLY_STATUS) {
			call_end(call, REDIS_UNUSABLE, "the answer has a part that is no text");
			return;
		}
		texts[i] = replies[i]->str;
	}
	call_tell(call, &(struct redis_answer){
				.outcome = REDIS_ANSWERED, .count = count, .texts = texts});
}

static void call_number(struct call *call, long long number)
{
	char text[24];
	const char *texts[] = {text};

	snprintf(text, sizeof text, "%lld", number);
	call_tell(call,
		  &(struct redis_answer){.outcome = REDIS_ANSWERED, .count = 1, .texts = texts});
}

static void call_reply(struct call *call, redisReply *reply)
{
	switch (reply->type) {
	case REDIS_REPLY_ARRAY: call_texts(call, reply->element, reply->elements); break;
	case REDIS_REPLY_INTEGER: call_number(call, reply->integer); break;
	case REDIS_REPLY_ERROR: call_end(call, REDIS_FAILED, reply->str); break;
	default: call_texts(call, &reply, 1);
	}
}

static bool is_unknown_script(const redisReply *reply)
{
	return reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOSCRIPT", 8) == 0;
}

static void on_reply(redisAsyncContext *context, void *data, void *privdata);

static bool call_send(struct call *call)
{
	return redisAsyncCommandArgv(call->redis->context, on_reply, call, (int)call->count,
				     call->args, NULL) == REDIS_OK;
}

// Redis would not take the script, for want of memory: that is why the call fails.
static void on_loaded(redisAsyncContext *context, void *data, void *privdata)
{
	const redisReply *reply = data;

	if (reply && reply->type == REDIS_REPLY_ERROR)
		call_end(privdata, REDIS_FAILED, reply->str);
}

// Redis has been started anew, or its scripts were flushed: it gets the script, and the call again.
static bool call_send_script(struct call *call)
{
	const char *args[] = {"SCRIPT", "LOAD", (const char *)call->script->text};
	const size_t sizes[] = {6, 4, call->script->size};

	if (!call->fn || ++call->tries >= TOLD_MAX)
		return false;
	return redisAsyncCommandArgv(call->redis->context, on_loaded, call, 3, args, sizes) ==
		       REDIS_OK &&
	       call_send(call);
}

// `reply`: NULL when the connection has ended.
static void on_reply(redisAsyncContext *context, void *data, void *privdata)
{
	struct call *call = privdata;
	redisReply *reply = data;

	if (!reply) {
		call_end(call, REDIS_GONE, "the connection was lost");
	} else if (is_unknown_script(reply) && call_send_script(call)) {
		return;
	} else {
		call_reply(call, reply);
	}
	call_free(call);
}

static void on_late(struct loop_timer *timer)
{
	struct call *call = CONTAINER_OF(timer, struct call, timer);
	struct redis *redis = call->redis;

	if (!call->sent) {
		call_end(call, REDIS_GONE, redis->words);
		call_free(call);
		return;
	}
	call_end(call, REDIS_LATE, "no answer in time");
	snprintf(redis->words, sizeof redis->words, "no answer in time");
	redis_reconnect(redis);
}

static bool sha_make(const struct redis_script *script, char ret[SHA_SIZE])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned size;

	if (EVP_Digest(script->text, script->size, digest, &size, EVP_sha1(), NULL) != 1)
		return false;
	for (unsigned i = 0; i < size && i * 2 + 2 < SHA_SIZE; ++i)
		snprintf(ret + (size_t)i * 2, 3, "%02x", digest[i]);
	return true;
}

static struct call *call_new(struct redis *redis, size_t count, const char *const *args)
{
	size_t size = 0, at = 0;
	struct call *call;

	for (size_t i = 0; i < count; ++i)
		size += strlen(args[i]) + 1;
	call = calloc(1, sizeof *call + size);
	if (!call)
		return NULL;
	call->args = calloc(count + 3, sizeof *call->args);
	if (!call->args) {
		free(call);
		return NULL;
	}
	for (size_t i = 0; i < count; ++i) {
		size_t length = strlen(args[i]) + 1;

		call->args[i + 3] = memcpy(call->memory + at, args[i], length);
		at += length;
	}
	call->redis = redis;
	call->count = count + 3;
	loop_timer_init(&call->timer, redis->loop, on_late);
	list_push_back(&redis->calls, &call->link);
	return call;
}

void redis_call(struct redis *redis, const struct redis_script *script, size_t key_count,
		size_t count, const char *const *args, uint64_t wait_ns, redis_answer_fn fn,
		void *data)
{
	struct call *call = call_new(redis, count, args);

	if (!call)
		abort(); // a call that cannot be told of has no other end
	call->fn = fn;
	call->data = data;
	call->script = script;
	snprintf(call->keys, sizeof call->keys, "%zu", key_count);
	call->args[0] = "EVALSHA";
	call->args[1] = call->sha;
	call->args[2] = call->keys;
	call->sent = redis->ready && sha_make(script, call->sha) && call_send(call);
	loop_timer_set(&call->timer, loop_now_ns(redis->loop) + (call->sent ? wait_ns : 0));
}

// ---- the connection

static void words_set(struct redis *redis, const char *words)
{
	snprintf(redis->words, sizeof redis->words, "%s", words);
}

static void on_cleanup(void *data)
{
	struct redis *redis = data;

	loop_io_deinit(&redis->io);
	redis->context = NULL;
	redis->ready = false;
	if (redis->closing)
		return;
	redis->back_off_ns = MIN(MAX(redis->back_off_ns * 2, BACK_OFF_NS), BACK_OFF_MAX);
	loop_timer_set(&redis->timer, loop_now_ns(redis->loop) + redis->back_off_ns);
	redis->state(redis->data, false, redis->words);
}

static void drop(struct redis *redis)
{
	static const struct linger at_once = {.l_onoff = 1};

	if (!redis->context)
		return;
	setsockopt(redis->context->c.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
	redisAsyncFree(redis->context);
}

void redis_reconnect(struct redis *redis)
{
	drop(redis);
}

static void want(struct redis *redis, unsigned events)
{
	if (loop_io_want(&redis->io, events) != 0)
		words_set(redis, "the loop takes no descriptor");
}

static void on_add_read(void *data)
{
	struct redis *redis = data;

	want(redis, redis->io.events | LOOP_READ);
}

static void on_del_read(void *data)
{
	struct redis *redis = data;

	want(redis, redis->io.events & ~(unsigned)LOOP_READ);
}

static void on_add_write(void *data)
{
	struct redis *redis = data;

	want(redis, redis->io.events | LOOP_WRITE);
}

static void on_del_write(void *data)
{
	struct redis *redis = data;

	want(redis, redis->io.events & ~(unsigned)LOOP_WRITE);
}

static bool is_too_large(const redisAsyncContext *context)
{
	return context->c.reader->len - context->c.reader->pos > REDIS_PENDING_MAX;
}

static void on_io(struct loop_io *io, unsigned events)
{
	struct redis *redis = CONTAINER_OF(io, struct redis, io);

	if (events & LOOP_READ)
		redisAsyncHandleRead(redis->context);
	if (redis->context && is_too_large(redis->context)) {
		words_set(redis, "an answer is too large");
		drop(redis);
	}
	if (redis->context && (events & LOOP_WRITE))
		redisAsyncHandleWrite(redis->context);
}

static void be_ready(struct redis *redis)
{
	redis->ready = true;
	redis->back_off_ns = 0;
	loop_timer_cancel(&redis->timer);
	redis->state(redis->data, true, "");
}

static void on_login(redisAsyncContext *context, void *data, void *privdata)
{
	struct redis *redis = privdata;
	const redisReply *reply = data;

	if (!reply)
		return;
	if (reply->type != REDIS_REPLY_ERROR) {
		be_ready(redis);
		return;
	}
	words_set(redis, reply->str);
	redis->back_off_ns = BACK_OFF_MAX;
	drop(redis);
}

static void on_connect(const redisAsyncContext *context, int status)
{
	struct redis *redis = context->data;

	if (status != REDIS_OK) {
		words_set(redis, context->errstr ? context->errstr : "no connection");
		return; // hiredis frees it
	}
	if (!redis->password)
		be_ready(redis);
	else if (redis->user)
		redisAsyncCommand(redis->context, on_login, redis, "AUTH %s %s", redis->user,
				  redis->password);
	else
		redisAsyncCommand(redis->context, on_login, redis, "AUTH %s", redis->password);
}

static void on_disconnect(const redisAsyncContext *context, int status)
{
	struct redis *redis = context->data;

	if (status != REDIS_OK && context->errstr)
		words_set(redis, context->errstr);
}

static bool attach(struct redis *redis, redisAsyncContext *context)
{
	if (loop_io_init(&redis->io, redis->loop, context->c.fd, on_io) != 0)
		return false;
	redis->context = context;
	context->data = redis;
	context->ev.data = redis;
	context->ev.addRead = on_add_read;
	context->ev.delRead = on_del_read;
	context->ev.addWrite = on_add_write;
	context->ev.delWrite = on_del_write;
	context->ev.cleanup = on_cleanup;
	redisAsyncSetConnectCallback(context, on_connect);
	redisAsyncSetDisconnectCallback(context, on_disconnect);
	return !redis->tls || redis_tls_begin(context, redis->host) == 0;
}

static void connect_begin(struct redis *redis)
{
	redisAsyncContext *context = redisAsyncConnect(redis->host, redis->port);

	loop_timer_set(&redis->timer, loop_now_ns(redis->loop) + CONNECT_NS);
	if (!context)
		return;
	if (context->err) {
		words_set(redis, context->errstr);
		redisAsyncFree(context); // no callbacks yet
	} else if (!attach(redis, context)) {
		words_set(redis, "cannot begin to connect");
		redisAsyncFree(context);
	}
}

static void on_timer(struct loop_timer *timer)
{
	struct redis *redis = CONTAINER_OF(timer, struct redis, timer);

	if (redis->context) {
		words_set(redis, "it does not answer");
		drop(redis);
	} else {
		connect_begin(redis);
	}
}

bool redis_has_tls(void)
{
	return redis_tls_is_there();
}

static bool text_keep(const char *text, char **ret)
{
	*ret = text ? strdup(text) : NULL;
	return !text || *ret;
}

int redis_new(struct loop *loop, const struct redis_options *options, redis_state_fn state,
	      void *data, struct redis **ret)
{
	struct redis *redis;

	if (options->tls && !redis_has_tls())
		return -ENOTSUP;
	redis = calloc(1, sizeof *redis);
	if (!redis)
		return -ENOMEM;
	redis->loop = loop;
	redis->port = options->port;
	redis->tls = options->tls;
	redis->state = state;
	redis->data = data;
	list_init(&redis->calls);
	words_set(redis, "not connected yet");
	loop_timer_init(&redis->timer, loop, on_timer);
	if (!text_keep(options->host, &redis->host) || !text_keep(options->user, &redis->user) ||
	    !text_keep(options->password, &redis->password)) {
		redis_free(redis);
		return -ENOMEM;
	}
	loop_timer_set(&redis->timer, loop_now_ns(loop));
	*ret = redis;
	return 0;
}

// What hiredis has comes back when the connection ends; what was never sent is answered here.
void redis_free(struct redis *redis)
{
	if (!redis)
		return;
	redis->closing = true;
	drop(redis);
	LIST_FOREACH(pos, next, &redis->calls)
	{
		struct call *call = LIST_ENTRY(pos, struct call, link);

		call_end(call, REDIS_GONE, "closed");
		call_free(call);
	}
	loop_timer_cancel(&redis->timer);
	free(redis->host);
	free(redis->user);
	free(redis->password);
	loop_free_later(redis->loop, redis, free);
}
