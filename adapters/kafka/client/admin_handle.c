#include "adapters/kafka/client/admin_handle.h"

#include "adapters/kafka/client/client.h"
#include "adapters/kafka/client/health.h"
#include "adapters/kafka/topic/topic.h"
#include "core/base/clock.h"
#include "core/base/util.h"

#include <errno.h>

#define RENEW_NS (5 * S_NS) // after the first request that was given up

// A client, and how many are about to ask something of it, or wait for an answer.
struct coordinator {
	struct client *client;
	uint32_t users;
};

struct coordinator_asked {
	struct list node;
	struct kafka_call *call; // NULL: given up
	const struct coordinator *on;
	uint64_t group, deadline_ns;
};

struct coordinators {
	struct adapter *adapter;
	pthread_mutex_t lock;
	struct coordinator *current, *retired;
	uint64_t given_up_ns; // on the current one; 0: nothing was
	struct list asked,
		held; // of coordinator_asked.node: in time, in the order of time; given up
};

// ---- what is on its way

// Takes the call that was made first if its time is over. NULL: it is not, or there is none.
static struct kafka_call *call_give_up(struct coordinators *all, uint64_t now_ns)
{
	struct kafka_call *call = NULL;

	pthread_mutex_lock(&all->lock);
	if (!list_empty(&all->asked)) {
		struct coordinator_asked *asked =
			LIST_ENTRY(all->asked.next, struct coordinator_asked, node);

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

static void give_up(struct coordinators *all, uint64_t now_ns)
{
	struct kafka_call *call;

	while ((call = call_give_up(all, now_ns)))
		call->answered(call, NULL);
}

static void on_tick(void *ctx)
{
	give_up(ctx, clock_now_ns());
}

bool coordinator_is_held(struct adapter *adapter, uint64_t group)
{
	struct coordinators *all = adapter->coordinators;
	bool held = false;

	pthread_mutex_lock(&all->lock);
	LIST_FOREACH(node, next, &all->held)
	held = held || LIST_ENTRY(node, struct coordinator_asked, node)->group == group;
	pthread_mutex_unlock(&all->lock);
	return held;
}

struct coordinator_asked *coordinator_begin(struct adapter *adapter, uint64_t group,
					    struct kafka_call *call, const struct coordinator *on)
{
	struct coordinators *all = adapter->coordinators;
	struct coordinator_asked *asked = malloc(sizeof *asked);

	if (!asked)
		return NULL;
	*asked = (struct coordinator_asked){.call = call, .on = on, .group = group};
	pthread_mutex_lock(&all->lock);
	asked->deadline_ns = clock_now_ns() + KAFKA_ASK_MS * MS_NS;
	list_push_back(&all->asked, &asked->node);
	pthread_mutex_unlock(&all->lock);
	return asked;
}

static void answered(struct coordinators *all, rd_kafka_event_t *event)
{
	struct coordinator_asked *asked = rd_kafka_event_opaque(event);
	struct kafka_call *call;

	pthread_mutex_lock(&all->lock);
	list_unlink(&asked->node);
	call = asked->call;
	pthread_mutex_unlock(&all->lock);
	free(asked);
	if (call)
		call->answered(call, event);
}

void kafka_call_event(rd_kafka_event_t *event)
{
	struct kafka_call *call = rd_kafka_event_opaque(event);

	if (call)
		call->answered(call, event);
}

// ---- the client

static void on_event(void *ctx, rd_kafka_event_t *event)
{
	struct coordinators *all = ctx;

	switch (rd_kafka_event_type(event)) {
	case RD_KAFKA_EVENT_LISTCONSUMERGROUPOFFSETS_RESULT:
	case RD_KAFKA_EVENT_ALTERCONSUMERGROUPOFFSETS_RESULT: answered(all, event); break;
	case RD_KAFKA_EVENT_ERROR: health_error(all->adapter, event); break;
	default: kafka_call_event(event); break;
	}
}

static int client_new(struct coordinators *all, struct client **ret, char **ret_error)
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

struct coordinator *coordinator_enter(struct adapter *adapter)
{
	struct coordinators *all = adapter->coordinators;
	struct coordinator *current;

	pthread_mutex_lock(&all->lock);
	current = all->current;
	++current->users;
	pthread_mutex_unlock(&all->lock);
	return current;
}

struct client *coordinator_client(const struct coordinator *coordinator)
{
	return coordinator->client;
}

void coordinator_leave(struct adapter *adapter, struct coordinator *coordinator)
{
	struct coordinators *all = adapter->coordinators;

	pthread_mutex_lock(&all->lock);
	--coordinator->users;
	pthread_mutex_unlock(&all->lock);
}

struct kafka_handle kafka_handle_enter(struct adapter *adapter)
{
	struct coordinator *coordinator = coordinator_enter(adapter);

	return (struct kafka_handle){adapter, coordinator,
				     client_handle(coordinator_client(coordinator))};
}

void kafka_handle_leave(struct kafka_handle *entered)
{
	coordinator_leave(entered->adapter, entered->coordinator);
}

void coordinator_given_up(struct adapter *adapter)
{
	struct coordinators *all = adapter->coordinators;

	pthread_mutex_lock(&all->lock);
	if (!all->given_up_ns)
		all->given_up_ns = clock_now_ns();
	pthread_mutex_unlock(&all->lock);
}

static int coordinator_new(struct coordinators *all, struct coordinator **ret, char **ret_error)
{
	struct coordinator *coordinator = calloc(1, sizeof *coordinator);
	int r = coordinator ? client_new(all, &coordinator->client, ret_error) : -ENOMEM;

	if (r < 0)
		free(coordinator);
	else
		*ret = coordinator;
	return r;
}

// Stops a client and forgets what was given up on it.
static void coordinator_end(struct coordinators *all, struct coordinator *coordinator)
{
	struct list dropped;

	client_stop(coordinator->client);
	list_init(&dropped);
	pthread_mutex_lock(&all->lock);
	LIST_FOREACH(node, next, &all->held)
	{
		if (LIST_ENTRY(node, struct coordinator_asked, node)->on != coordinator)
			continue;
		list_unlink(node);
		list_push_back(&dropped, node);
	}
	pthread_mutex_unlock(&all->lock);
	for (struct list *node; (node = list_pop_front(&dropped));)
		free(LIST_ENTRY(node, struct coordinator_asked, node));
	free(coordinator);
}

// Whether nobody waits for anything of it. Under the lock.
static bool is_unused(const struct coordinators *all, const struct coordinator *coordinator)
{
	LIST_FOREACH(node, next, &all->asked)
	{
		if (LIST_ENTRY(node, struct coordinator_asked, node)->on == coordinator)
			return false;
	}
	return coordinator->users == 0;
}

// Open topics move: whoever asks for their metadata finds them on the client of now.
static void swap(struct coordinators *all, struct coordinator *fresh)
{
	struct adapter *adapter = all->adapter;

	pthread_mutex_lock(&adapter->topics_lock);
	pthread_mutex_lock(&all->lock);
	all->retired = all->current;
	all->current = fresh;
	all->given_up_ns = 0;
	pthread_mutex_unlock(&all->lock);
	LIST_FOREACH(node, next, &adapter->topics)
	{
		kafka_topic_rewatch(LIST_ENTRY(node, struct adapter_topic, in_adapter));
	}
	pthread_mutex_unlock(&adapter->topics_lock);
}

void coordinators_renew(struct adapter *adapter, uint64_t now_ns)
{
	struct coordinators *all = adapter->coordinators;
	struct coordinator *fresh = NULL, *ended = NULL;
	char *error = NULL;
	bool due;

	pthread_mutex_lock(&all->lock);
	due = !all->retired && all->given_up_ns && now_ns >= all->given_up_ns + RENEW_NS;
	if (all->retired && is_unused(all, all->retired)) {
		ended = all->retired;
		all->retired = NULL;
	}
	pthread_mutex_unlock(&all->lock);
	if (ended)
		coordinator_end(all, ended);
	if (!due)
		return;
	if (coordinator_new(all, &fresh, &error) < 0) {
		log_error(adapter->log, "KAFKA-CLIENT", "%s", error ? error : "no memory");
		free(error);
		return; // the next look tries again
	}
	swap(all, fresh);
}

int coordinators_start(struct adapter *adapter, char **ret_error)
{
	struct coordinators *all = calloc(1, sizeof *all);
	int r;

	if (!all)
		return -ENOMEM;
	all->adapter = adapter;
	pthread_mutex_init(&all->lock, NULL);
	list_init(&all->asked);
	list_init(&all->held);
	adapter->coordinators = all;
	r = coordinator_new(all, &all->current, ret_error);
	if (r < 0)
		coordinators_stop(adapter);
	return r;
}

void coordinators_stop(struct adapter *adapter)
{
	struct coordinators *all = adapter->coordinators;

	if (!all)
		return;
	give_up(all, UINT64_MAX);
	if (all->retired)
		coordinator_end(all, all->retired);
	if (all->current)
		coordinator_end(all, all->current);
	pthread_mutex_destroy(&all->lock);
	adapter->coordinators = NULL;
	free(all);
}
