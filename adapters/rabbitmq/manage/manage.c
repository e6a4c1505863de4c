// The thread that asks the management API, what it found last, and what it tells an operator.
//
// A round asks for version, nodes, policies and operator policies, and for the queues of the vhost.
// Listing queues costs the cluster more the more there are, so queues are listed again only after
// twenty times as long as it took. What is found replaces what was known as a whole; what fails
// leaves it unknown, and says why.
//
// The thread has a loop, and asking blocks it: requests wait behind a round. What it does not do:
// change anything on the cluster.

#include "adapters/rabbitmq/manage/manage.h"

#include "adapters/rabbitmq/manage/danger.h"
#include "adapters/rabbitmq/manage/http.h"
#include "core/base/clock.h"
#include "core/loop/loop_thread.h"

#include <errno.h>
#include <stdio.h>

#define ROUND_MS     5000
#define LIST_SHARE   20    // one part in LIST_SHARE of the time goes into listing queues
#define LIST_MOST_MS 30000 // for all pages of a list
#define QUEUE_COLUMNS                                                                              \
	"name,type,policy,operator_policy,effective_policy_definition,arguments,messages,"         \
	"message_bytes,consumers"

struct rabbitmq_manage {
	struct adapter *adapter;
	struct loop_thread thread;
	struct loop_timer timer;
	struct loop_task begin, end; // the first round; no more of them
	struct rabbitmq_http *http;
	rabbitmq_imported_fn imported;
	void (*changed)(struct adapter *adapter);
	bool leaving; // atomic
	uint64_t list_due_ns;
	pthread_mutex_t lock;
	struct rabbitmq_summary summary; // under the lock, as the next two
	struct rabbitmq_queues queues;
	bool queues_known;
};

// ---- asking

static json_t *json_get(struct rabbitmq_manage *manage, const char *path, long *ret_status,
			char error[320])
{
	const char *data;
	size_t size;
	json_t *root;

	if (rabbitmq_http_get(manage->http, path, &data, &size, ret_status, error) < 0)
		return NULL;
	root = rabbitmq_facts_parse(data, size);
	if (!root)
		snprintf(error, 320, "management API %.100s: the answer cannot be read", path);
	return root;
}

static json_t *vhost_get(struct rabbitmq_manage *manage, const char *before, const char *behind,
			 char error[320])
{
	char *path =
		rabbitmq_http_path(manage->http, before, manage->adapter->options.vhost, behind);
	json_t *root = NULL;
	long status;

	if (path)
		root = json_get(manage, path, &status, error);
	else
		snprintf(error, 320, "no memory");
	free(path);
	return root;
}

// Every page of a list goes to `add`. 0 or -EIO.
static int pages_get(struct rabbitmq_manage *manage, const char *before, const char *columns,
		     int (*add)(const json_t *page, void *list, uint32_t *ret_pages), void *list,
		     char error[320])
{
	uint64_t until_ns = clock_now_ns() + LIST_MOST_MS * MS_NS;
	uint32_t pages = 1;

	for (uint32_t page = 1; page <= pages; ++page) {
		char behind[256];
		json_t *root;
		int r;

		snprintf(behind, sizeof behind, "?page=%u&page_size=%u&columns=%s", page,
			 RABBITMQ_FACTS_PAGE, columns);
		root = vhost_get(manage, before, behind, error);
		if (!root)
			return -EIO;
		r = add(root, list, &pages);
		json_decref(root);
		if (r < 0 || clock_now_ns() > until_ns) {
			snprintf(error, 320, "management API %s: %s", before,
				 r < 0 ? strerror(-r) : "the list takes too long");
			return -EIO;
		}
	}
	return 0;
}

struct queue_pages {
	struct rabbitmq_queues *list;
	unsigned major;
};

static int add_queues(const json_t *page, void *list, uint32_t *ret_pages)
{
	struct queue_pages *pages = list;

	return rabbitmq_facts_queues(page, pages->major, pages->list, ret_pages);
}

static int add_exchanges(const json_t *page, void *list, uint32_t *ret_pages)
{
	return rabbitmq_facts_exchanges(page, list, ret_pages);
}

int rabbitmq_manage_queues(struct adapter *adapter, struct rabbitmq_queues *ret, char error[320])
{
	struct rabbitmq_summary summary;
	struct queue_pages pages = {.list = ret};
	int r;

	rabbitmq_manage_summary(adapter, &summary);
	pages.major = rabbitmq_facts_major(summary.version);
	r = pages_get(adapter->manage, "/api/queues/", QUEUE_COLUMNS, add_queues, &pages, error);
	if (r < 0)
		rabbitmq_facts_queues_free(ret);
	else
		rabbitmq_facts_sort(ret);
	return r;
}

int rabbitmq_manage_exchanges(struct adapter *adapter, struct rabbitmq_exchanges *ret,
			      char error[320])
{
	int r = pages_get(adapter->manage, "/api/exchanges/", "name,type,internal", add_exchanges,
			  ret, error);

	if (r < 0)
		rabbitmq_facts_exchanges_free(ret);
	return r;
}

int rabbitmq_manage_bindings(struct adapter *adapter, struct rabbitmq_bindings *ret,
			     char error[320])
{
	json_t *root = vhost_get(adapter->manage, "/api/bindings/", "", error);
	int r = root ? rabbitmq_facts_bindings(root, ret) : -EIO;

	if (root && r < 0)
		snprintf(error, 320, "management API /api/bindings/: %s", strerror(-r));
	json_decref(root);
	if (r < 0)
		rabbitmq_facts_bindings_free(ret);
	return r < 0 ? -EIO : 0;
}

int rabbitmq_manage_clients(struct adapter *adapter, struct rabbitmq_clients *ret, char error[320])
{
	char unnamed[320];
	json_t *root = vhost_get(adapter->manage, "/api/consumers/",
				 "?columns=queue.name,consumer_tag,channel_details.connection_name,"
				 "channel_details.user",
				 error);
	int r = root ? rabbitmq_facts_clients(root, ret) : -EIO;

	if (root && r < 0)
		snprintf(error, 320, "management API /api/consumers/: %s", strerror(-r));
	json_decref(root);
	if (r < 0) {
		rabbitmq_facts_clients_free(ret);
		return -EIO;
	}
	root = ret->count ? vhost_get(adapter->manage, "/api/vhosts/",
				      "/connections?columns=name,user_provided_name", unnamed)
			  : NULL;
	rabbitmq_facts_clients_named(root, ret);
	json_decref(root);
	return 0;
}

// ---- a round

static bool cluster_look(struct rabbitmq_manage *manage, struct rabbitmq_summary *summary)
{
	struct rabbitmq_nodes nodes = {0};
	long status;
	json_t *root =
		json_get(manage, "/api/overview?columns=rabbitmq_version", &status, summary->error);

	if (!root)
		return false;
	rabbitmq_facts_version(root, summary->version, sizeof summary->version);
	json_decref(root);
	root = json_get(manage, "/api/nodes?columns=name,running,mem_alarm,disk_free_alarm",
			&status, summary->error);
	if (!root)
		return false;
	if (!rabbitmq_facts_nodes(root, &nodes))
		snprintf(summary->error, sizeof summary->error,
			 "management API /api/nodes: it names no node");
	json_decref(root);
	summary->nodes = nodes.count;
	summary->running = nodes.running;
	memcpy(summary->alarm, nodes.alarm, sizeof summary->alarm);
	return nodes.count > 0;
}

static bool policies_look(struct rabbitmq_manage *manage, struct rabbitmq_summary *summary,
			  const char *before, const char *word)
{
	bool quorum = manage->adapter->options.queue == RABBITMQ_QUORUM;
	json_t *root = vhost_get(manage, before, "", summary->error);
	uint32_t dangers;
	char name[64];

	if (!root)
		return false;
	if (!*summary->danger &&
	    rabbitmq_danger_in_policies(root, quorum, rabbitmq_facts_major(summary->version), name,
					&dangers))
		snprintf(summary->danger, sizeof summary->danger,
			 "%s \"%s\" of vhost %.60s may apply to queues of ours, and its %s %s",
			 word, name, manage->adapter->options.vhost, rabbitmq_danger_key(dangers),
			 rabbitmq_danger_does(dangers));
	json_decref(root);
	return true;
}

// A policy that a queue of ours has.
static void danger_look(const struct rabbitmq_queues *queues, struct rabbitmq_summary *summary)
{
	for (size_t i = 0; i < queues->count; ++i) {
		const struct rabbitmq_queue_row *row = &queues->rows[i];

		if (strncmp(row->name, "mqp.", 4) != 0)
			continue;
		if (row->dangers) {
			snprintf(summary->danger, sizeof summary->danger,
				 "queue %.80s has the policy \"%s\", and its %s %s", row->name,
				 row->policy, rabbitmq_danger_key(row->dangers),
				 rabbitmq_danger_does(row->dangers));
			return;
		}
		if (row->limited && !*summary->danger)
			snprintf(summary->danger, sizeof summary->danger,
				 "queue %.80s was declared before the broker was upgraded, and has "
				 "its limit of deliveries; a policy with delivery-limit -1 ends it",
				 row->name);
	}
}

struct imported_look {
	const struct rabbitmq_queues *queues;
	const struct rabbitmq_queue_row *first; // by name, so that the text stays
	char *text;
	size_t size;
};

static void imported_look(void *ctx, const char *queue)
{
	struct imported_look *look = ctx;
	const struct rabbitmq_queue_row *row = rabbitmq_facts_find(look->queues, queue);

	if (row && (!look->first || strcmp(row->name, look->first->name) < 0) &&
	    rabbitmq_danger_of_imported(row, look->text, look->size))
		look->first = row;
}

static void queues_take(struct rabbitmq_manage *manage, struct rabbitmq_queues *queues, bool known)
{
	pthread_mutex_lock(&manage->lock);
	rabbitmq_facts_queues_free(&manage->queues);
	manage->queues = *queues;
	manage->queues_known = known;
	pthread_mutex_unlock(&manage->lock);
	*queues = (struct rabbitmq_queues){0};
}

static bool queues_look(struct rabbitmq_manage *manage, struct rabbitmq_summary *summary)
{
	struct rabbitmq_queues queues = {0};
	struct queue_pages pages = {.list = &queues,
				    .major = rabbitmq_facts_major(summary->version)};
	uint64_t began_ns = clock_now_ns();

	if (began_ns >= manage->list_due_ns) {
		bool known = pages_get(manage, "/api/queues/", QUEUE_COLUMNS, add_queues, &pages,
				       summary->error) == 0;

		if (!known)
			rabbitmq_facts_queues_free(&queues);
		rabbitmq_facts_sort(&queues);
		queues_take(manage, &queues, known);
		if (!known)
			return false;
		manage->list_due_ns = began_ns + LIST_SHARE * (clock_now_ns() - began_ns);
	}
	danger_look(&manage->queues, summary); // only this thread changes them
	manage->imported(manage->adapter, imported_look,
			 &(struct imported_look){.queues = &manage->queues,
						 .text = summary->imported,
						 .size = sizeof summary->imported});
	return true;
}

// ---- what is told

static void line_write(struct rabbitmq_manage *manage, const char *id, const char *before,
		       const char *now, const char *over)
{
	if (strcmp(before, now) == 0)
		return;
	if (*now)
		log_warn(manage->adapter->log, id, "%s", now);
	else
		log_info(manage->adapter->log, id, "%s", over);
}

static void summary_take(struct rabbitmq_manage *manage, const struct rabbitmq_summary *summary)
{
	struct rabbitmq_summary before;

	pthread_mutex_lock(&manage->lock);
	before = manage->summary;
	manage->summary = *summary;
	pthread_mutex_unlock(&manage->lock);
	if (__atomic_load_n(&manage->leaving, __ATOMIC_ACQUIRE))
		return;
	line_write(manage, "RABBITMQ-MANAGEMENT", before.ended ? before.error : "", summary->error,
		   "the management API answers again");
	if (summary->known) {
		line_write(manage, "RABBITMQ-POLICY", before.danger, summary->danger,
			   "no policy drops messages of ours any more");
		line_write(manage, "RABBITMQ-POLICY", before.imported, summary->imported,
			   "no imported queue drops messages any more");
		line_write(manage, "RABBITMQ-ALARM", before.alarm, summary->alarm,
			   "every node runs, and none is in alarm any more");
	}
}

static void round_run(struct rabbitmq_manage *manage)
{
	struct rabbitmq_summary summary = {.ended = true};

	if (__atomic_load_n(&manage->leaving, __ATOMIC_ACQUIRE))
		return;
	summary.known =
		cluster_look(manage, &summary) &&
		policies_look(manage, &summary, "/api/operator-policies/", "the operator policy") &&
		policies_look(manage, &summary, "/api/policies/", "the policy") &&
		queues_look(manage, &summary);
	if (!summary.known) {
		// What was found stays until it is asked for with an answer.
		memcpy(summary.danger, manage->summary.danger, sizeof summary.danger);
		memcpy(summary.imported, manage->summary.imported, sizeof summary.imported);
		memcpy(summary.alarm, manage->summary.alarm, sizeof summary.alarm);
		if (!*summary.version)
			memcpy(summary.version, manage->summary.version, sizeof summary.version);
	} else {
		*summary.error = '\0';
	}
	summary_take(manage, &summary);
	manage->changed(manage->adapter);
}

static void on_timer(struct loop_timer *timer)
{
	struct rabbitmq_manage *manage = CONTAINER_OF(timer, struct rabbitmq_manage, timer);

	round_run(manage);
	if (!__atomic_load_n(&manage->leaving, __ATOMIC_ACQUIRE))
		loop_timer_set(&manage->timer, clock_now_ns() + ROUND_MS * MS_NS);
}

// A cluster is opened on another loop, which must not set a timer of this one.
static void on_begin(struct loop_task *task)
{
	on_timer(&CONTAINER_OF(task, struct rabbitmq_manage, begin)->timer);
}

static void on_end(struct loop_task *task)
{
	loop_timer_cancel(&CONTAINER_OF(task, struct rabbitmq_manage, end)->timer);
}

static void on_refresh(struct loop_task *task)
{
	struct rabbitmq_manage_ask *ask = CONTAINER_OF(task, struct rabbitmq_manage_ask, task);

	round_run(ask->adapter->manage);
	ask->done(ask);
}

void rabbitmq_manage_refresh(struct rabbitmq_manage_ask *ask)
{
	ask->task.fn = on_refresh;
	loop_post(ask->adapter->manage->thread.loop, &ask->task);
}

static void on_post(struct loop_task *task)
{
	struct rabbitmq_manage_ask *ask = CONTAINER_OF(task, struct rabbitmq_manage_ask, task);

	ask->done(ask);
}

void rabbitmq_manage_post(struct rabbitmq_manage_ask *ask)
{
	ask->task.fn = on_post;
	loop_post(ask->adapter->manage->thread.loop, &ask->task);
}

// ---- what is known

void rabbitmq_manage_summary(struct adapter *adapter, struct rabbitmq_summary *ret)
{
	struct rabbitmq_manage *manage = adapter->manage;

	if (!manage) {
		*ret = (struct rabbitmq_summary){.ended = true,
						 .error = "options.management is not set"};
		return;
	}
	pthread_mutex_lock(&manage->lock);
	*ret = manage->summary;
	pthread_mutex_unlock(&manage->lock);
}

void rabbitmq_manage_with_queues(struct adapter *adapter,
				 void (*use)(const struct rabbitmq_queues *queues, void *ctx),
				 void *ctx)
{
	struct rabbitmq_manage *manage = adapter->manage;

	if (!manage) {
		use(NULL, ctx);
		return;
	}
	pthread_mutex_lock(&manage->lock);
	use(manage->queues_known ? &manage->queues : NULL, ctx);
	pthread_mutex_unlock(&manage->lock);
}

// ---- begin and end

int rabbitmq_manage_start(struct adapter *adapter, rabbitmq_imported_fn imported,
			  void (*changed)(struct adapter *adapter))
{
	struct rabbitmq_manage *manage;
	int r;

	if (!adapter->options.management)
		return 0;
	manage = calloc(1, sizeof *manage);
	if (!manage)
		return -ENOMEM;
	manage->adapter = adapter;
	manage->imported = imported;
	manage->changed = changed;
	snprintf(manage->summary.error, sizeof manage->summary.error, "it has not been asked yet");
	pthread_mutex_init(&manage->lock, NULL);
	adapter->manage = manage;
	r = rabbitmq_http_new(&adapter->options, &manage->leaving, &manage->http);
	if (r == 0)
		r = loop_new("rabbitmq-manage", &manage->thread.loop);
	if (r == 0) {
		loop_timer_init(&manage->timer, manage->thread.loop, on_timer);
		manage->begin.fn = on_begin;
		loop_post(manage->thread.loop, &manage->begin);
		r = loop_thread_start(&manage->thread, manage->thread.loop);
	}
	return r; // what is there is freed by rabbitmq_manage_stop()
}

void rabbitmq_manage_stop(struct adapter *adapter)
{
	struct rabbitmq_manage *manage = adapter->manage;

	if (!manage)
		return;
	__atomic_store_n(&manage->leaving, true, __ATOMIC_RELEASE);
	if (manage->thread.running) {
		manage->end.fn = on_end;
		loop_post(manage->thread.loop, &manage->end);
		loop_thread_drain(&manage->thread);
		loop_thread_stop(&manage->thread);
	}
	if (manage->thread.loop)
		loop_free(manage->thread.loop); // answers what waits
	rabbitmq_http_free(manage->http);
	rabbitmq_facts_queues_free(&manage->queues);
	pthread_mutex_destroy(&manage->lock);
	free(manage);
	adapter->manage = NULL;
}
