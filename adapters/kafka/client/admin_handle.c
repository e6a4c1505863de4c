// Keeps the current admin handle, at most one retired handle, and the requests about groups that
// are on their way.
//
// Each request is in one of two lists: `asked`, in the order of time, until it is answered or its
// time is over; then in `held`, until librdkafka ends it or its handle is closed. The client's own
// thread looks for those that are late. A handle on which a request was given up is replaced
// RENEW_NS later and closed when it has no users and no requests in `asked`.
//
// Invariants: a call is answered exactly once; while a group has a request in `held`, nothing more
// is asked of it (the caller looks, admin_handle_is_held()). Lock order: topics_lock, then `lock`.
// What it does not do: know what a request is about.

#include "adapters/kafka/client/admin_handle.h"

#include "adapters/kafka/client/client.h"
#include "core/base/clock.h"
#include "core/base/util.h"

#include <errno.h>

#define RENEW_NS (5 * S_NS) // after the first request that was given up

// A client, and how many are about to ask something of it, or wait for an answer.
struct admin_handle {
	struct client *client;
	uint32_t users;
};

struct admin_handle_request {
	struct list node;
	struct admin_handle_call *call; // NULL: given up
	const struct admin_handle *on;
	uint64_t group, deadline_ns;
};

struct admin_handles {
	struct adapter *adapter;
	pthread_mutex_t lock;
	struct admin_handle *current, *retired;
	uint64_t given_up_ns; // on the current one; 0: nothing was
	struct list asked,
		held; // of admin_handle_request.node: in time, in the order of time; given up
};

// ---- what is on its way

// Takes the call that was made first if its time is over. NULL: it is not, or there is none.
static struct admin_handle_call *call_give_up(struct admin_handles *all, uint64_t now_ns)
{
	struct admin_handle_call *call = NULL;

	pthread_mutex_lock(&all->lock);
	if (!list_empty(&all->asked)) {
		struct admin_handle_request *asked =
			LIST_ENTRY(all->asked.next, struct admin_handle_request, node);

		if (now_ns >= asked->deadline_ns) {
			call = asked->call;
			asked->call = NULL;
			list_unlink(&asked->node);
			list_push_back(&all->held, &asked->node);
			if (!all->given_up_ns)
				all->given_up_ns = clock_now_ns();
		}
	}
	pthread_mutex_unlock(&all->lock);
	return call;
}

static void calls_give_up(struct admin_handles *all, uint64_t now_ns)
{
	struct admin_handle_call *call;

	while ((call = call_give_up(all, now_ns)))
		call->answered(call, NULL);
}

static void on_tick(void *ctx)
{
	calls_give_up(ctx, clock_now_ns());
}

bool admin_handle_is_held(struct adapter *adapter, uint64_t group)
{
	struct admin_handles *all = adapter->admin_handles;
	bool held = false;

	pthread_mutex_lock(&all->lock);
	LIST_FOREACH(node, next, &all->held)
	held = held || LIST_ENTRY(node, struct admin_handle_request, node)->group == group;
	pthread_mutex_unlock(&all->lock);
	return held;
}

struct admin_handle_request *admin_handle_begin(struct adapter *adapter, uint64_t group,
						struct admin_handle_call *call,
						const struct admin_handle *on)
{
	struct admin_handles *all = adapter->admin_handles;
	struct admin_handle_request *asked = malloc(sizeof *asked);

	if (!asked)
		return NULL;
	*asked = (struct admin_handle_request){.call = call, .on = on, .group = group};
	pthread_mutex_lock(&all->lock);
	asked->deadline_ns = clock_now_ns() + ADMIN_HANDLE_CALL_MS * MS_NS;
	list_push_back(&all->asked, &asked->node);
	pthread_mutex_unlock(&all->lock);
	return asked;
}

static void request_answer(struct admin_handles *all, rd_kafka_event_t *event)
{
	struct admin_handle_request *asked = rd_kafka_event_opaque(event);
	struct admin_handle_call *call;

	pthread_mutex_lock(&all->lock);
	list_unlink(&asked->node);
	call = asked->call;
	pthread_mutex_unlock(&all->lock);
	free(asked);
	if (call)
		call->answered(call, event);
}

void admin_handle_event(rd_kafka_event_t *event)
{
	struct admin_handle_call *call = rd_kafka_event_opaque(event);

	if (call)
		call->answered(call, event);
}

// ---- the client

static void on_event(void *ctx, rd_kafka_event_t *event)
{
	struct admin_handles *all = ctx;

	switch (rd_kafka_event_type(event)) {
	case RD_KAFKA_EVENT_LISTCONSUMERGROUPOFFSETS_RESULT:
	case RD_KAFKA_EVENT_ALTERCONSUMERGROUPOFFSETS_RESULT: request_answer(all, event); break;
	case RD_KAFKA_EVENT_ERROR: all->adapter->hooks->client_error(all->adapter, event); break;
	default: admin_handle_event(event); break;
	}
}

static int handle_start_client(struct admin_handles *all, struct client **ret, char **ret_error)
{
	const char *const settings[][2] = {
		{"group.id", "mqp.groups"},
		{"enable.auto.commit", "false"},
		{NULL, NULL},
	};
	const struct client_config config = {.options = &all->adapter->options,
					     .type = RD_KAFKA_CONSUMER,
					     .role = "questions",
					     .settings = settings,
					     .event = on_event,
					     .tick = on_tick,
					     .ctx = all,
					     .log = all->adapter->log};

	return client_start(&config, ret, ret_error);
}

struct admin_handle *admin_handle_ref(struct adapter *adapter)
{
	struct admin_handles *all = adapter->admin_handles;
	struct admin_handle *current;

	pthread_mutex_lock(&all->lock);
	current = all->current;
	++current->users;
	pthread_mutex_unlock(&all->lock);
	return current;
}

struct client *admin_handle_client(const struct admin_handle *handle)
{
	return handle->client;
}

void admin_handle_unref(struct adapter *adapter, struct admin_handle *handle)
{
	struct admin_handles *all = adapter->admin_handles;

	pthread_mutex_lock(&all->lock);
	assert(handle->users > 0);
	--handle->users;
	pthread_mutex_unlock(&all->lock);
}

struct admin_handle_entered admin_handle_enter(struct adapter *adapter)
{
	struct admin_handle *handle = admin_handle_ref(adapter);

	return (struct admin_handle_entered){adapter, handle,
					     client_handle(admin_handle_client(handle))};
}

void admin_handle_leave(struct admin_handle_entered *entered)
{
	admin_handle_unref(entered->adapter, entered->admin);
}

void admin_handle_given_up(struct adapter *adapter)
{
	struct admin_handles *all = adapter->admin_handles;

	pthread_mutex_lock(&all->lock);
	if (!all->given_up_ns)
		all->given_up_ns = clock_now_ns();
	pthread_mutex_unlock(&all->lock);
}

static int handle_new(struct admin_handles *all, struct admin_handle **ret, char **ret_error)
{
	struct admin_handle *handle = calloc(1, sizeof *handle);
	int r = handle ? handle_start_client(all, &handle->client, ret_error) : -ENOMEM;

	if (r < 0)
		free(handle);
	else
		*ret = handle;
	return r;
}

// Stops a client and forgets what was given up on it.
static void handle_end(struct admin_handles *all, struct admin_handle *handle)
{
	struct list dropped;

	client_stop(handle->client);
	list_init(&dropped);
	pthread_mutex_lock(&all->lock);
	LIST_FOREACH(node, next, &all->held)
	{
		if (LIST_ENTRY(node, struct admin_handle_request, node)->on != handle)
			continue;
		list_unlink(node);
		list_push_back(&dropped, node);
	}
	pthread_mutex_unlock(&all->lock);
	for (struct list *node; (node = list_pop_front(&dropped));)
		free(LIST_ENTRY(node, struct admin_handle_request, node));
	free(handle);
}

// Whether no caller waits for anything of it. Under the lock.
static bool handle_is_unused(const struct admin_handles *all, const struct admin_handle *handle)
{
	LIST_FOREACH(node, next, &all->asked)
	{
		if (LIST_ENTRY(node, struct admin_handle_request, node)->on == handle)
			return false;
	}
	return handle->users == 0;
}

// Open topics move: a request for their metadata finds them on the current client.
static void handle_swap(struct admin_handles *all, struct admin_handle *fresh)
{
	struct adapter *adapter = all->adapter;

	pthread_mutex_lock(&adapter->topics_lock);
	pthread_mutex_lock(&all->lock);
	all->retired = all->current;
	all->current = fresh;
	all->given_up_ns = 0;
	pthread_mutex_unlock(&all->lock);
	adapter->hooks->handle_swapped(adapter);
	pthread_mutex_unlock(&adapter->topics_lock);
}

void admin_handle_renew(struct adapter *adapter, uint64_t now_ns)
{
	struct admin_handles *all = adapter->admin_handles;
	struct admin_handle *fresh = NULL, *ended = NULL;
	char *error = NULL;
	bool due;

	pthread_mutex_lock(&all->lock);
	due = !all->retired && all->given_up_ns && now_ns >= all->given_up_ns + RENEW_NS;
	if (all->retired && handle_is_unused(all, all->retired)) {
		ended = all->retired;
		all->retired = NULL;
	}
	pthread_mutex_unlock(&all->lock);
	if (ended)
		handle_end(all, ended);
	if (!due)
		return;
	if (handle_new(all, &fresh, &error) < 0) {
		log_error(adapter->log, "KAFKA-CLIENT", "%s", error ? error : "no memory");
		free(error);
		return; // the next look tries again
	}
	handle_swap(all, fresh);
}

int admin_handle_start(struct adapter *adapter, char **ret_error)
{
	struct admin_handles *all = calloc(1, sizeof *all);
	int r;

	if (!all)
		return -ENOMEM;
	all->adapter = adapter;
	pthread_mutex_init(&all->lock, NULL);
	list_init(&all->asked);
	list_init(&all->held);
	adapter->admin_handles = all;
	r = handle_new(all, &all->current, ret_error);
	if (r < 0)
		admin_handle_stop(adapter);
	return r;
}

void admin_handle_stop(struct adapter *adapter)
{
	struct admin_handles *all = adapter->admin_handles;

	if (!all)
		return;
	calls_give_up(all, UINT64_MAX);
	if (all->retired)
		handle_end(all, all->retired);
	if (all->current)
		handle_end(all, all->current);
	pthread_mutex_destroy(&all->lock);
	adapter->admin_handles = NULL;
	free(all);
}
