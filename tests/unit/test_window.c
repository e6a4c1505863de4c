// adapters/log/window: single steps, the metadata there and back, damage, and random schedules
// against a plain model.

#include "adapters/log/window.h"
#include "tests/unit/unit.h"

static void acks_move_the_base(void)
{
	struct window window;

	window_init(&window, 100, 0);
	for (uint64_t offset = 100; offset < 105; ++offset)
		CHECK_EQ(window_add_flight(&window, offset), 0);
	CHECK(window_ack(&window, 102, 1) && window_ack(&window, 101, 1));
	CHECK_EQ(window.base, 100);
	CHECK(!window_ack(&window, 101, 1)); // twice
	CHECK(!window_ack(&window, 100, 2)); // another attempt
	CHECK(window_ack(&window, 100, 1));
	CHECK_EQ(window.base, 103);
	CHECK_EQ(window.flight, 2);
	CHECK_EQ(window_add_flight(&window, 110), 0); // 105 … 109 hold no message
	CHECK(window_ack(&window, 103, 1) && window_ack(&window, 104, 1));
	CHECK_EQ(window.base, 110);
	window_deinit(&window);
}

static void nacks_come_again(void)
{
	struct window window;
	uint64_t offset;

	window_init(&window, 0, 0);
	for (uint64_t i = 0; i < 3; ++i)
		window_add_flight(&window, i);
	CHECK(window_nack(&window, 1, 1, 500));
	CHECK(window_release(&window, 2, 1));
	CHECK(window_peek(&window, 0, &offset) && offset == 2);
	CHECK_EQ(window_take(&window, 2, 0), 1); // released: still the first attempt
	CHECK(!window_peek(&window, 499, &offset));
	CHECK_EQ(window_next_due_ms(&window), 500);
	CHECK_EQ(window_take(&window, 1, 499), 0);
	CHECK(window_peek(&window, 500, &offset) && offset == 1);
	CHECK_EQ(window_take(&window, 1, 500), 2);
	CHECK(!window_ack(&window, 1, 1) && window_ack(&window, 1, 2));
	window_deinit(&window);
}

static void truncation_passes_what_is_gone(void)
{
	struct window window;
	uint64_t offset;

	window_init(&window, 0, 0);
	for (uint64_t i = 0; i < 5; ++i)
		window_add_flight(&window, i);
	window_nack(&window, 0, 1, 0);
	window_ack(&window, 3, 1);
	window_truncate(&window, 3);
	CHECK_EQ(window.base, 4);
	CHECK(!window_peek(&window, 1000, &offset));
	CHECK_EQ(window.flight, 1);
	window_truncate(&window, 50);
	CHECK_EQ(window_next(&window), 50);
	CHECK_EQ(window.flight, 0);
	window_deinit(&window);
}

static void text_is_golden(void)
{
	struct window window, back;
	uint64_t epoch;
	char *text;

	window_init(&window, 1000, 0);
	for (uint64_t offset = 1000; offset < 1008; ++offset)
		window_add_flight(&window, offset);
	window_ack(&window, 1001, 1);
	window_ack(&window, 1002, 1);
	window_nack(&window, 1004, 1, 1700000000000);
	window_nack(&window, 1005, 1, 0);
	window_add_delayed(&window, 1008, 36);
	window_add_flight(&window, 1009);
	text = window_encode(&window, 37);
	CHECK_STR(text, "mqp1:11:O1A2O1R1.loyw3v28R1.0O2D10:a506aca7");
	window_init(&back, 1000, 0);
	CHECK_EQ(window_decode(&back, text, &epoch), 0);
	CHECK_EQ(epoch, 37);
	CHECK_EQ(window_next(&back), 1009);
	CHECK_EQ(back.retrying, 2);
	CHECK_EQ(back.delayed, 1);
	CHECK_EQ(back.untried, 4);
	window_deinit(&window);
	window_deinit(&back);
	free(text);
}

static void damaged_text_is_foreign(void)
{
	static const char good[] = "mqp1:11:O1A2O1R1.loyw3v28R1.0O2D10:a506aca7";
	struct window window;
	uint64_t epoch;
	char text[sizeof good];

	for (size_t at = 0; at < sizeof good - 1; ++at) {
		for (unsigned value = 1; value < 128; ++value) {
			memcpy(text, good, sizeof good);
			if (text[at] == (char)value)
				continue;
			text[at] = (char)value;
			window_init(&window, 5, 0);
			CHECK_EQ(window_decode(&window, text, &epoch), WINDOW_E_FOREIGN);
			CHECK_EQ(window_next(&window), 5);
			window_deinit(&window);
		}
	}
	window_init(&window, 5, 0);
	CHECK_EQ(window_decode(&window, "written by somebody else", &epoch), WINDOW_E_FOREIGN);
	CHECK_EQ(window_decode(&window, "", &epoch), 0);
	window_deinit(&window);
}

// ---- random schedules

enum { POSITIONS = 600 };

struct model {
	enum { UNSEEN, FLIGHT, WAITING, DONE } state[POSITIONS];
	uint32_t attempt[POSITIONS];
	uint64_t due[POSITIONS];
};

static uint64_t random_state;

static uint64_t random_next(uint64_t below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % below;
}

static void compare(const struct window *window, const struct model *model, uint64_t next)
{
	uint32_t flight = 0, waiting = 0;
	uint64_t first_open = next;

	for (uint64_t i = 0; i < next; ++i) {
		flight += model->state[i] == FLIGHT;
		waiting += model->state[i] == WAITING;
		if (model->state[i] != DONE && first_open == next)
			first_open = i;
	}
	CHECK_EQ(window->flight, flight);
	CHECK_EQ(window->retrying + window->delayed + window->untried, waiting);
	CHECK_EQ(window->base, first_open);
	CHECK_EQ(window_next(window), next);
}

static void restart(struct window *window, struct model *model, uint64_t *next)
{
	struct window fresh;
	uint64_t epoch;
	char *text = window_encode(window, 7);

	window_init(&fresh, window->base, 0);
	CHECK_EQ(window_decode(&fresh, text, &epoch), 0);
	CHECK_EQ(epoch, 7);
	free(text);
	window_deinit(window);
	*window = fresh;
	for (uint64_t i = 0; i < *next; ++i) {
		if (i >= window_next(window)) {
			CHECK(model->state[i] != DONE);
			model->state[i] = UNSEEN;
			model->attempt[i] = 0;
		} else if (model->state[i] == FLIGHT) {
			model->state[i] = WAITING;
			model->attempt[i]--;
			model->due[i] = 0;
		}
	}
	*next = window_next(window);
}

static bool same(bool answer, bool expected)
{
	CHECK_EQ(answer, expected);
	return expected;
}

static void schedule(uint64_t seed)
{
	struct model model = {0};
	struct window window;
	uint64_t next = 0, now = 1;

	random_state = seed * 2654435761u + 88172645463325252ull;
	window_init(&window, 0, 0);
	for (unsigned step = 0; step < 3000; ++step) {
		uint64_t offset = next ? random_next(next) : 0,
			 due = random_next(3) ? now + random_next(50) : 0, top;
		bool in_flight = next && model.state[offset] == FLIGHT;
		uint32_t attempt = model.attempt[offset] + (random_next(20) == 0);
		bool fits = in_flight && attempt == model.attempt[offset];

		switch (random_next(8)) {
		case 0:
		case 1:
			if (next < POSITIONS) {
				model.state[next] = FLIGHT;
				model.attempt[next] = 1;
				CHECK_EQ(window_add_flight(&window, next++), 0);
			}
			break;
		case 2:
		case 3:
			if (next && same(window_ack(&window, offset, attempt), fits))
				model.state[offset] = DONE;
			break;
		case 4:
			if (next && same(window_nack(&window, offset, attempt, due), fits)) {
				model.state[offset] = WAITING;
				model.due[offset] = due;
			}
			break;
		case 5:
			if (next && same(window_release(&window, offset, attempt), fits)) {
				model.state[offset] = WAITING;
				model.due[offset] = 0;
				model.attempt[offset]--;
			}
			break;
		case 6:
			now += random_next(20);
			if (window_peek(&window, now, &top)) {
				CHECK(model.state[top] == WAITING && model.due[top] <= now);
				model.state[top] = FLIGHT;
				CHECK_EQ(window_take(&window, top, now), ++model.attempt[top]);
			} else {
				for (uint64_t i = 0; i < next; ++i)
					CHECK(model.state[i] != WAITING || model.due[i] > now);
			}
			break;
		default:
			if (random_next(100) == 0)
				restart(&window, &model, &next);
		}
		compare(&window, &model, next);
	}
	window_deinit(&window);
}

static void random_schedules(void)
{
	const char *seed = getenv("SEED");

	for (uint64_t i = seed ? strtoull(seed, NULL, 10) : 1, end = seed ? i + 1 : 60; i < end;
	     ++i) {
		fprintf(stderr, "\rSEED=%llu ", (unsigned long long)i);
		schedule(i);
	}
	fputc('\n', stderr);
}

UNIT_MAIN(UNIT_CASE(acks_move_the_base), UNIT_CASE(nacks_come_again),
	  UNIT_CASE(truncation_passes_what_is_gone), UNIT_CASE(text_is_golden),
	  UNIT_CASE(damaged_text_is_foreign), UNIT_CASE(random_schedules))
