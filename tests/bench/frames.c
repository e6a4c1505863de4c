// Sends fixed frames without the SDK and counts their answers.
//
//   bench_frames address= key= secret= topic= [frame=RECORDS] [size=BYTES] [connections=N]
//                [flight=FRAMES] [seconds=N | frames=TOTAL]
//
// Each connection has `flight` frames under way and sends the next burst of as many when all of
// them are answered, so the server sees the same bytes in the same portions every time: its
// instructions repeat. Prints frames, messages, seconds, and with flight=1 the round trip's
// percentiles in ns.

#include "core/base/clock.h"
#include "core/base/histogram.h"
#include "core/wire/produce.h"
#include "core/wire/produced.h"
#include "tests/bench/raw.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define EVENTS 64

struct sender {
	struct raw raw;
	uint64_t batch;
	uint32_t open; // frames that are not answered
	uint64_t sent_ns;
};

static struct args args;
static uint32_t records, flight;
static uint8_t *burst; // `flight` frames
static size_t frame_size;
static uint64_t left, answered, until_ns;
static struct histogram round_trips;

static void make_burst(void)
{
	struct slice frame = raw_frame(records, (uint32_t)args_number(&args, "size", 100));

	frame_size = frame.size;
	burst = malloc(frame.size * flight);
	if (!burst)
		die("out of memory");
	for (uint32_t i = 0; i < flight; ++i)
		memcpy(burst + i * frame.size, frame.data, frame.size);
	free((void *)(uintptr_t)frame.data);
}

// False: everything has been sent.
static bool send_burst(struct sender *sender)
{
	uint64_t now_ns = clock_now_ns();

	if (left == 0 || now_ns >= until_ns ||
	    sender->raw.sent + flight * frame_size > sender->raw.granted)
		return false;
	for (uint32_t i = 0; i < flight; ++i) {
		uint8_t *frame = burst + i * frame_size;

		le64_put(frame + WIRE_HEADER_SIZE, ++sender->batch);
		frame_seal(frame, FRAME_PRODUCE, 0, 1, (uint32_t)(frame_size - WIRE_HEADER_SIZE));
	}
	sender->open = flight;
	sender->raw.sent += flight * frame_size;
	left -= left < flight ? left : flight;
	sender->sent_ns = now_ns;
	raw_write(&sender->raw, burst, flight * frame_size);
	return true;
}

static void on_answer(struct sender *sender, const struct frame_header *header,
		      const uint8_t *payload)
{
	struct produce_head head;
	struct produced_run run;
	size_t runs;

	if (header->type != FRAME_PRODUCED || produced_check(payload, header->size, &head, &runs))
		die("%s came instead of PRODUCED", frame_name(header->type));
	produced_run_read(payload + PRODUCED_HEAD_SIZE, &run);
	if (run.outcome != 0 || runs != 1 || run.count != records)
		die("not every record was taken: outcome %u, code %u", run.outcome, run.code);
	++answered;
	if (--sender->open == 0 && flight == 1)
		histogram_add(&round_trips, clock_now_ns() - sender->sent_ns);
}

// False: this one has ended.
static bool on_readable(struct sender *sender)
{
	struct frame_header header;
	const uint8_t *payload;

	raw_fill(&sender->raw);
	while (raw_next(&sender->raw, &header, &payload))
		on_answer(sender, &header, payload);
	return sender->open || send_burst(sender);
}

static void run(struct sender *senders, uint32_t count)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event events[EVENTS];
	uint32_t active = 0;

	for (uint32_t i = 0; i < count; ++i) {
		struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = &senders[i]}};

		epoll_ctl(epoll, EPOLL_CTL_ADD, senders[i].raw.fd, &event);
		active += send_burst(&senders[i]);
	}
	while (active) {
		int ready = epoll_wait(epoll, events, EVENTS, -1);

		for (int i = 0; i < ready; ++i)
			active -= !on_readable(events[i].data.ptr);
	}
}

int main(int argc, char **argv)
{
	uint32_t connections;
	struct sender *senders;
	uint64_t started_ns;
	double seconds;

	args = (struct args){argc, argv};
	records = (uint32_t)args_number(&args, "frame", 1);
	flight = (uint32_t)args_number(&args, "flight", 1);
	connections = (uint32_t)args_number(&args, "connections", 1);
	left = args_number(&args, "frames", UINT64_MAX);
	senders = calloc(connections, sizeof *senders);
	if (!senders)
		die("out of memory");
	for (uint32_t i = 0; i < connections; ++i) {
		raw_connect(&args, &senders[i].raw);
		raw_open_topic(&senders[i].raw, 1, args_text(&args, "topic", "bare"));
	}
	make_burst();
	histogram_init(&round_trips);
	started_ns = clock_now_ns();
	until_ns = started_ns + args_number(&args, "seconds", 3600) * S_NS;
	run(senders, connections);
	seconds = (double)(clock_now_ns() - started_ns) / 1e9;
	printf("{\"frames\": %llu, \"messages\": %llu, \"seconds\": %.6f, \"p50_ns\": %llu, "
	       "\"p99_ns\": %llu}\n",
	       (unsigned long long)answered, (unsigned long long)(answered * records), seconds,
	       (unsigned long long)histogram_percentile(&round_trips, 50),
	       (unsigned long long)histogram_percentile(&round_trips, 99));
	for (uint32_t i = 0; i < connections; ++i)
		raw_close(&senders[i].raw);
	free(senders);
	free(burst);
	return 0;
}
