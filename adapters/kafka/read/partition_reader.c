// The fetches that wait for positions of one partition, and the stream that brings each.
//
// A fetch is answered from a ring at once, or waits until a stream has read that far. When the
// stream fails or the fetch has waited too long, the answer is that nothing is known yet, or that
// the cluster does not answer.
//
// Invariants: a request is in the list until it is answered, once; `waiting` of each stream is
// counted anew at every look. What it does not do: start or stop streams (fetcher.c), or lock.

#include "adapters/kafka/read/partition_reader.h"

#include "adapters/kafka/topic/topic.h"
#include "core/base/clock.h"

// Then a fetch is answered, whatever is known: that nothing can be said yet of a position at which
// the log ended when it was last heard of, or while a quota lets us wait, or that the cluster does
// not answer.
#define PATIENCE_END_NS S_NS
#define PATIENCE_NS     (4 * S_NS)
#define NEAR_BYTES      (8ull << 20)
#define NEAR_LEAST      16ull
#define NEAR_UNKNOWN    1024ull
#define NEAR_MOST       16384ull

struct partition_reader *partition_reader_new(struct fetcher *fetcher,
					      struct kafka_partition *partition)
{
	struct partition_reader *reader = calloc(1, sizeof *reader);

	if (!reader)
		return NULL;
	reader->physical = strdup(partition->topic->model->physical);
	if (!reader->physical) {
		free(reader);
		return NULL;
	}
	reader->fetcher = fetcher;
	reader->partition = partition;
	reader->number = partition->number;
	list_init(&reader->requests);
	list_init(&reader->in_fetcher);
	list_init(&reader->in_asked);
	return reader;
}

void partition_reader_free(struct partition_reader *reader)
{
	assert(list_empty(&reader->requests));
	free(reader->physical);
	free(reader);
}

bool partition_reader_answer(struct partition_reader *reader, struct log_fetch *fetch,
			     uint64_t now_ns, bool *ret_wake)
{
	for (size_t i = 0; i < PARTITION_READER_SLOTS; ++i) {
		struct stream *stream = reader->streams[i];

		if (!stream || !log_ring_fetch(&stream->ring, fetch))
			continue;
		stream->used_ns = now_ns;
		stream->served = true;
		*ret_wake = stream_reach(stream, fetch->next);
		return true;
	}
	return false;
}

bool partition_reader_wait(struct partition_reader *reader, struct log_fetch *fetch,
			   uint64_t now_ns)
{
	struct reader_request *request = malloc(sizeof *request);

	if (!request)
		return false;
	*request = (struct reader_request){.fetch = fetch, .since_ns = now_ns};
	list_push_back(&reader->requests, &request->node);
	return true;
}

static void request_end(struct reader_request *request)
{
	struct log_fetch *fetch = request->fetch;

	list_unlink(&request->node);
	free(request);
	loop_post(fetch->loop, &fetch->task);
}

static void request_answer(struct reader_request *request, enum code code)
{
	struct log_fetch *fetch = request->fetch;

	fetch->buf = NULL;
	fetch->entries = NULL;
	fetch->count = 0;
	fetch->next = fetch->offset;
	fetch->code = code;
	request_end(request);
}

bool partition_reader_is_gone(const struct partition_reader *reader)
{
	return !reader->partition ||
	       __atomic_load_n(&reader->partition->topic->gone, __ATOMIC_ACQUIRE);
}

static bool is_end(const struct partition_reader *reader, uint64_t offset)
{
	for (size_t i = 0; i < PARTITION_READER_SLOTS; ++i) {
		const struct stream *stream = reader->streams[i];

		if (stream && stream->ended && stream->next == offset)
			return true;
	}
	return false;
}

static bool is_throttled(const struct reader_handles *handles, uint64_t now_ns)
{
	for (size_t i = 0; i < PARTITION_READER_SLOTS; ++i)
		if (now_ns < handles->throttled_ns[i])
			return true;
	return false;
}

// The request may be younger than `now_ns`.
static bool is_late(const struct partition_reader *reader, const struct reader_request *request,
		    const struct reader_handles *handles, uint64_t now_ns, enum code *ret_code)
{
	bool end = now_ns >= request->since_ns + PATIENCE_END_NS && !handles->down &&
		   is_end(reader, request->fetch->offset);

	*ret_code = end || is_throttled(handles, now_ns) ? CODE_OK : CODE_BACKEND_DOWN;
	return end || now_ns >= request->since_ns + PATIENCE_NS;
}

// As many positions as the bytes are worth that it is better to read than to go elsewhere: what is
// read for one is read for all.
static uint64_t near_of(const struct stream *stream)
{
	const struct log_ring *ring = &stream->ring;
	uint64_t near =
		ring->bytes ? NEAR_BYTES * (ring->next - ring->first) / ring->bytes : NEAR_UNKNOWN;

	return MAX(MIN(near, NEAR_MOST), NEAR_LEAST);
}

static void slots_note(const struct partition_reader *reader, const struct reader_handles *handles,
		       struct catchup_slot slots[PARTITION_READER_SLOTS])
{
	for (size_t i = 0; i < PARTITION_READER_SLOTS; ++i) {
		const struct stream *stream = reader->streams[i];

		slots[i] = (struct catchup_slot){.closed = handles->closed[i]};
		if (stream)
			slots[i] = (struct catchup_slot){.there = true,
							 .served = stream->served,
							 .next = stream->ring.next,
							 .near = near_of(stream),
							 .since_ns = stream->since_ns,
							 .used_ns = stream->used_ns,
							 .throttled_ns = handles->throttled_ns[i]};
	}
}

enum catchup_slot_verdict partition_reader_look(struct partition_reader *reader,
						const struct reader_handles *handles,
						uint64_t now_ns, size_t *ret_slot,
						uint64_t *ret_offset)
{
	struct catchup_slot slots[PARTITION_READER_SLOTS];
	struct reader_request *first = NULL;
	enum catchup_slot_verdict verdict = CATCHUP_SLOT_WAIT;
	bool gone = partition_reader_is_gone(reader), wake;

	slots_note(reader, handles, slots);
	LIST_FOREACH(node, next, &reader->requests)
	{
		struct reader_request *request = LIST_ENTRY(node, struct reader_request, node);
		uint64_t offset = request->fetch->offset;
		enum code code;
		size_t slot;

		if (gone) {
			request_answer(request, CODE_NOT_FOUND);
		} else if (partition_reader_answer(reader, request->fetch, now_ns, &wake)) {
			request_end(request);
		} else if (is_late(reader, request, handles, now_ns, &code)) {
			request_answer(request, code);
		} else if (catchup_slot_choose(slots, PARTITION_READER_SLOTS, offset, now_ns,
					       &slot) == CATCHUP_SLOT_WAIT) {
			++slots[slot].waiting;
			stream_reach(reader->streams[slot], offset);
		} else if (!first) {
			first = request;
		}
	}
	for (size_t i = 0; i < PARTITION_READER_SLOTS; ++i)
		if (reader->streams[i])
			reader->streams[i]->waiting = slots[i].waiting;
	if (first) {
		*ret_offset = first->fetch->offset;
		verdict = catchup_slot_choose(slots, PARTITION_READER_SLOTS, *ret_offset, now_ns,
					      ret_slot);
	}
	return verdict;
}

void partition_reader_fail(struct partition_reader *reader, const struct stream *stream,
			   uint64_t now_ns)
{
	bool wake;

	LIST_FOREACH(node, next, &reader->requests)
	{
		struct reader_request *request = LIST_ENTRY(node, struct reader_request, node);
		uint64_t offset = request->fetch->offset;

		if (partition_reader_answer(reader, request->fetch, now_ns, &wake))
			request_end(request);
		else if (offset >= stream->ring.next &&
			 offset - stream->ring.next <= near_of(stream))
			request_answer(request, stream->code);
	}
}

void partition_reader_end_all(struct partition_reader *reader, enum code code)
{
	LIST_FOREACH(node, next, &reader->requests)
	request_answer(LIST_ENTRY(node, struct reader_request, node), code);
}
