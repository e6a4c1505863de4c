// Requests to the cluster, one after the other, on a channel of the ask link.
//
// The first request of the list is under way; its steps are sent one at a time, each when the one
// before is answered. A step that the broker refuses closes the channel: the request ends with the
// broker's words, and the next one opens another channel. A step that the end of the connection
// leaves without an answer is sent again, because every step may be carried out twice; after a few
// times it is taken for the cause.
//
// A step that is not answered in time (a quorum queue without its majority) may be answered later,
// and its channel is of no use until then: it is closed and left alone, and the next request has
// another one. At most ABANDONED channels are left alone; then requests wait.
//
// Invariant: the caller is answered exactly once, on the loop of the link, and the request is not
// touched behind that. What it does not do: decide whether a request makes sense.

#include "adapters/rabbitmq/ask/ask.h"

#include "adapters/rabbitmq/ask/step.h"
#include "core/base/clock.h"

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>

#define WAITING_MAX 4096 // requests
#define ABANDONED   8    // channels
#define TRIES       3    // of a step that ends with the connection
#define DOWN_MS     5000 // requests do not wait for a cluster that is away for so long
#define TEXT        512
#define NODE_DOWN   "down or inaccessible" // in the 404 of a classic queue that is there

struct ask_channel {
	struct rabbitmq_channel channel;
	struct rabbitmq_asker *asker;
	bool open;
};

struct rabbitmq_asker {
	struct adapter *adapter;
	struct loop *loop;
	struct list waiting; // struct rabbitmq_ask; the first is under way
	struct list resting; // those that begin later
	size_t count;
	struct ask_channel *channel; // NULL: none
	struct ask_channel *abandoned[ABANDONED];
	struct loop_timer timer; // the first deadline
	// Of the step that is under way.
	bool sent, other_limit; // other_limit: as a broker of another version wants it
	unsigned tries;
	bool stopping;
	char link_text[TEXT]; // why there is no connection; "": there is one, or nothing is known
	uint64_t down_ns;     // since when; 0: there is one
};

static void go_on(struct rabbitmq_asker *asker);

// ---- ending a request

static struct rabbitmq_ask *first_ask(struct rabbitmq_asker *asker)
{
	return list_empty(&asker->waiting)
		       ? NULL
		       : LIST_ENTRY(asker->waiting.next, struct rabbitmq_ask, in_queue);
}

static void step_reset(struct rabbitmq_asker *asker)
{
	asker->sent = asker->other_limit = false;
	asker->tries = 0;
}

// `text`: the link's, which names the cluster; NULL with OK.
static void ask_end(struct rabbitmq_asker *asker, struct rabbitmq_ask *ask, enum code code,
		    const char *text)
{
	if (first_ask(asker) == ask)
		step_reset(asker);
	list_unlink(&ask->in_queue);
	--asker->count;
	ask->done(ask, code, text);
}

static void ask_refuse(struct rabbitmq_asker *asker, struct rabbitmq_ask *ask, enum code code,
		       const char *why)
{
	char text[TEXT];

	snprintf(text, sizeof text, "cluster %s: %s", asker->adapter->cluster, why);
	ask_end(asker, ask, code, text);
}

static struct rabbitmq_step *current_step(struct rabbitmq_asker *asker)
{
	struct rabbitmq_ask *ask = first_ask(asker);

	return &ask->steps[ask->next];
}

static void step_done(struct rabbitmq_asker *asker)
{
	struct rabbitmq_ask *ask = first_ask(asker);

	step_reset(asker);
	if (++ask->next == ask->count)
		ask_end(asker, ask, CODE_OK, NULL);
}

// ---- the channel's events

static bool declares_limit(const struct rabbitmq_step *step)
{
	return step->verb == RABBITMQ_QUEUE_DECLARE && strcmp(step->shape.kind, "quorum") == 0;
}

static bool is_delete(const struct rabbitmq_step *step)
{
	return step->verb == RABBITMQ_EXCHANGE_DELETE || step->verb == RABBITMQ_QUEUE_DELETE ||
	       step->verb == RABBITMQ_UNBIND;
}

// The step that was under way when the channel ended.
static void step_refused(struct rabbitmq_asker *asker, enum code code, const char *text)
{
	struct rabbitmq_step *step = current_step(asker);

	asker->sent = false;
	if (code == CODE_NOT_FOUND && text && strstr(text, NODE_DOWN))
		code = CODE_BACKEND_DOWN;
	if (code == CODE_NOT_FOUND)
		step->missing = true;
	if (code == CODE_OK) {
		// The connection's end; the step is sent again.
		if (++asker->tries == TRIES)
			ask_end(asker, first_ask(asker), CODE_BACKEND_DOWN, text);
	} else if (step->missing && (step->may_miss || is_delete(step))) {
		step_done(asker);
	} else if (code == CODE_CONFLICT && declares_limit(step) && !asker->other_limit && text &&
		   strstr(text, "x-delivery-limit")) {
		asker->other_limit = true; // declared before the broker was upgraded
	} else if (code == CODE_CONFLICT && step->may_differ) {
		step->differs = true;
		step_done(asker);
	} else {
		ask_end(asker, first_ask(asker), code, text);
	}
}

static void abandoned_forget(struct rabbitmq_asker *asker, const struct ask_channel *channel)
{
	for (size_t i = 0; i < ABANDONED; ++i)
		if (asker->abandoned[i] == channel)
			asker->abandoned[i] = NULL;
}

static void on_closed(struct rabbitmq_channel *channel, enum code code, uint16_t reply,
		      const char *text)
{
	struct ask_channel *own = CONTAINER_OF(channel, struct ask_channel, channel);
	struct rabbitmq_asker *asker = own->asker;

	abandoned_forget(asker, own);
	if (asker->channel == own) {
		asker->channel = NULL;
		if (asker->sent)
			step_refused(asker, rabbitmq_step_refusal(reply), text);
		else if (first_ask(asker) && code == CODE_OVERLOADED)
			ask_end(asker, first_ask(asker), code, text);
	}
	loop_free_later(asker->loop, own, free);
	go_on(asker);
}

static void on_opened(struct rabbitmq_channel *channel)
{
	struct ask_channel *own = CONTAINER_OF(channel, struct ask_channel, channel);

	own->open = true;
	*own->asker->link_text = '\0';
	if (own->asker->channel == own)
		go_on(own->asker);
}

static void on_method(struct rabbitmq_channel *channel, const amqp_method_t *method)
{
	struct ask_channel *own = CONTAINER_OF(channel, struct ask_channel, channel);
	struct rabbitmq_asker *asker = own->asker;

	if (asker->channel != own || !asker->sent ||
	    !rabbitmq_step_answered(current_step(asker), method))
		return; // too late, or nothing that was asked
	step_done(asker);
	go_on(asker);
}

static const struct rabbitmq_channel_handlers channel_handlers = {
	.opened = on_opened,
	.closed = on_closed,
	.method = on_method,
};

// ---- what is next

static bool has_room(const struct rabbitmq_asker *asker)
{
	for (size_t i = 0; i < ABANDONED; ++i)
		if (!asker->abandoned[i])
			return true;
	return false;
}

static void channel_new(struct rabbitmq_asker *asker)
{
	struct ask_channel *channel;

	if (!has_room(asker))
		return; // until the cluster has closed one
	channel = calloc(1, sizeof *channel);
	if (!channel) {
		ask_refuse(asker, first_ask(asker), CODE_OVERLOADED, "no memory for a channel");
		return;
	}
	channel->asker = asker;
	asker->channel = channel;
	rabbitmq_channel_open(asker->adapter->ask, &channel->channel, &channel_handlers);
}

static void step_send(struct rabbitmq_asker *asker)
{
	char version[64];

	rabbitmq_link_version(asker->adapter->ask, version, sizeof version);
	asker->sent = true;
	// Where it fails, closed() is on its way.
	rabbitmq_step_send(&asker->channel->channel, current_step(asker),
			   rabbitmq_step_endless(version) != asker->other_limit);
}

static void timer_set(struct rabbitmq_asker *asker)
{
	uint64_t first_ns = UINT64_MAX;

	LIST_FOREACH(node, next, &asker->waiting)
	first_ns = MIN(first_ns, LIST_ENTRY(node, struct rabbitmq_ask, in_queue)->deadline_ns);
	LIST_FOREACH(node, next, &asker->resting)
	first_ns = MIN(first_ns, LIST_ENTRY(node, struct rabbitmq_ask, in_queue)->begin_ns);
	if (first_ns == UINT64_MAX)
		loop_timer_cancel(&asker->timer);
	else
		loop_timer_set(&asker->timer, first_ns);
}

static void go_on(struct rabbitmq_asker *asker)
{
	while (first_ask(asker) && !asker->channel && !asker->stopping) {
		channel_new(asker);
		if (!has_room(asker))
			break;
	}
	if (first_ask(asker) && asker->channel && asker->channel->open && !asker->sent)
		step_send(asker);
	timer_set(asker);
}

// ---- deadlines

static void channel_abandon(struct rabbitmq_asker *asker)
{
	struct ask_channel *channel = asker->channel;

	for (size_t i = 0; i < ABANDONED; ++i) {
		if (!asker->abandoned[i]) {
			asker->abandoned[i] = channel;
			break;
		}
	}
	asker->channel = NULL;
	rabbitmq_channel_close(&channel->channel);
}

static void ask_expire(struct rabbitmq_asker *asker, struct rabbitmq_ask *ask)
{
	bool under_way = asker->sent && first_ask(asker) == ask;

	if (under_way)
		channel_abandon(asker);
	if (rabbitmq_link_is_up(asker->adapter->ask))
		ask_refuse(asker, ask, CODE_TIMEOUT,
			   under_way ? "it does not answer" : "it answers too slowly");
	else if (*asker->link_text)
		ask_end(asker, ask, CODE_BACKEND_DOWN, asker->link_text);
	else
		ask_refuse(asker, ask, CODE_BACKEND_DOWN, "it cannot be reached");
}

static void on_timer(struct loop_timer *timer)
{
	struct rabbitmq_asker *asker = CONTAINER_OF(timer, struct rabbitmq_asker, timer);
	uint64_t now_ns = clock_now_ns();

	LIST_FOREACH(node, next, &asker->resting)
	{
		if (LIST_ENTRY(node, struct rabbitmq_ask, in_queue)->begin_ns > now_ns)
			continue;
		list_unlink(node);
		list_push_back(&asker->waiting, node);
	}
	// What ends may be the next of the list, but nothing else is taken out by its caller.
	LIST_FOREACH(node, next, &asker->waiting)
	{
		struct rabbitmq_ask *ask = LIST_ENTRY(node, struct rabbitmq_ask, in_queue);

		if (ask->deadline_ns <= now_ns)
			ask_expire(asker, ask);
	}
	go_on(asker);
}

// ---- the link

static bool may_pass(enum code code)
{
	return code == CODE_BACKEND_DOWN || code == CODE_CONNECTION_LOST || code == CODE_TIMEOUT ||
	       code == CODE_OVERLOADED || code == CODE_SHUTTING_DOWN;
}

void rabbitmq_ask_link_changed(struct adapter *adapter, enum code code, const char *text)
{
	struct rabbitmq_asker *asker = __atomic_load_n(&adapter->asker, __ATOMIC_ACQUIRE);
	uint64_t now_ns = clock_now_ns();

	if (!asker)
		return; // not there yet
	if (code == CODE_OK) {
		*asker->link_text = '\0';
		asker->down_ns = 0;
		return;
	}
	snprintf(asker->link_text, sizeof asker->link_text, "%s",
		 text ? text : code_sentence(code));
	if (!asker->down_ns)
		asker->down_ns = now_ns;
	if (may_pass(code) && now_ns - asker->down_ns < DOWN_MS * MS_NS)
		return;
	while (!asker->sent && first_ask(asker))
		ask_end(asker, first_ask(asker), may_pass(code) ? CODE_BACKEND_DOWN : code,
			asker->link_text);
}

// ---- begin and end

static void on_ask(struct loop_task *task)
{
	struct rabbitmq_ask *ask = CONTAINER_OF(task, struct rabbitmq_ask, task);
	struct rabbitmq_asker *asker = ask->adapter->asker;

	list_push_back(ask->rest_ns ? &asker->resting : &asker->waiting, &ask->in_queue);
	++asker->count;
	if (asker->stopping)
		ask_refuse(asker, ask, CODE_SHUTTING_DOWN, "it is being closed");
	else if (asker->count > WAITING_MAX)
		ask_refuse(asker, ask, CODE_OVERLOADED, "too many requests wait for it");
	else
		go_on(asker);
}

void rabbitmq_ask_run(struct rabbitmq_ask *ask)
{
	assert(ask->count > 0);
	ask->next = 0;
	ask->begin_ns = clock_now_ns() + ask->rest_ns;
	if (!ask->deadline_ns)
		ask->deadline_ns = ask->begin_ns + ask->adapter->options.timeout_ms * MS_NS;
	ask->task.fn = on_ask;
	loop_post(ask->adapter->asker->loop, &ask->task);
}

int rabbitmq_ask_start(struct adapter *adapter)
{
	struct rabbitmq_asker *asker = calloc(1, sizeof *asker);

	if (!asker)
		return -ENOMEM;
	asker->adapter = adapter;
	asker->loop = rabbitmq_link_loop(adapter->ask);
	list_init(&asker->waiting);
	list_init(&asker->resting);
	loop_timer_init(&asker->timer, asker->loop, on_timer);
	__atomic_store_n(&adapter->asker, asker, __ATOMIC_RELEASE);
	return 0;
}

struct stop {
	struct loop_task task;
	struct rabbitmq_asker *asker;
	sem_t done;
};

static void on_stop(struct loop_task *task)
{
	struct stop *stop = CONTAINER_OF(task, struct stop, task);

	stop->asker->stopping = true;
	LIST_FOREACH(node, next, &stop->asker->resting)
	{
		list_unlink(node);
		list_push_back(&stop->asker->waiting, node);
	}
	while (first_ask(stop->asker))
		ask_refuse(stop->asker, first_ask(stop->asker), CODE_SHUTTING_DOWN,
			   "it is being closed");
	loop_timer_cancel(&stop->asker->timer);
	sem_post(&stop->done);
}

void rabbitmq_ask_stop(struct adapter *adapter)
{
	struct stop stop = {.task.fn = on_stop, .asker = adapter->asker};

	if (!adapter->asker)
		return;
	sem_init(&stop.done, 0, 0);
	loop_post(adapter->asker->loop, &stop.task);
	while (sem_wait(&stop.done) < 0)
		;
	sem_destroy(&stop.done);
}

void rabbitmq_ask_free(struct adapter *adapter)
{
	struct rabbitmq_asker *asker = adapter->asker;

	if (!asker)
		return;
	assert(!asker->channel && list_empty(&asker->waiting));
	free(asker);
	adapter->asker = NULL;
}
