// Messages of retry topics as the streams bring them, and what is said instead of one: each goes to
// the job that is at work in its store.

#include "adapters/kafka/adapter.h"
#include "adapters/kafka/client/error.h"
#include "adapters/kafka/retry/retry.h"
#include "adapters/kafka/retry/retry_rows.h"
#include "adapters/kafka/retry/retry_thread.h"

static struct slice slice_of(const void *data, size_t size)
{
	return (struct slice){data, data ? size : 0};
}

// false: the job has ended badly.
static bool row_take(struct retry_store *store, struct retry_job *job,
		     const rd_kafka_message_t *message)
{
	uint32_t before = store->rows.index.count;
	int r = retry_rows_apply(&store->rows, (uint64_t)message->offset,
				 slice_of(message->key, message->key_len),
				 slice_of(message->payload, message->len));

	retry_store_changed(store, (int64_t)store->rows.index.count - before);
	if (r == RETRY_E_FOREIGN) {
		log_warn(store->stores->adapter->log, "KAFKA-RETRY-FOREIGN",
			 "%s: the message at %lld is not ours", store->name,
			 (long long)message->offset);
		r = 0;
	}
	if (r)
		retry_job_end(job, r < 0 ? CODE_OVERLOADED : CODE_BACKEND_ERROR,
			      r < 0 ? NULL : "its retry topic was written by a newer version");
	return r == 0;
}

// Destroys the message, or keeps it.
static void message_take(struct retry_store *store, rd_kafka_message_t *message)
{
	struct retry_job *job = retry_job_first(store);
	uint64_t offset = (uint64_t)message->offset;

	if (offset < store->position) { // it was on its way when the stream was woken up
		rd_kafka_message_destroy(message);
		return;
	}
	store->position = offset + 1;
	if (job)
		retry_job_extend(job);
	if (job && job->phase == JOB_CATCHING_UP) {
		if (offset >= store->next && row_take(store, job, message))
			store->next = offset + 1;
		store->ahead_from = store->position;
	} else if (job && job->phase == JOB_READING) {
		store->ahead_from = store->position;
		if (!retry_job_take_value(job, message))
			retry_stream_go(store);
	} else if (retry_ahead_push(store, message)) {
		return;
	} else {
		retry_stream_stop(store);
	}
	rd_kafka_message_destroy(message);
}

static void end_reached(struct retry_store *store, uint64_t end)
{
	struct retry_job *job = retry_job_first(store);

	store->position = MAX(store->position, end);
	if (!job || end < store->written) // our own writes are not in sight yet
		return;
	if (job->phase == JOB_CATCHING_UP) {
		store->next = MAX(store->next, end);
		store->loaded = true;
		retry_job_plan(job);
	} else if (job->phase == JOB_READING) {
		job->missing += job->want_count - job->want_at;
		job->want_at = job->want_count;
		retry_job_read(job);
	}
}

// Somebody deleted the topic, or made it anew: what was in it is gone.
static void topic_lost(struct retry_store *store, const char *text)
{
	struct retry_job *job = retry_job_first(store);

	log_error(store->stores->adapter->log, "KAFKA-RETRY-LOST",
		  "%s: %s; what waited there is lost unless the topic comes back", store->name,
		  text);
	retry_store_forget_topic(store);
	if (job && job->again)
		retry_job_end(job, CODE_BACKEND_DOWN, text);
	else if (job)
		retry_job_again(job);
}

static void message_error(struct retry_store *store, const rd_kafka_message_t *message)
{
	struct retry_job *job = retry_job_first(store);

	switch ((int)message->err) {
	case RD_KAFKA_RESP_ERR__PARTITION_EOF:
		end_reached(store, (uint64_t)message->offset);
		return;
	case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
	case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
	case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
	case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
	case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
		topic_lost(store, rd_kafka_err2str(message->err));
		return;
	default:
		if (kafka_error_is_transient(message->err))
			return; // the client goes on by itself; the deadline ends it
		retry_stream_stop(store);
		if (job)
			retry_job_end(job, kafka_error_code(message->err),
				      rd_kafka_err2str(message->err));
	}
}

void retry_message_serve(struct retry_stores *stores, rd_kafka_message_t *message)
{
	LIST_FOREACH(node, next, &stores->reading)
	{
		struct retry_store *store = LIST_ENTRY(node, struct retry_store, line);

		if (store->reading != message->rkt)
			continue;
		if (!message->err) {
			message_take(store, message);
			return;
		}
		message_error(store, message);
		break;
	}
	rd_kafka_message_destroy(message);
}
