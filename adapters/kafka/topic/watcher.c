// Looks at the cluster once a second on behalf of the topics that are open: were they deleted or
// grown by other clients, is it another generation under the same name, their settings, first and
// end of their partitions.
//
// A topic of ours that another client has made anew has the settings of the brokers or of that
// client. With those Kafka would delete acknowledged messages after a week, or at once when a
// message names an old creation time. So the topic gets our settings before it is marked and
// served.
//
// It is a ticker because its calls wait for brokers: at most one of them is under way, however many
// topics there are, so a broker that does not answer delays what is known of topics and nothing
// else. A poke of the adapter's ticker makes it look at once; callers that poke need to know
// nothing of the watcher.
//
// Invariant: every topic of a look has a reference until the look is over. What it does not do:
// answer callers; it changes what is known of topics and calls hooks.

#include "adapters/kafka/topic/watcher.h"

#include "adapters/kafka/client/admin_handle.h"
#include "adapters/kafka/client/cluster_info.h"
#include "adapters/kafka/client/error.h"
#include "adapters/kafka/topic/metadata_wait.h"
#include "adapters/kafka/topic/observed_settings.h"
#include "adapters/kafka/topic/topic_generation.h"
#include "adapters/kafka/topic/topic_mark.h"
#include "adapters/kafka/topic/topic_settings.h"
#include "adapters/kafka/topic/watermarks.h"
#include "core/base/clock.h"
#include "core/loop/ticker.h"

#include <errno.h>

#define LOOK_MS          1000
#define LOOK_SOON_MS     20 // after a poke: what is opened together is looked at together
#define CALL_MS          2000
#define INFO_MS          60000 // between two looks at the cluster as a whole
#define MARK_MS          5000
#define MARK_KEEP_MS     (3600u * 1000) // as groups (offset_keepalive.c)
#define UNANSWERED_MS    10000 // a topic whose bounds do not come is left alone for that long
#define SETTINGS_MS      5000u // of native topics: others may change them
#define SETTINGS_OWN_MS  60000u
#define SETTINGS_SOON_MS 500u // between two looks at one topic
#define SINGLE_MS        500

struct kafka_watcher {
	struct adapter *adapter;
	uint64_t info_due_ns;
	// Of one look.
	struct adapter_topic **topics;
	size_t count, room;
	bool unsettled; // the cluster has not taken settings: the next look tries again
};

// ---- the topics of one look

static bool is_gone(struct adapter_topic *topic)
{
	return __atomic_load_n(&topic->gone, __ATOMIC_ACQUIRE);
}

static bool topics_take(struct kafka_watcher *watcher)
{
	struct adapter *adapter = watcher->adapter;
	size_t wanted = 0;

	watcher->count = 0;
	watcher->unsettled = false;
	pthread_mutex_lock(&adapter->topics_lock);
	LIST_FOREACH(counted, after, &adapter->topics)++ wanted;
	if (wanted > watcher->room) {
		free(watcher->topics);
		watcher->room = 2 * wanted;
		watcher->topics = calloc(watcher->room, sizeof *watcher->topics);
		if (!watcher->topics)
			watcher->room = 0;
	}
	LIST_FOREACH(node, next, &adapter->topics)
	{
		struct adapter_topic *topic = LIST_ENTRY(node, struct adapter_topic, in_adapter);

		if (watcher->count == watcher->room || !topic->refs ||
		    (is_gone(topic) && (!topic->lost || topic->back)))
			continue;
		++topic->refs;
		watcher->topics[watcher->count++] = topic;
	}
	pthread_mutex_unlock(&adapter->topics_lock);
	return watcher->count > 0;
}

static void topics_return(struct kafka_watcher *watcher)
{
	for (size_t i = 0; i < watcher->count; ++i)
		kafka_topic_close(watcher->topics[i]);
}

static void topic_ended(struct adapter_topic *topic, const char *how)
{
	log_warn(topic->adapter->log, "KAFKA-TOPIC-GONE", "topic %s was %s on the cluster",
		 topic->model->physical, how);
	topic_generation_lost(topic);
}

// ---- settings of what other clients have made

// false: the next look goes on. Settings that were written just now are found there by the next
// look: brokers follow them after they are acknowledged, and what came before would be kept by the
// old ones. What the cluster refuses is told, and not waited for.
static bool settings_give(struct kafka_watcher *watcher, struct adapter_topic *topic)
{
	rd_kafka_resp_err_t error;
	char text[256];
	bool changed;

	if (topic->settled || topic->model->imported)
		return true;
	if (watcher->unsettled)
		return false;
	error = topic_settings_write(watcher->adapter, topic->model, &changed, text, sizeof text);
	// A broker may hear of the topic later than the one that told us.
	watcher->unsettled =
		kafka_error_is_transient(error) || error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
	if (watcher->unsettled || changed)
		return false;
	if (error)
		log_error(watcher->adapter->log, "KAFKA-TOPIC-SETTINGS",
			  "topic %s was made anew and does not get its settings, so that it may "
			  "forget messages too early: %s; a change of the topic tries again",
			  topic->model->physical, text);
	topic->settled = true;
	return true;
}

// ---- metadata

static int rows_compare(const void *left, const void *right)
{
	const struct rd_kafka_metadata_topic *const *a = left, *const *b = right;

	return strcmp((*a)->topic, (*b)->topic);
}

static int row_compare(const void *name, const void *row)
{
	return strcmp(name, (*(const struct rd_kafka_metadata_topic *const *)row)->topic);
}

static void partitions_look(struct adapter_topic *topic, const struct rd_kafka_metadata_topic *row)
{
	uint32_t replicas = UINT32_MAX;

	for (int i = 0; i < row->partition_cnt; ++i)
		replicas = MIN(replicas, (uint32_t)row->partitions[i].replica_cnt);
	topic->replicas = row->partition_cnt ? replicas : 0;
	for (int i = 0; i < row->partition_cnt; ++i) {
		struct kafka_partition *partition =
			kafka_topic_partition(topic, (uint32_t)row->partitions[i].id);

		if (partition)
			__atomic_store_n(&partition->leaderless, row->partitions[i].leader < 0,
					 __ATOMIC_RELEASE);
	}
}

static void topic_back(struct adapter_topic *topic)
{
	log_info(topic->adapter->log, "KAFKA-TOPIC-BACK",
		 "topic %s is on the cluster again: its groups begin at its beginning",
		 topic->model->physical);
	topic_generation_found(topic);
}

// Deleted, or made anew with fewer partitions than the one that is meant.
static void row_look(struct kafka_watcher *watcher, struct adapter_topic *topic,
		     const struct rd_kafka_metadata_topic *row, uint64_t now_ns)
{
	bool there = !row->err || row->err == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
	uint32_t count = there ? (uint32_t)row->partition_cnt : 0;

	if (!there && row->err != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
		return;
	if (is_gone(topic)) {
		if (count >= topic->model->partitions && !topic->foreign &&
		    settings_give(watcher, topic))
			topic_back(topic);
		return;
	}
	if (there && count >= topic->model->partitions) {
		topic->missing_ns = 0;
		if (count > __atomic_load_n(&topic->partition_count, __ATOMIC_ACQUIRE)) {
			kafka_topic_grow(topic, count);
			topic->adapter->hooks->topic_grown(topic, count);
		}
		partitions_look(topic, row);
	} else if (!topic->missing_ns) {
		topic->missing_ns = now_ns;
	} else if (now_ns - topic->missing_ns >= METADATA_WAIT_MISSING_MS * MS_NS) {
		topic_ended(topic, there ? "made anew, with fewer partitions," : "deleted");
	}
}

static bool metadata_look(struct kafka_watcher *watcher)
{
	_cleanup_(admin_handle_leave) struct admin_handle_entered entered =
		admin_handle_enter(watcher->adapter);
	const struct rd_kafka_metadata *metadata;
	const struct rd_kafka_metadata_topic **rows;
	uint64_t now_ns = clock_now_ns();

	if (rd_kafka_metadata(entered.handle, 0, NULL, &metadata, CALL_MS))
		return false;
	rows = calloc((size_t)metadata->topic_cnt + 1, sizeof *rows);
	for (int i = 0; rows && i < metadata->topic_cnt; ++i)
		rows[i] = &metadata->topics[i];
	if (rows)
		qsort(rows, (size_t)metadata->topic_cnt, sizeof *rows, rows_compare);
	for (size_t i = 0; rows && i < watcher->count; ++i) {
		const struct rd_kafka_metadata_topic **row =
			bsearch(watcher->topics[i]->model->physical, rows,
				(size_t)metadata->topic_cnt, sizeof *rows, row_compare);

		if (row)
			row_look(watcher, watcher->topics[i], *row, now_ns);
	}
	free(rows);
	rd_kafka_metadata_destroy(metadata);
	return true;
}

// ---- marks

// What is known of it from now on is so.
static void mark_take(struct adapter_topic *topic)
{
	topic->marked = true;
	__atomic_store_n(&topic->generation_known, true, __ATOMIC_RELEASE);
}

// The next look tries again. What the cluster will not tell then either is not waited for.
static void mark_failed(struct adapter_topic *topic, rd_kafka_resp_err_t error)
{
	topic->mark_due_ns = 0;
	if (!kafka_error_is_transient(error))
		__atomic_store_n(&topic->generation_known, true, __ATOMIC_RELEASE);
}

static bool holes_unmarked(const struct adapter_topic *topic)
{
	return kafka_topic_has_holes(topic) && !topic->holes_marked;
}

// true: to be written (again). One without a mark is not the topic that was marked when it was
// made, nor is one that is lost and whose mark the cluster has not forgotten yet.
static bool mark_look(struct adapter_topic *topic, const struct topic_mark *mark, uint64_t now_ns)
{
	bool ours = mark->incarnation == topic->model->incarnation;

	topic_generation_epoch_seen(topic->adapter, MAX(mark->generation, topic->generation_least));
	topic->foreign = mark->incarnation && !ours;
	if (topic->foreign || (topic->marked && (!ours || mark->generation > topic->generation))) {
		topic_ended(topic, "made anew");
		return false;
	}
	if (ours && mark->generation >= topic->generation_least && mark->holes)
		topic->holes_marked = true;
	if (topic->holes_marked)
		__atomic_store_n(&topic->holes, true, __ATOMIC_RELEASE);
	if (topic->marked)
		return mark->generation != topic->generation || now_ns >= topic->mark_keep_ns ||
		       holes_unmarked(topic);
	if (ours && mark->generation >= topic->generation_least) {
		__atomic_store_n(&topic->generation, mark->generation, __ATOMIC_RELEASE);
		mark_take(topic);
	} else if (!topic->generation) {
		__atomic_store_n(&topic->generation, topic_generation_epoch_new(topic->adapter),
				 __ATOMIC_RELEASE);
	}
	return true;
}

static void marks_keep(struct kafka_watcher *watcher, struct adapter_topic **topics,
		       struct topic_mark *marks, size_t count, uint64_t now_ns)
{
	topic_mark_write(watcher->adapter, marks, count);
	for (size_t i = 0; i < count; ++i) {
		if (marks[i].error) {
			mark_failed(topics[i], marks[i].error);
			continue;
		}
		mark_take(topics[i]);
		topics[i]->holes_marked = marks[i].holes;
		topics[i]->mark_keep_ns = now_ns + MARK_KEEP_MS * MS_NS;
	}
}

static void marks_look(struct kafka_watcher *watcher)
{
	struct topic_mark *marks = calloc(watcher->count, sizeof *marks);
	struct adapter_topic **due = calloc(watcher->count, sizeof *due);
	uint64_t now_ns = clock_now_ns();
	size_t count = 0, keep = 0;

	for (size_t i = 0; marks && due && i < watcher->count; ++i) {
		struct adapter_topic *topic = watcher->topics[i];

		if (topic->missing_ns || is_gone(topic) ||
		    (now_ns < topic->mark_due_ns && !holes_unmarked(topic)))
			continue;
		due[count] = topic;
		marks[count++].physical = topic->model->physical;
		topic->mark_due_ns = now_ns + MARK_MS * MS_NS;
	}
	if (count)
		topic_mark_read(watcher->adapter, marks, count);
	for (size_t i = 0; i < count; ++i) {
		if (marks[i].error)
			mark_failed(due[i], marks[i].error);
		if (marks[i].error || !mark_look(due[i], &marks[i], now_ns))
			continue;
		if (!due[i]->marked && !settings_give(watcher, due[i])) {
			due[i]->mark_due_ns = 0;
			continue;
		}
		due[keep] = due[i];
		marks[keep++] = (struct topic_mark){.physical = due[i]->model->physical,
						    .incarnation = due[i]->model->incarnation,
						    .generation = due[i]->generation,
						    .holes = kafka_topic_has_holes(due[i])};
	}
	if (keep)
		marks_keep(watcher, due, marks, keep, now_ns);
	free(marks);
	free(due);
}

// ---- settings

static void take_settings(const struct observed_settings *settings, struct adapter_topic **topics)
{
	for (size_t i = 0; i < settings->count; ++i) {
		struct adapter_topic *topic = topics[i];

		if (!settings->min_insync[i])
			continue; // what was known holds
		__atomic_store_n(&topic->durability,
				 (uint8_t)cluster_info_copies_durability(topic->replicas,
									 settings->min_insync[i]),
				 __ATOMIC_RELEASE);
		kafka_limits_store(&topic->limits, &settings->limits[i]);
	}
}

static bool settings_are_due(struct adapter_topic *topic, uint64_t now_ns)
{
	if (topic->missing_ns || is_gone(topic) || !topic->replicas)
		return false;
	if (now_ns < topic->settings_read_ns + SETTINGS_SOON_MS * MS_NS)
		return false;
	return now_ns >= topic->settings_due_ns ||
	       __atomic_load_n(&topic->settings_soon, __ATOMIC_ACQUIRE);
}

// What each topic takes, and how many brokers must have a message before it is acknowledged. Those
// of others may change at any time.
static void read_settings(struct kafka_watcher *watcher)
{
	struct adapter_topic *topics[OBSERVED_SETTINGS_AT_ONCE];
	struct observed_settings *settings = calloc(1, sizeof *settings);
	uint64_t now_ns = clock_now_ns();

	for (size_t i = 0;
	     settings && i < watcher->count && settings->count < OBSERVED_SETTINGS_AT_ONCE; ++i) {
		struct adapter_topic *topic = watcher->topics[i];

		if (!settings_are_due(topic, now_ns))
			continue;
		topic->settings_due_ns =
			now_ns + (topic->model->native ? SETTINGS_MS : SETTINGS_OWN_MS) * MS_NS;
		topic->settings_read_ns = now_ns;
		__atomic_store_n(&topic->settings_soon, false, __ATOMIC_RELEASE);
		topics[settings->count] = topic;
		settings->names[settings->count++] = topic->model->physical;
	}
	if (settings && settings->count) {
		observed_settings_read(watcher->adapter, settings);
		take_settings(settings, topics);
	}
	free(settings);
}

// Each topic to the producers of its size class.
static void classes_look(struct kafka_watcher *watcher)
{
	for (size_t i = 0; i < watcher->count; ++i) {
		struct adapter_topic *topic = watcher->topics[i];

		watcher->adapter->hooks->topic_batch_limit(
			topic, kafka_limits_batch_bytes(&topic->limits));
	}
}

// ---- bounds

static size_t bounds_due(struct kafka_watcher *watcher, struct adapter_topic **due)
{
	uint64_t now_ns = clock_now_ns();
	size_t count = 0;

	for (size_t i = 0; i < watcher->count; ++i) {
		struct adapter_topic *topic = watcher->topics[i];

		if (!topic->missing_ns && now_ns >= topic->unanswered_ns && !is_gone(topic) &&
		    kafka_topic_watched(topic))
			due[count++] = topic;
	}
	return count;
}

// One broker that does not answer fails the question for all: find whose it is and leave those
// alone for a while.
static void bounds_single_out(struct kafka_watcher *watcher, struct adapter_topic **due,
			      size_t count)
{
	uint64_t began_ns = clock_now_ns();

	for (size_t i = 0; i < count && clock_now_ns() - began_ns < CALL_MS * MS_NS; ++i)
		if (watermarks_refresh_all(watcher->adapter, &due[i], 1, SINGLE_MS) ==
		    RD_KAFKA_RESP_ERR__TIMED_OUT)
			due[i]->unanswered_ns = clock_now_ns() + UNANSWERED_MS * MS_NS;
}

static void bounds_look(struct kafka_watcher *watcher)
{
	struct adapter_topic **due = calloc(watcher->count, sizeof *due);
	size_t count = due ? bounds_due(watcher, due) : 0;

	if (count && watermarks_refresh_all(watcher->adapter, due, count, CALL_MS) ==
			     RD_KAFKA_RESP_ERR__TIMED_OUT)
		bounds_single_out(watcher, due, count);
	free(due);
}

// ---- the rounds

static void info_look(struct kafka_watcher *watcher)
{
	if (clock_now_ns() < watcher->info_due_ns ||
	    cluster_info_refresh(watcher->adapter, CALL_MS))
		return; // the next look tries again
	watcher->info_due_ns = clock_now_ns() + INFO_MS * MS_NS;
}

static void topics_look(struct kafka_watcher *watcher)
{
	if (!topics_take(watcher))
		return;
	if (metadata_look(watcher)) {
		marks_look(watcher); // loads wait for it
		bounds_look(watcher);
		read_settings(watcher);
	}
	classes_look(watcher);
	topics_return(watcher);
}

static uint64_t look_once(void *ctx)
{
	struct kafka_watcher *watcher = ctx;

	admin_handle_renew(watcher->adapter, clock_now_ns());
	info_look(watcher);
	topics_look(watcher);
	return LOOK_MS * MS_NS;
}

int kafka_watcher_start(struct adapter *adapter)
{
	struct kafka_watcher *watcher = calloc(1, sizeof *watcher);
	int r;

	if (!watcher)
		return -ENOMEM;
	watcher->adapter = adapter;
	r = ticker_new("kafka-watch", 0, look_once, watcher, &adapter->watch_ticker);
	if (r < 0) {
		free(watcher);
		return r;
	}
	ticker_set_gather(adapter->watch_ticker, LOOK_SOON_MS * MS_NS);
	adapter->watcher = watcher;
	return 0;
}

void kafka_watcher_stop(struct kafka_watcher *watcher)
{
	if (!watcher)
		return;
	ticker_stop(watcher->adapter->watch_ticker);
	free(watcher->topics);
	free(watcher);
}
