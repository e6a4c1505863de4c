// adapters/log/window: single steps, the metadata there and back, damage, and random schedules
// against a plain model.

#include "adapters/log/window_text.h"
#include "tests/unit/unit.h"

static void add(struct window *window, uint64_t first, uint64_t end)
{
	for (uint64_t offset = first; offset < end; ++offset)
		CHECK_EQ(window_add(window, offset, false), 0);
}

static void ack(struct window *window, uint64_t offset, uint32_t attempt)
{
	CHECK_EQ(window_ack(window, offset, attempt), WINDOW_OK);
}

static void acks_move_the_base(void)
{
	struct window window;

	window_init(&window, 100);
	add(&window, 100, 105);
	ack(&window, 102, 1);
	ack(&window, 101, 1);
	CHECK_EQ(window.base, 100);
	CHECK_EQ(window_ack(&window, 101, 1), WINDOW_STALE); // twice
	CHECK_EQ(window_ack(&window, 100, 2), WINDOW_STALE); // another attempt
	CHECK_EQ(window_ack(&window, 99, 1), WINDOW_STALE);
	CHECK_EQ(window_ack(&window, 105, 1), WINDOW_STALE);
	ack(&window, 100, 1);
	CHECK_EQ(window.base, 103);
	CHECK_EQ(window.flight, 2);
	add(&window, 110, 111); // 105 … 109 hold no message
	ack(&window, 103, 1);
	ack(&window, 104, 1);
	CHECK_EQ(window.base, 110);
	ack(&window, 110, 1);
	CHECK_EQ(window_add(&window, 1000000, true), 0); // a hole of any width
	CHECK_EQ(window.base, 1000001);
	CHECK_EQ(window.count, 0);
	window_deinit(&window);
}

static void nacks_come_again(void)
{
	struct window window;
	uint64_t offset, until;

	window_init(&window, 0);
	add(&window, 0, 3);
	CHECK_EQ(window_nack(&window, 1, 1, 500), WINDOW_OK);
	CHECK_EQ(window_release(&window, 2, 1), WINDOW_OK);
	CHECK(window_first_open(&window, 100, &offset, &until));
	CHECK_EQ(offset, 2);
	CHECK_EQ(until, 3);
	CHECK_EQ(window_take(&window, 2), 1); // released: still the first attempt
	CHECK_EQ(window_wake(&window, 499), 0);
	CHECK(!window_first_open(&window, 100, &offset, &until));
	CHECK_EQ(window.next_due_ms, 500);
	CHECK_EQ(window_take(&window, 1), 0);
	CHECK_EQ(window_wake(&window, 500), 1);
	CHECK_EQ(window.next_due_ms, UINT64_MAX);
	CHECK(window_first_open(&window, 100, &offset, &until));
	CHECK_EQ(offset, 1);
	CHECK_EQ(window_take(&window, 1), 2);
	CHECK_EQ(window_ack(&window, 1, 1), WINDOW_STALE);
	ack(&window, 1, 2);
	window_deinit(&window);
}

static void open_stretches_are_read_together(void)
{
	struct window window;
	uint64_t offset, until;

	window_init(&window, 0);
	add(&window, 0, 1000);
	window_release(&window, 10, 1);
	window_release(&window, 20, 1);
	window_release(&window, 900, 1);
	CHECK(window_first_open(&window, 4096, &offset, &until));
	CHECK_EQ(offset, 10);
	CHECK_EQ(until, 21); // the one far away is another read
	CHECK(window_first_open(&window, 5, &offset, &until));
	CHECK_EQ(until, 11);
	CHECK_EQ(window_take(&window, 10), 1);
	CHECK_EQ(window_take(&window, 20), 1);
	CHECK(window_first_open(&window, 4096, &offset, &until));
	CHECK_EQ(offset, 900);
	window_deinit(&window);
}

static void limits_say_when_to_leave(void)
{
	struct window window;
	uint32_t attempt;

	window_init(&window, 0);
	add(&window, 0, WINDOW_POSITIONS);
	CHECK(window_full(&window));
	CHECK(!window_fits(&window, WINDOW_POSITIONS));
	for (uint64_t offset = 1; offset <= WINDOW_MARKS; ++offset)
		CHECK_EQ(window_nack(&window, offset, 1, 0), WINDOW_OK);
	CHECK_EQ(window_nack(&window, 500, 1, 0), WINDOW_CROWDED);
	CHECK(window_in_flight(&window, 500, 1)); // nothing changed
	for (attempt = 2; window_take(&window, 7) == attempt; ++attempt)
		if (window_nack(&window, 7, attempt, 0) != WINDOW_OK)
			break;
	CHECK_EQ(attempt, WINDOW_ATTEMPTS + 1);
	window_leave(&window, 7);
	CHECK_EQ(window_state_at(&window, 7), WINDOW_DONE);
	CHECK_EQ(window_nack(&window, 500, 1, 0), WINDOW_OK); // its place is free
	ack(&window, 0, 1);
	CHECK(!window_full(&window));
	window_deinit(&window);
}

static void truncation_passes_what_is_gone(void)
{
	struct window window;

	window_init(&window, 0);
	add(&window, 0, 5);
	window_nack(&window, 0, 1, 0);
	window_nack(&window, 1, 1, 1000);
	ack(&window, 3, 1);
	window_truncate(&window, 4);
	CHECK_EQ(window.base, 2); // in flight: may still be acknowledged
	CHECK_EQ(window.mark_count, 0);
	ack(&window, 2, 1);
	CHECK_EQ(window.base, 4);
	ack(&window, 4, 1);
	window_truncate(&window, 50);
	CHECK_EQ(window_next(&window), 50);
	window_deinit(&window);
}

// ---- commit metadata

static const char golden[] = "mqw21.#*<cfLNl0o:T/Fy6OYYFfx!0epKP1oTC[0r-x5";

static void golden_window(struct window *window)
{
	window_init(window, 1000);
	add(window, 1000, 1010);
	ack(window, 1001, 1);
	ack(window, 1002, 1);
	window_nack(window, 1004, 1, 1700000005000);
	window_nack(window, 1005, 1, 0);
	window_take(window, 1005);
	window_nack(window, 1005, 2, 0);
	ack(window, 1007, 1);
}

static void text_is_golden(void)
{
	struct window window, back;
	uint64_t epoch;
	char *text;

	golden_window(&window);
	text = window_text_encode(&window, 37, 1700000000000);
	CHECK_STR(text, golden);
	window_init(&back, 1000);
	CHECK_EQ(window_text_decode(&back, text, &epoch), 0);
	CHECK_EQ(epoch, 37);
	CHECK_EQ(window_next(&back), 1008);
	CHECK_EQ(back.waiting, 1);
	CHECK_EQ(back.next_due_ms, 1700000005000);
	CHECK_EQ(back.open, 4);
	CHECK_EQ(window_take(&back, 1005), 3);
	CHECK_EQ(window_take(&back, 1000), 1);
	window_deinit(&window);
	window_deinit(&back);
	free(text);
}

static void damaged_text_is_foreign(void)
{
	static const char *const odd[] = {"written by another client", "mqw2", "mqw20000",
					  "mqw200000", "mqw1G<&5}cfLO:^3sTzf-.oe0SSu9H.x^(",
					  // epochs 2^62, 2^63 - 1, 2^64 - 1
					  "mqw2I{qxiFpJf2FpJf2kM}b/0003100000",
					  "mqw2oVL7k%nSc0%nSc0E*2/L0003100000",
					  "mqw2b6Ea.%nSc0%nSc0@@Ao6000010000000000"};
	static const char *const greatest = "mqw20h<sl%nSc0%nSc0klR2!0003100000";
	char text[sizeof golden];
	struct window window;
	uint64_t epoch;

	for (size_t at = 0; at < sizeof golden - 1; ++at) {
		for (unsigned value = 1; value < 256; ++value) {
			memcpy(text, golden, sizeof golden);
			if (text[at] == (char)value)
				continue;
			text[at] = (char)value;
			window_init(&window, 1000);
			CHECK_EQ(window_text_decode(&window, text, &epoch), WINDOW_E_FOREIGN);
			CHECK_EQ(window_next(&window), 1000);
			window_deinit(&window);
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(odd); ++i) {
		window_init(&window, 5);
		CHECK_EQ(window_text_decode(&window, odd[i], &epoch), WINDOW_E_FOREIGN);
	}
	window_init(&window, 5);
	CHECK_EQ(window_text_decode(&window, greatest, &epoch), 0);
	CHECK_EQ(epoch, WINDOW_EPOCH_MAX);
	window_init(&window, 999); // another position than it was written for
	CHECK_EQ(window_text_decode(&window, golden, &epoch), WINDOW_E_FOREIGN);
	CHECK_EQ(window_text_decode(&window, "", &epoch), 0);
	window_deinit(&window);
}

#define TIME_MOST ((1ull << 49) - 1) // of all numbers that it holds

static void the_fullest_window_fits(void)
{
	struct window window, back;
	uint64_t epoch;
	char *text;

	window_init(&window, UINT64_MAX / 4);
	add(&window, window.base, window.base + WINDOW_POSITIONS);
	for (uint64_t i = 1; i < WINDOW_POSITIONS; ++i) {
		uint64_t offset = window.base + i;

		if (i % 64 == 33) {
			for (uint32_t attempt = 1; attempt < WINDOW_ATTEMPTS; ++attempt) {
				CHECK_EQ(window_nack(&window, offset, attempt, 0), WINDOW_OK);
				CHECK_EQ(window_take(&window, offset), attempt + 1);
			}
			CHECK_EQ(window_nack(&window, offset, WINDOW_ATTEMPTS, TIME_MOST),
				 WINDOW_OK);
		} else if (i % 2) {
			ack(&window, offset, 1);
		}
	}
	ack(&window, window.base + WINDOW_POSITIONS - 2, 1);
	window.shift_ms = INT64_MAX / (1 << 16) - 1;
	window.counts = (struct consumed_counts){TIME_MOST, TIME_MOST, TIME_MOST, TIME_MOST};
	CHECK_EQ(window.mark_count, WINDOW_MARKS);
	text = window_text_encode(&window, WINDOW_EPOCH_MAX, TIME_MOST - 10);
	CHECK(strlen(text) <= WINDOW_TEXT);
	for (const char *at = text; *at; ++at)
		CHECK(*at > ' ' && *at < 127);
	window_init(&back, window.base);
	CHECK_EQ(window_text_decode(&back, text, &epoch), 0);
	CHECK(memcmp(&back.counts, &window.counts, sizeof back.counts) == 0);
	CHECK_EQ(back.shift_ms, window.shift_ms);
	CHECK_EQ(back.waiting, WINDOW_MARKS);
	CHECK_EQ(back.open + back.waiting, window.flight + window.open + window.waiting);
	window_deinit(&window);
	window_deinit(&back);
	free(text);
}

// ---- random schedules

enum { POSITIONS = 700 };

struct model {
	enum { UNSEEN, FLIGHT, OPEN, WAITING, DONE } state[POSITIONS];
	uint32_t attempt[POSITIONS]; // in flight: this one; else how many have ended
	uint64_t due[POSITIONS];
	uint64_t next, now;
};

static uint64_t random_state;

static uint64_t random_next(uint64_t below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % below;
}

static void compare(const struct window *window, const struct model *model)
{
	uint32_t counts[DONE + 1] = {0}, marks = 0;
	uint64_t first_open = model->next;

	for (uint64_t i = 0; i < model->next; ++i) {
		bool open = model->state[i] != DONE;

		++counts[model->state[i]];
		marks += open && model->attempt[i] > (model->state[i] == FLIGHT);
		if (open && first_open == model->next)
			first_open = i;
	}
	CHECK_EQ(window->flight, counts[FLIGHT]);
	CHECK_EQ(window->open, counts[OPEN]);
	CHECK_EQ(window->waiting, counts[WAITING]);
	CHECK_EQ(window->mark_count, marks);
	CHECK_EQ(window->base, first_open);
	CHECK_EQ(window_next(window), model->next);
}

static void restart(struct window *window, struct model *model)
{
	struct window fresh;
	uint64_t epoch;
	char *text = window_text_encode(window, 7, model->now);

	window_init(&fresh, window->base);
	CHECK_EQ(window_text_decode(&fresh, text, &epoch), 0);
	CHECK_EQ(epoch, 7);
	free(text);
	window_deinit(window);
	*window = fresh;
	for (uint64_t i = 0; i < model->next; ++i) {
		if (model->state[i] == FLIGHT) {
			model->state[i] = OPEN;
			model->attempt[i]--;
		}
		if (i >= window_next(window)) {
			CHECK(model->state[i] == OPEN && model->attempt[i] == 0);
			model->state[i] = UNSEEN;
		}
	}
	model->next = window_next(window);
}

static void step_nack(struct window *window, struct model *model, uint64_t offset, uint32_t attempt)
{
	uint64_t due = random_next(3) ? model->now + 1 + random_next(50) : 0;
	bool fits = model->state[offset] == FLIGHT && attempt == model->attempt[offset];
	enum window_result result = window_nack(window, offset, attempt, due);

	if (!fits) {
		CHECK_EQ(result, WINDOW_STALE);
		return;
	}
	if (result == WINDOW_CROWDED) {
		CHECK(attempt > WINDOW_ATTEMPTS || window->mark_count == WINDOW_MARKS);
		window_leave(window, offset);
		model->state[offset] = DONE;
		return;
	}
	CHECK_EQ(result, WINDOW_OK);
	model->state[offset] = due ? WAITING : OPEN;
	model->due[offset] = due;
}

static void step_hand_out(struct window *window, struct model *model)
{
	uint64_t offset, until;

	model->now += random_next(20);
	window_wake(window, model->now);
	for (uint64_t i = 0; i < model->next; ++i)
		if (model->state[i] == WAITING && model->due[i] <= model->now)
			model->state[i] = OPEN;
	if (!window_first_open(window, 1 + (uint32_t)random_next(100), &offset, &until)) {
		for (uint64_t i = 0; i < model->next; ++i)
			CHECK(model->state[i] != OPEN);
		return;
	}
	for (uint64_t i = 0; i < offset; ++i)
		CHECK(model->state[i] != OPEN); // the first one
	CHECK_EQ(model->state[until - 1], OPEN);
	model->state[offset] = FLIGHT;
	CHECK_EQ(window_take(window, offset), ++model->attempt[offset]);
}

static void step_truncate(struct window *window, struct model *model)
{
	uint64_t first = random_next(model->next + 1);

	window_truncate(window, first);
	for (uint64_t i = 0; i < first; ++i)
		if (model->state[i] == OPEN || model->state[i] == WAITING)
			model->state[i] = DONE;
}

static void schedule(uint64_t seed)
{
	struct model model = {.now = 1};
	struct window window;

	random_state = seed * 2654435761u + 88172645463325252ull;
	window_init(&window, 0);
	for (unsigned step = 0; step < 4000; ++step) {
		uint64_t offset = model.next ? random_next(model.next) : 0;
		uint32_t attempt = model.attempt[offset] + (random_next(20) == 0);
		bool fits = model.next && model.state[offset] == FLIGHT &&
			    attempt == model.attempt[offset];

		switch (random_next(9)) {
		case 0:
		case 1:
			if (model.next == POSITIONS)
				break;
			model.state[model.next] = random_next(10) ? FLIGHT : DONE;
			model.attempt[model.next] = 1;
			CHECK_EQ(window_add(&window, model.next, model.state[model.next] == DONE),
				 0);
			++model.next;
			break;
		case 2:
		case 3:
			CHECK_EQ(window_ack(&window, offset, attempt),
				 fits ? WINDOW_OK : WINDOW_STALE);
			if (fits)
				model.state[offset] = DONE;
			break;
		case 4: step_nack(&window, &model, offset, attempt); break;
		case 5:
			CHECK_EQ(window_release(&window, offset, attempt),
				 fits ? WINDOW_OK : WINDOW_STALE);
			if (fits) {
				model.state[offset] = OPEN;
				model.attempt[offset]--;
			}
			break;
		case 6:
		case 7: step_hand_out(&window, &model); break;
		default:
			if (random_next(100) == 0)
				restart(&window, &model);
			else if (random_next(200) == 0)
				step_truncate(&window, &model);
		}
		compare(&window, &model);
	}
	window_deinit(&window);
}

static void random_schedules(void)
{
	const char *seed = getenv("SEED");

	for (uint64_t i = seed ? strtoull(seed, NULL, 10) : 1, end = seed ? i + 1 : 40; i < end;
	     ++i) {
		fprintf(stderr, "\rSEED=%llu ", (unsigned long long)i);
		schedule(i);
	}
	fputc('\n', stderr);
}

UNIT_MAIN(UNIT_CASE(acks_move_the_base), UNIT_CASE(nacks_come_again),
	  UNIT_CASE(open_stretches_are_read_together), UNIT_CASE(limits_say_when_to_leave),
	  UNIT_CASE(truncation_passes_what_is_gone), UNIT_CASE(text_is_golden),
	  UNIT_CASE(damaged_text_is_foreign), UNIT_CASE(the_fullest_window_fits),
	  UNIT_CASE(random_schedules))
