// Looks into the retry store: which rows have been seen, and when to look again.
//
// Rows are read in the order of their due times. A look begins behind the last row of the one
// before, so rows that are out already are not read again, however long they stay. A row that is
// written or freed before that point rewinds it to the beginning; while a look is under way the
// point is not known, so that is remembered until its answer is there.
//
// Rows with attempts wait by the steady clock, those without by the wall clock: while the two show
// the same, one look serves both, else each has its own and they take turns.
//
// Invariant: no row lies before the point of its look unless its message is out (retry_inflight.h)
// or source.due_passed tells of it. This file neither reads the store nor knows messages:
// source_retry.c does.

#include "adapters/log/source_look.h"

#include "adapters/log/source_clock.h"

void source_look_rewind(struct source *source, uint64_t due_ms)
{
	for (unsigned i = 0; i < LOOKS; ++i) {
		struct retry_look *look = &source->looks[i];

		if (source->taking && i == source->look)
			source->due_rewound = true; // the point is not known yet
		else if (due_ms <= look->after.due_ms)
			look->after = (struct log_retry){0};
		look->at_ms = MIN(look->at_ms, due_ms);
	}
}

void source_look_advance(struct source *source)
{
	struct retry_look *look = &source->looks[source->look];
	const struct log_due *due = &source->due;

	if (source->due_rewound) {
		look->after = (struct log_retry){0};
	} else if (due->code == CODE_OK && due->count) {
		const struct log_waiting *last = &due->entries[due->count - 1];

		look->after = (struct log_retry){.offset = last->entry.offset,
						 .due_ms = last->due_ms,
						 .partition = last->partition};
	}
}

uint64_t source_look_time(struct source_time now, unsigned look)
{
	return look == LOOK_DELAYS ? now.steady_ms : now.wall_ms;
}

unsigned source_look_count(const struct source *source)
{
	return source->clock.shift_ms ? LOOKS : 1;
}

bool source_look_choose(const struct source *source, struct source_time now, unsigned *ret_look)
{
	unsigned count = source_look_count(source);

	for (unsigned i = 1; i <= count; ++i) {
		*ret_look = (source->look + i) % count;
		if (source_look_time(now, *ret_look) >= source->looks[*ret_look].at_ms)
			return true;
	}
	return false;
}

uint64_t source_look_next_in_ms(const struct source *source, struct source_time now)
{
	uint64_t in_ms = UINT64_MAX;

	for (unsigned i = 0; i < source_look_count(source); ++i)
		in_ms = MIN(in_ms, source_clock_until_ms(source->looks[i].at_ms,
							 source_look_time(now, i)));
	return in_ms;
}
