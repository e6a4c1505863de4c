// The ring of newest chunks (adapters/log/ring.h), with positions that hold nothing, and the choice
// of a catch-up slot (adapters/kafka/read/catchup_slot.h).
#include "adapters/kafka/read/catchup_slot.h"
#include "adapters/log/ring.h"
#include "tests/unit/unit.h"

#define SIZE 100u // of a record

static struct log_rings rings;
static struct log_ring ring;

static void begin(uint64_t bytes_max, uint64_t ring_bytes_max, uint32_t chunks_max)
{
	log_rings_init(&rings, bytes_max, ring_bytes_max, chunks_max);
	ring = (struct log_ring){0};
	log_ring_clear(&rings, &ring, 10);
}

static void end(void)
{
	log_ring_clear(&rings, &ring, 0);
	CHECK(list_empty(&rings.all));
	CHECK_EQ(rings.bytes, 0);
	CHECK_EQ(ring.bytes, 0);
}

// A chunk that covers everything from `offset` to `next`, with entries at `offsets`.
static void add(uint64_t offset, const uint64_t *offsets, uint32_t count, uint64_t next)
{
	struct log_chunk *chunk =
		log_ring_chunk_new(offset, count * (SIZE + sizeof(struct log_entry)));

	CHECK(chunk);
	CHECK((uint8_t *)(chunk->entries + count) + count * SIZE <= log_ring_chunk_room_end(chunk));
	chunk->count = count;
	for (uint32_t i = 0; i < count; ++i)
		chunk->entries[i] = (struct log_entry){.offset = offsets[i], .size = SIZE};
	log_ring_add(&rings, &ring, chunk, next);
}

#define ADD(offset, next, ...)                                                                     \
	add(offset, (const uint64_t[]){__VA_ARGS__},                                               \
	    ARRAY_SIZE(((const uint64_t[]){__VA_ARGS__})), next)

// What a fetch is answered: the entries first..last, `count` of them, and where to go on.
static void expect(uint64_t offset, uint64_t until, uint32_t messages, uint32_t bytes,
		   uint64_t first, uint64_t last, uint32_t count, uint64_t next)
{
	struct log_fetch fetch = {
		.offset = offset, .until = until, .max_messages = messages, .max_bytes = bytes};

	CHECK(log_ring_fetch(&ring, &fetch));
	CHECK_EQ(fetch.code, CODE_OK);
	CHECK_EQ(fetch.count, count);
	CHECK_EQ(fetch.next, next);
	CHECK_EQ(fetch.buf != NULL, count > 0);
	if (count) {
		CHECK_EQ(fetch.entries[0].offset, first);
		CHECK_EQ(fetch.entries[count - 1].offset, last);
	}
	buf_unref(fetch.buf);
}

static void expect_miss(uint64_t offset)
{
	struct log_fetch fetch = {.offset = offset, .until = offset + 1, .max_messages = 1};

	CHECK(!log_ring_fetch(&ring, &fetch));
}

#define ALL 100, 1u << 20

static void what_is_covered_is_answered(void)
{
	begin(1 << 20, 1 << 20, 8);
	expect_miss(10);
	ADD(10, 15, 12, 13);     // nothing at 10, 11, 14
	ADD(15, 18, 15, 16, 17); // dense
	ADD(18, 30, 19, 25);
	expect_miss(9);
	expect_miss(30);
	expect(10, 100, ALL, 12, 13, 2, 15);
	expect(13, 100, ALL, 13, 13, 1, 15);
	expect(14, 100, ALL, 15, 17, 3, 18); // on to the next chunk
	expect(16, 100, ALL, 16, 17, 2, 18);
	expect(20, 100, ALL, 25, 25, 1, 30);
	expect(26, 100, ALL, 0, 0, 0, 30); // the end, as far as it is known
	end();
}

static void limits_are_kept(void)
{
	begin(1 << 20, 1 << 20, 8);
	ADD(10, 20, 11, 12, 15, 19);
	expect(10, 100, 2, 1 << 20, 11, 12, 2, 15); // what lies between holds nothing
	expect(10, 100, 100, 250, 11, 12, 2, 15);
	expect(10, 100, 100, 1, 11, 11, 1, 12); // one, whatever its size
	expect(10, 100, 0, 1 << 20, 11, 11, 1, 12);
	expect(10, 12, ALL, 11, 11, 1, 12);
	expect(10, 15, ALL, 11, 12, 2, 15);
	expect(10, 14, ALL, 11, 12, 2, 14);
	expect(13, 15, ALL, 0, 0, 0, 15);
	end();
}

static void the_oldest_goes_first(void)
{
	begin(1 << 20, 1 << 20, 3);
	for (uint64_t at = 10; at < 16; ++at)
		ADD(at, at + 1, at);
	expect_miss(12);
	expect(13, 100, ALL, 13, 13, 1, 14);
	CHECK_EQ(ring.count, 3);
	ADD(40, 41, 40); // not where it ends: all before are of no use
	expect_miss(15);
	expect(40, 100, ALL, 40, 40, 1, 41);
	end();
	begin(1 << 20, 1000, 100);
	for (uint64_t at = 10; at < 30; ++at)
		ADD(at, at + 1, at);
	CHECK(ring.bytes <= 1000);
	CHECK(ring.count > 1);
	end();
}

static void rings_share_their_bytes(void)
{
	struct log_ring other = {0};

	begin(1000, 1 << 20, 100);
	ADD(10, 11, 10);
	for (uint64_t at = 0; at < 20; ++at) {
		struct log_chunk *chunk = log_ring_chunk_new(at, SIZE);

		log_ring_add(&rings, &other, chunk, at + 1);
		CHECK(rings.bytes <= 1000);
	}
	CHECK_EQ(ring.count, 0);
	expect_miss(10);
	CHECK_EQ(ring.first, ring.next);
	ADD(11, 12, 11); // goes on as if nothing had happened
	expect(11, 100, ALL, 11, 11, 1, 12);
	log_ring_clear(&rings, &other, 0);
	end();
}

static void bytes_ahead_are_known(void)
{
	uint64_t bytes;

	begin(1 << 20, 1 << 20, 8);
	ADD(10, 11, 10);
	bytes = ring.bytes;
	ADD(11, 12, 11);
	ADD(12, 20, 12);
	CHECK_EQ(log_ring_bytes_behind(&ring, 10), 3 * bytes);
	CHECK_EQ(log_ring_bytes_behind(&ring, 11), 2 * bytes);
	CHECK_EQ(log_ring_bytes_behind(&ring, 13), 0);
	end();
}

// ---- slots

#define NOW_NS (1000 * S_NS)

#define NEAR 1000u

static const struct catchup_slot follower = {.there = true, .next = 5000, .near = NEAR};
static const struct catchup_slot busy = {.there = true,
					 .served = true,
					 .waiting = 1,
					 .next = 100,
					 .since_ns = NOW_NS - 10 * MS_NS,
					 .used_ns = NOW_NS};

static void expect_lane(const struct catchup_slot *slots, uint64_t offset,
			enum catchup_slot_verdict verdict, size_t slot)
{
	size_t chosen;

	CHECK_EQ(catchup_slot_choose(slots, 3, offset, NOW_NS, &chosen), verdict);
	if (verdict != CATCHUP_SLOT_NONE)
		CHECK_EQ(chosen, slot);
}

static void lanes_are_chosen(void)
{
	struct catchup_slot slots[3] = {follower};

	expect_lane(slots, 5000, CATCHUP_SLOT_WAIT, 0);
	expect_lane(slots, 5000 + NEAR, CATCHUP_SLOT_WAIT, 0);
	expect_lane(slots, 5001 + NEAR, CATCHUP_SLOT_PUT, 0); // it belongs to the furthest
	expect_lane(slots, 100, CATCHUP_SLOT_PUT, 1);
	slots[1] = busy;
	expect_lane(slots, 100, CATCHUP_SLOT_WAIT, 1); // reads on where it stands
	expect_lane(slots, 99, CATCHUP_SLOT_PUT, 2);
	slots[2].closed = true;
	expect_lane(slots, 99, CATCHUP_SLOT_NONE, 0);
	slots[0] = (struct catchup_slot){0}; // no reader watches: an offset far ahead needs a slot
	expect_lane(slots, 9000, CATCHUP_SLOT_NONE, 0);
	slots[2].closed = false;
	expect_lane(slots, 9000, CATCHUP_SLOT_PUT, 2);
}

static void lanes_take_turns(void)
{
	struct catchup_slot slots[3] = {follower, busy, busy};

	expect_lane(slots, 99, CATCHUP_SLOT_NONE, 0);
	slots[2].waiting = 0; // the reader it serves may ask again at once
	expect_lane(slots, 99, CATCHUP_SLOT_NONE, 0);
	slots[2].used_ns = slots[2].since_ns = NOW_NS - CATCHUP_SLOT_GAP_NS;
	expect_lane(slots, 99, CATCHUP_SLOT_PUT, 2);
	slots[2] = busy;
	slots[1].since_ns = NOW_NS - CATCHUP_SLOT_TURN_NS;
	expect_lane(slots, 99, CATCHUP_SLOT_PUT, 1);
	slots[1].served = false; // it must have brought something first
	expect_lane(slots, 99, CATCHUP_SLOT_NONE, 0);
	slots[1].since_ns = NOW_NS - CATCHUP_SLOT_DEAD_NS;
	expect_lane(slots, 99, CATCHUP_SLOT_PUT, 1);
	slots[1].throttled_ns = NOW_NS + S_NS; // it will bring something no sooner elsewhere
	expect_lane(slots, 99, CATCHUP_SLOT_NONE, 0);
	slots[1].throttled_ns = NOW_NS - CATCHUP_SLOT_DEAD_NS;
	expect_lane(slots, 99, CATCHUP_SLOT_PUT, 1);
}

UNIT_MAIN(UNIT_CASE(what_is_covered_is_answered), UNIT_CASE(limits_are_kept),
	  UNIT_CASE(the_oldest_goes_first), UNIT_CASE(rings_share_their_bytes),
	  UNIT_CASE(bytes_ahead_are_known), UNIT_CASE(lanes_are_chosen),
	  UNIT_CASE(lanes_take_turns))
