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

struct follow *follow_new(struct fetcher *fetcher, struct kafka_partition *partition)
{
	struct follow *follow = calloc(1, sizeof *follow);

	if (!follow)
		return NULL;
	follow->physical = strdup(partition->topic->model->physical);
	if (!follow->physical) {
		free(follow);
		return NULL;
	}
	follow->fetcher = fetcher;
	follow->partition = partition;
	follow->number = partition->number;
	list_init(&follow->requests);
	list_init(&follow->in_fetcher);
	list_init(&follow->in_asked);
	return follow;
}

void follow_free(struct follow *follow)
{
	assert(list_empty(&follow->requests));
	free(follow->physical);
	free(follow);
}

bool follow_answer(struct follow *follow, struct log_fetch *fetch, uint64_t now_ns, bool *ret_wake)
{
	for (size_t i = 0; i < FOLLOW_LANES; ++i) {
		struct stream *stream = follow->streams[i];

		if (!stream || !log_ring_fetch(&stream->ring, fetch))
			continue;
		stream->used_ns = now_ns;
		stream->served = true;
		*ret_wake = stream_reach(stream, fetch->next);
		return true;
	}
	return false;
}

bool follow_wait(struct follow *follow, struct log_fetch *fetch, uint64_t now_ns)
{
	struct follow_request *request = malloc(sizeof *request);

	if (!request)
		return false;
	*request = (struct follow_request){.fetch = fetch, .since_ns = now_ns};
	list_push_back(&follow->requests, &request->node);
	return true;
}

static void request_end(struct follow_request *request)
{
	struct log_fetch *fetch = request->fetch;

	list_unlink(&request->node);
	free(request);
	loop_post(fetch->loop, &fetch->task);
}

static void request_answer(struct follow_request *request, enum code code)
{
	struct log_fetch *fetch = request->fetch;

	fetch->buf = NULL;
	fetch->entries = NULL;
	fetch->count = 0;
	fetch->next = fetch->offset;
	fetch->code = code;
	request_end(request);
}

bool follow_is_gone(const struct follow *follow)
{
	return !follow->partition ||
	       __atomic_load_n(&follow->partition->topic->gone, __ATOMIC_ACQUIRE);
}

static bool is_end(const struct follow *follow, uint64_t offset)
{
	for (size_t i = 0; i < FOLLOW_LANES; ++i) {
		const struct stream *stream = follow->streams[i];

		if (stream && stream->ended && stream->next == offset)
			return true;
	}
	return false;
}

static bool is_throttled(const struct follow_handles *handles, uint64_t now_ns)
{
	for (size_t i = 0; i < FOLLOW_LANES; ++i)
		if (now_ns < handles->throttled_ns[i])
			return true;
	return false;
}

// The request may be younger than `now_ns`.
static bool is_late(const struct follow *follow, const struct follow_request *request,
		    const struct follow_handles *handles, uint64_t now_ns, enum code *ret_code)
{
	bool end = now_ns >= request->since_ns + PATIENCE_END_NS && !handles->down &&
		   is_end(follow, request->fetch->offset);

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

static void lanes_note(const struct follow *follow, const struct follow_handles *handles,
		       struct lane lanes[FOLLOW_LANES])
{
	for (size_t i = 0; i < FOLLOW_LANES; ++i) {
		const struct stream *stream = follow->streams[i];

		lanes[i] = (struct lane){.closed = handles->closed[i]};
		if (stream)
			lanes[i] = (struct lane){.there = true,
						 .served = stream->served,
						 .next = stream->ring.next,
						 .near = near_of(stream),
						 .since_ns = stream->since_ns,
						 .used_ns = stream->used_ns,
						 .throttled_ns = handles->throttled_ns[i]};
	}
}

enum lane_verdict follow_look(struct follow *follow, const struct follow_handles *handles,
			      uint64_t now_ns, size_t *ret_lane, uint64_t *ret_offset)
{
	struct lane lanes[FOLLOW_LANES];
	struct follow_request *first = NULL;
	enum lane_verdict verdict = LANE_WAIT;
	bool gone = follow_is_gone(follow), wake;

	lanes_note(follow, handles, lanes);
	LIST_FOREACH(node, next, &follow->requests)
	{
		struct follow_request *request = LIST_ENTRY(node, struct follow_request, node);
		uint64_t offset = request->fetch->offset;
		enum code code;
		size_t lane;

		if (gone) {
			request_answer(request, CODE_NOT_FOUND);
		} else if (follow_answer(follow, request->fetch, now_ns, &wake)) {
			request_end(request);
		} else if (is_late(follow, request, handles, now_ns, &code)) {
			request_answer(request, code);
		} else if (lane_choose(lanes, FOLLOW_LANES, offset, now_ns, &lane) == LANE_WAIT) {
			++lanes[lane].waiting;
			stream_reach(follow->streams[lane], offset);
		} else if (!first) {
			first = request;
		}
	}
	for (size_t i = 0; i < FOLLOW_LANES; ++i)
		if (follow->streams[i])
			follow->streams[i]->waiting = lanes[i].waiting;
	if (first) {
		*ret_offset = first->fetch->offset;
		verdict = lane_choose(lanes, FOLLOW_LANES, *ret_offset, now_ns, ret_lane);
	}
	return verdict;
}

void follow_fail(struct follow *follow, const struct stream *stream, uint64_t now_ns)
{
	bool wake;

	LIST_FOREACH(node, next, &follow->requests)
	{
		struct follow_request *request = LIST_ENTRY(node, struct follow_request, node);
		uint64_t offset = request->fetch->offset;

		if (follow_answer(follow, request->fetch, now_ns, &wake))
			request_end(request);
		else if (offset >= stream->ring.next &&
			 offset - stream->ring.next <= near_of(stream))
			request_answer(request, stream->code);
	}
}

void follow_end_all(struct follow *follow, enum code code)
{
	LIST_FOREACH(node, next, &follow->requests)
	request_answer(LIST_ENTRY(node, struct follow_request, node), code);
}
