// Offers messages at an even rate without the SDK, whatever the answers are, and counts what is
// admitted.
//
//   bench_quota address= key= secret= topic= rate=MESSAGES/S [seconds=N] [size=BYTES]
//
// Every millisecond it sends what is due by then, in frames of at most FRAME_RECORDS, as far as the
// window allows. Prints the messages offered and admitted.

#include "core/base/clock.h"
#include "core/base/util.h"
#include "core/wire/produce.h"
#include "core/wire/produced.h"
#include "tests/bench/raw.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FRAME_RECORDS 512u
#define STEP_NS       MS_NS

struct offer {
	struct raw raw;
	struct slice frame; // of FRAME_RECORDS records
	size_t record_size;
	uint64_t batch, offered, admitted;
	uint64_t open; // frames that are not answered
};

// The first `count` records of the frame, as a frame. False: the window is used up.
static bool offer_some(struct offer *offer, uint32_t count)
{
	uint8_t *frame = (uint8_t *)(uintptr_t)offer->frame.data;
	uint32_t payload = PRODUCE_HEAD_SIZE + count * (uint32_t)offer->record_size;

	if (offer->raw.sent + WIRE_HEADER_SIZE + payload > offer->raw.granted)
		return false;
	produce_head_write(frame + WIRE_HEADER_SIZE,
			   &(struct produce_head){.batch = ++offer->batch, .count = count});
	frame_seal(frame, FRAME_PRODUCE, 0, 1, payload);
	offer->raw.sent += WIRE_HEADER_SIZE + payload;
	raw_write(&offer->raw, frame, WIRE_HEADER_SIZE + payload);
	offer->offered += count;
	++offer->open;
	return true;
}

static void on_produced(struct offer *offer, const uint8_t *payload, size_t size)
{
	struct produce_head head;
	size_t runs;

	if (produced_check(payload, size, &head, &runs))
		die("PRODUCED is malformed");
	for (size_t i = 0; i < runs; ++i) {
		struct produced_run run;

		produced_run_read(payload + PRODUCED_HEAD_SIZE + i * PRODUCED_RUN_SIZE, &run);
		if (run.outcome == OUTCOME_OK)
			offer->admitted += run.count;
		else if (run.code != CODE_THROTTLED)
			die("an outcome that is no throttling: code %u", run.code);
	}
	--offer->open;
}

static void read_answers(struct offer *offer)
{
	struct frame_header header;
	const uint8_t *payload;

	raw_fill(&offer->raw);
	while (raw_next(&offer->raw, &header, &payload))
		if (header.type == FRAME_PRODUCED)
			on_produced(offer, payload, header.size);
}

static bool readable(const struct offer *offer, uint64_t wait_ns)
{
	struct pollfd look = {offer->raw.fd, POLLIN, 0};
	struct timespec wait = {0, (long)wait_ns};

	return ppoll(&look, 1, &wait, NULL) > 0;
}

static void run(struct offer *offer, uint64_t rate, uint64_t duration_ns)
{
	uint64_t started_ns = clock_now_ns(), now_ns = started_ns, due;

	while ((now_ns = clock_now_ns()) < started_ns + duration_ns) {
		due = (uint64_t)((double)(now_ns - started_ns) * (double)rate / 1e9);
		while (offer->offered < due &&
		       offer_some(offer, (uint32_t)MIN(due - offer->offered, FRAME_RECORDS)))
			continue;
		while (readable(offer, 0))
			read_answers(offer);
		readable(offer, STEP_NS);
	}
	while (offer->open)
		read_answers(offer);
}

int main(int argc, char **argv)
{
	struct args args = {argc, argv};
	struct offer offer = {.batch = 0};
	uint64_t seconds = args_number(&args, "seconds", 10);

	raw_connect(&args, &offer.raw);
	raw_open_topic(&offer.raw, 1, args_text(&args, "topic", NULL));
	offer.frame = raw_frame(FRAME_RECORDS, (uint32_t)args_number(&args, "size", 16));
	offer.record_size =
		(offer.frame.size - WIRE_HEADER_SIZE - PRODUCE_HEAD_SIZE) / FRAME_RECORDS;
	run(&offer, args_number(&args, "rate", 1000), seconds * S_NS);
	printf("{\"offered\": %llu, \"admitted\": %llu, \"seconds\": %llu}\n",
	       (unsigned long long)offer.offered, (unsigned long long)offer.admitted,
	       (unsigned long long)seconds);
	raw_close(&offer.raw);
	free((void *)(uintptr_t)offer.frame.data);
	return 0;
}
