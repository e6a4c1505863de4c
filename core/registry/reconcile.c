// Asks backends to do what the registry wants, until they have: makes topics and groups, and
// deletes them.
//
// One query is under way for an object at a time; its answer decides when the next one is sent. A
// refusal that waiting will not change makes a creation fail. A deletion is tried for ever, unless
// its cluster is being deleted too. Then it is given up when the waits have reached their longest,
// because the backend may never answer again: after a minute of waiting, beside at most eleven
// queries without an answer.
//
// Answers may come on any thread, even after the reconciler is freed: the queue that they are put
// into is reference-counted by the queries that may still be answered.

#include "core/registry/reconcile.h"

#include "core/base/log.h"
#include "core/base/util.h"
#include "core/catalog/index.h"
#include "core/catalog/query.h"
#include "core/registry/follow.h"
#include "core/registry/lifecycle.h"
#include "core/registry/registry.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>

#define ASKED_MAX   256  // queries under way
#define SEEN_MAX    4096 // objects looked at in one round
#define DEADLINE_NS (30 * S_NS)
#define WAIT_MIN_NS (50 * MS_NS)
#define WAIT_MAX_NS (30 * S_NS)
#define LOOK_NS     (1 * S_NS) // how often the registry is looked at unasked
#define FOLLOW_NS   (5 * S_NS) // between two rounds through the imported topics

// What is known of one object that has been asked about; forgotten when it is settled.
struct attempt {
	struct registry_lifecycle_pending pending;
	bool asked; // the answer is not here yet
	uint64_t wait_ns, due_ns;
	bool seen; // in the round under way
};

struct mail {
	struct mail *next;
	struct registry_lifecycle_pending pending;
	uint64_t followed; // an imported topic that was asked for its settings, in place of
			   // `pending`
	json_t *settings;
	enum code code;
	char *text;
};

struct queue {
	pthread_mutex_t lock;
	unsigned refs;
	bool closed;
	struct mail *mails;
	void (*wake)(void *ctx);
	void *wake_ctx;
};

struct live_query {
	struct queue *queue;
	struct mail *mail; // made beforehand, so that an answer always fits
};

struct reconcile {
	struct reconcile_config config;
	struct queue *queue;
	struct index attempts;
	unsigned asked;
	struct registry_lifecycle_pending seen[SEEN_MAX];
	// Imported topics are asked for their settings one after the other.
	bool following; // one is
	uint64_t follow_after, follow_due_ns;
};

// ---- the queue

static void mail_free(struct mail *mail)
{
	json_decref(mail->settings);
	free(mail->text);
	free(mail);
}

static void queue_unref(struct queue *queue)
{
	bool last;

	pthread_mutex_lock(&queue->lock);
	last = --queue->refs == 0;
	pthread_mutex_unlock(&queue->lock);
	if (!last)
		return;
	for (struct mail *mail = queue->mails, *next; mail; mail = next) {
		next = mail->next;
		mail_free(mail);
	}
	pthread_mutex_destroy(&queue->lock);
	free(queue);
}

static void post_answer(void *ctx, enum code code, json_t *answer, const char *text)
{
	struct live_query *query = ctx;
	struct queue *queue = query->queue;
	struct mail *mail = query->mail;

	mail->pending.found = (uint32_t)json_array_size(json_object_get(answer, "partitions"));
	mail->settings = answer;
	mail->code = code;
	mail->text = strdup(text ? text : code_sentence(code));
	pthread_mutex_lock(&queue->lock);
	mail->next = queue->mails;
	queue->mails = mail;
	// Under the lock, so that an owner that has closed the queue is not woken.
	if (!queue->closed)
		queue->wake(queue->wake_ctx);
	pthread_mutex_unlock(&queue->lock);
	queue_unref(queue);
	free(query);
}

static struct mail *queue_take(struct queue *queue)
{
	struct mail *mails;

	pthread_mutex_lock(&queue->lock);
	mails = queue->mails;
	queue->mails = NULL;
	pthread_mutex_unlock(&queue->lock);
	return mails;
}

// ---- attempts

static struct index_key pending_key(const struct registry_lifecycle_pending *pending)
{
	return (struct index_key){.id = pending->id << 1 | pending->deleting};
}

static struct index_key attempt_key(const void *attempt)
{
	return pending_key(&((const struct attempt *)attempt)->pending);
}

static struct attempt *attempt_find(struct reconcile *reconcile,
				    const struct registry_lifecycle_pending *pending)
{
	return (struct attempt *)(uintptr_t)index_find(&reconcile->attempts, pending_key(pending));
}

static struct attempt *attempt_get(struct reconcile *reconcile,
				   const struct registry_lifecycle_pending *pending)
{
	struct attempt *attempt = attempt_find(reconcile, pending);

	if (attempt)
		return attempt;
	attempt = calloc(1, sizeof *attempt);
	if (!attempt || index_reserve(&reconcile->attempts, 1) < 0) {
		free(attempt);
		return NULL;
	}
	attempt->pending = *pending;
	attempt->wait_ns = WAIT_MIN_NS;
	index_put(&reconcile->attempts, attempt);
	return attempt;
}

// Those that the registry no longer waits for.
static void attempts_forget(struct reconcile *reconcile)
{
	struct index *index = &reconcile->attempts;

	for (size_t i = 0; i < index->capacity; ++i) {
		struct attempt *attempt = (struct attempt *)(uintptr_t)index->slots[i];

		if (!attempt || attempt->asked)
			continue;
		if (attempt->seen) {
			attempt->seen = false;
		} else {
			index_drop(index, attempt); // may move another into this slot
			free(attempt);
			--i;
		}
	}
}

static bool will_not_change(enum code code)
{
	switch (code) {
	case CODE_BAD_REQUEST:
	case CODE_CONFLICT:
	case CODE_TOO_LARGE:
	case CODE_LIMIT_EXCEEDED:
	case CODE_UNSUPPORTED_BY_BACKEND: return true;
	default: return false;
	}
}

static void take_answer(struct reconcile *reconcile, const struct mail *mail, uint64_t now_ns)
{
	struct attempt *attempt = attempt_find(reconcile, &mail->pending);
	bool failed = mail->pending.deleting ? attempt && attempt->wait_ns == WAIT_MAX_NS
					     : will_not_change(mail->code);
	int r = registry_lifecycle_settle(reconcile->config.registry, &mail->pending, mail->code,
					  mail->text, failed);

	if (r < 0)
		log_error(NULL, "RECONCILE-SETTLE", "an answer cannot be stored: %s", strerror(-r));
	if (!attempt)
		return;
	attempt->asked = false;
	--reconcile->asked;
	attempt->due_ns = now_ns + attempt->wait_ns;
	attempt->wait_ns = MIN(attempt->wait_ns * 2, (uint64_t)WAIT_MAX_NS);
}

static enum query_kind query_for(const struct registry_lifecycle_pending *pending)
{
	if (pending->verify)
		return pending->kind == REGISTRY_TOPIC ? QUERY_TOPIC_DESCRIBE : QUERY_BACKLOG;
	if (pending->kind == REGISTRY_TOPIC)
		return pending->deleting                          ? QUERY_TOPIC_DELETE
		       : pending->partitions || pending->revision ? QUERY_TOPIC_CHANGE
								  : QUERY_TOPIC_CREATE;
	return pending->deleting ? QUERY_GROUP_DELETE : QUERY_GROUP_CREATE;
}

static struct live_query *live_query_new(struct reconcile *reconcile)
{
	struct live_query *query = calloc(1, sizeof *query);

	if (query)
		query->mail = calloc(1, sizeof *query->mail);
	if (!query || !query->mail) {
		free(query);
		return NULL;
	}
	query->queue = reconcile->queue;
	return query;
}

static void live_query_put(struct reconcile *reconcile, struct live_query *query,
			   enum query_kind kind, json_t *parameters, uint64_t now_ns)
{
	struct query_channel *channel = reconcile->config.queries;

	pthread_mutex_lock(&reconcile->queue->lock);
	++reconcile->queue->refs;
	pthread_mutex_unlock(&reconcile->queue->lock);
	channel->query(channel, kind, parameters, now_ns + DEADLINE_NS, post_answer, query);
}

static void send_query(struct reconcile *reconcile, struct attempt *attempt, uint64_t now_ns)
{
	const struct registry_lifecycle_pending *pending = &attempt->pending;
	struct live_query *query = live_query_new(reconcile);
	json_t *parameters = json_pack("{s:I}", pending->kind == REGISTRY_TOPIC ? "topic" : "group",
				       (json_int_t)pending->id);

	if (pending->partitions)
		json_object_set_new(parameters, "partitions", json_integer(pending->partitions));
	if (pending->revision)
		json_object_set_new(parameters, "revision",
				    json_integer((json_int_t)pending->revision));
	if (!query || !parameters) {
		if (query)
			mail_free(query->mail);
		free(query);
		json_decref(parameters);
		attempt->due_ns = now_ns + attempt->wait_ns;
		return;
	}
	query->mail->pending = *pending;
	attempt->asked = true;
	++reconcile->asked;
	live_query_put(reconcile, query, query_for(pending), parameters, now_ns);
}

// ---- settings of imported topics

static void follow_answer(struct reconcile *reconcile, const struct mail *mail)
{
	int r = mail->code == CODE_OK ? registry_follow(reconcile->config.registry, mail->followed,
							mail->settings)
				      : 0;

	if (r < 0)
		log_error(NULL, "RECONCILE-FOLLOW",
			  "an imported topic's settings cannot be stored: %s", strerror(-r));
	reconcile->following = false;
}

// The next topic; behind the last one, a pause.
static void follow_ask(struct reconcile *reconcile, uint64_t now_ns)
{
	struct live_query *query;
	uint64_t topic;

	if (reconcile->following || now_ns < reconcile->follow_due_ns)
		return;
	if (registry_follow_next(reconcile->config.registry, reconcile->follow_after, &topic) !=
	    1) {
		reconcile->follow_after = 0;
		reconcile->follow_due_ns = now_ns + FOLLOW_NS;
		return;
	}
	reconcile->follow_after = topic;
	query = live_query_new(reconcile);
	if (!query)
		return;
	query->mail->followed = topic;
	reconcile->following = true;
	live_query_put(reconcile, query, QUERY_TOPIC_SETTINGS,
		       json_pack("{s:I}", "topic", (json_int_t)topic), now_ns);
}

// ---- a round

static void take_answers(struct reconcile *reconcile, uint64_t now_ns)
{
	for (struct mail *mail = queue_take(reconcile->queue), *next; mail; mail = next) {
		next = mail->next;
		if (mail->followed)
			follow_answer(reconcile, mail);
		else
			take_answer(reconcile, mail, now_ns);
		mail_free(mail);
	}
}

// Is the object's other query still under way? A deletion waits for the creation before it.
static bool is_busy(struct reconcile *reconcile, const struct registry_lifecycle_pending *pending)
{
	struct registry_lifecycle_pending other = *pending;
	const struct attempt *attempt;

	other.deleting = !pending->deleting;
	attempt = attempt_find(reconcile, &other);
	return attempt && attempt->asked;
}

static uint64_t send_due(struct reconcile *reconcile, uint64_t now_ns)
{
	struct registry_lifecycle_pending *pending = reconcile->seen;
	uint64_t next_ns = now_ns + LOOK_NS;
	size_t count = 0;
	int r = registry_lifecycle_pending(reconcile->config.registry, pending, SEEN_MAX, &count);

	if (r < 0)
		return now_ns + LOOK_NS;
	for (size_t i = 0; i < count; ++i) {
		struct attempt *attempt = attempt_get(reconcile, &pending[i]);

		if (!attempt)
			continue;
		attempt->seen = true;
		if (attempt->asked || is_busy(reconcile, &pending[i]))
			continue;
		attempt->pending = pending[i];
		if (attempt->due_ns <= now_ns && reconcile->asked < ASKED_MAX)
			send_query(reconcile, attempt, now_ns);
		else if (attempt->due_ns > now_ns)
			next_ns = MIN(next_ns, attempt->due_ns);
	}
	attempts_forget(reconcile);
	return next_ns;
}

int reconcile_new(const struct reconcile_config *config, struct reconcile **ret)
{
	struct reconcile *reconcile = calloc(1, sizeof *reconcile);
	struct queue *queue = calloc(1, sizeof *queue);

	if (!reconcile || !queue) {
		free(reconcile);
		free(queue);
		return -ENOMEM;
	}
	pthread_mutex_init(&queue->lock, NULL);
	queue->refs = 1;
	queue->wake = config->wake;
	queue->wake_ctx = config->wake_ctx;
	reconcile->config = *config;
	reconcile->queue = queue;
	index_init(&reconcile->attempts, attempt_key, 0);
	*ret = reconcile;
	return 0;
}

void reconcile_free(struct reconcile *reconcile)
{
	if (!reconcile)
		return;
	pthread_mutex_lock(&reconcile->queue->lock);
	reconcile->queue->closed = true;
	pthread_mutex_unlock(&reconcile->queue->lock);
	queue_unref(reconcile->queue);
	for (size_t i = 0; i < reconcile->attempts.capacity; ++i)
		free((void *)(uintptr_t)reconcile->attempts.slots[i]);
	index_deinit(&reconcile->attempts);
	free(reconcile);
}

uint64_t reconcile_run(struct reconcile *reconcile, uint64_t now_ns)
{
	take_answers(reconcile, now_ns);
	follow_ask(reconcile, now_ns);
	registry_publish(reconcile->config.registry);
	return send_due(reconcile, now_ns);
}
