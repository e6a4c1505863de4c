// The script that leases parts of limits, as quota/share.lua has it, function by function.

#include "tests/sim/share_script.h"

#include "core/base/util.h"

#include <math.h>

#define WRAP 281474976710656.0
#define FINE 1024.0

// Who asks, and the books of the bucket as they are before it is written.
struct run {
	struct script_books *books;
	struct script_entry *mine; // NULL: none
	char proxy;
	uint64_t life, number;
	double proxies, now;
};

static struct script_books *books_of(struct share_script *script, uint64_t id)
{
	for (size_t i = 0; i < SCRIPT_BUCKETS; ++i) {
		struct script_books *books = &script->books[i];

		if (books->id == id)
			return books;
		if (books->id == 0) {
			*books = (struct script_books){.id = id, .last = -1};
			return books;
		}
	}
	abort();
}

static void books_read(struct run *run, double stale)
{
	struct script_books *books = run->books;
	double back = books->last > run->now ? books->last - run->now : 0;

	run->mine = NULL;
	if (books->last < 0 || run->now - books->last > stale) {
		*books =
			(struct script_books){.id = books->id, .last = run->now, .since = run->now};
		return;
	}
	books->last -= back;
	books->since -= back;
	for (size_t i = 0; i < SCRIPT_PROXIES; ++i) {
		struct script_entry *entry = &books->entries[i];

		if (!entry->proxy)
			continue;
		entry->at -= back;
		if (run->now - entry->at > stale) {
			books->level += entry->pace * (books->last - entry->at) / 1000000;
			entry->proxy = 0;
		}
		if (entry->proxy == run->proxy)
			run->mine = entry;
	}
}

static bool is_other(const struct run *run, size_t i)
{
	return run->books->entries[i].proxy && &run->books->entries[i] != run->mine;
}

static double sum_at(const struct run *run, size_t offset)
{
	double all = 0;

	for (size_t i = 0; i < SCRIPT_PROXIES; ++i)
		if (is_other(run, i))
			all += *(const double *)(const void *)((const char *)&run->books
								       ->entries[i] +
							       offset);
	return all;
}

#define SUM(run, what) sum_at(run, offsetof(struct script_entry, what))

static double others(const struct run *run)
{
	double count = 0;

	for (size_t i = 0; i < SCRIPT_PROXIES; ++i)
		count += is_other(run, i);
	return count;
}

static void books_write(struct run *run, double used, double pace, double demand, double credit)
{
	struct script_entry *mine = run->mine;

	for (size_t i = 0; !mine; ++i) {
		assert(i < SCRIPT_PROXIES);
		if (!run->books->entries[i].proxy)
			mine = &run->books->entries[i];
	}
	*mine = (struct script_entry){run->proxy, run->life, run->number, used,
				      pace,       demand,    credit,      run->now};
}

static bool is_old(const struct run *run)
{
	return run->mine && run->mine->life == run->life && run->mine->number >= run->number;
}

static double held_by_others(const struct run *run)
{
	double all = 0;

	for (size_t i = 0; i < SCRIPT_PROXIES; ++i) {
		const struct script_entry *entry = &run->books->entries[i];

		if (is_other(run, i) && entry->demand > entry->pace)
			all += entry->credit;
		else if (is_other(run, i))
			all += fmin(entry->credit + entry->pace * (run->now - entry->at) / 1000000,
				    fmax(entry->credit, entry->pace / 5));
	}
	return all;
}

static double taken_since(const struct script_entry *mine, double used)
{
	double taken = used < mine->used ? used - mine->used + WRAP : used - mine->used;

	return taken >= WRAP / 2 ? 0 : taken;
}

static double level_now(const struct run *run, double limit, const struct share_row *row)
{
	const struct script_books *books = run->books;
	const struct script_entry *mine = run->mine;
	double credit = (double)row->credit, held = held_by_others(run) + credit,
	       paces = SUM(run, pace) + (mine ? mine->pace : 0), taken, most;
	double level = books->level + (limit - paces) * (run->now - books->last) / 1000000;

	if (mine && mine->life == run->life) {
		taken = taken_since(mine, (double)row->used) * FINE;
		level = level + mine->pace * (run->now - mine->at) / 1000000 - taken -
			(credit - mine->credit);
	} else {
		taken = (double)row->missed * FINE;
		level = level - taken - credit;
	}
	if (row->kind == SHARE_RETURN)
		level += credit;
	most = fmax(FINE * fmax(run->proxies, others(run) + 1),
		    fmin(limit / 16, limit / 5 - held - taken));
	return floor(fmax(fmin(level, most), -limit / 2));
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double fair_part(const struct run *run, double left, double demand)
{
	double demands[SCRIPT_PROXIES + 1] = {demand};
	size_t count = 1;

	for (size_t i = 0; i < SCRIPT_PROXIES; ++i)
		if (is_other(run, i))
			demands[count++] = run->books->entries[i].demand;
	qsort(demands, count, sizeof demands[0], compare);
	for (size_t i = 0; i < count; ++i) {
		double part = left / (double)(count - i);

		if (demands[i] >= part)
			return fmin(demand, part);
		left -= demands[i];
	}
	return demand;
}

static double rate_share(struct run *run, const struct share_row *row)
{
	double limit = (double)row->limit, demand = (double)row->demand, demands, parts, most,
	       given, pace;

	books_read(run, 1000000);
	if (is_old(run))
		return run->mine->pace;
	run->books->level = level_now(run, limit, row);
	run->books->last = run->now;
	if (row->kind == SHARE_RETURN) {
		if (run->mine)
			run->mine->proxy = 0;
		return 0;
	}
	demands = demand + SUM(run, demand);
	parts = fmax(run->proxies, others(run) + 1);
	most = demands > limit ? limit * 1.25 : limit;
	given = fmin(most, fmax(limit / 2, limit + run->books->level / 0.2));
	if (run->now - run->books->since < 250000)
		pace = fmin((double)row->holds, limit);
	else if (demands <= given)
		pace = demand + (given - demands) / parts;
	else
		pace = fair_part(run, given, demand);
	pace = fmin(pace, given - SUM(run, pace));
	pace = floor(fmax(fmax(pace, limit / 64 / parts), 1));
	books_write(run, (double)row->used, pace, demand, (double)row->credit);
	return pace;
}

static double count_share(struct run *run, const struct share_row *row)
{
	double limit = (double)row->limit, used = (double)row->used, holds = (double)row->holds,
	       free, part;

	books_read(run, 3000000);
	if (is_old(run))
		return run->mine->demand;
	run->books->last = run->now;
	free = fmax(0, limit - used - SUM(run, used));
	if (run->now - run->books->since < 1250000) {
		part = fmin(holds, limit);
	} else {
		part = fmax(run->proxies, others(run) + 1);
		part = used + (row->demand > 0 ? ceil(free / 2) : floor(free / 2 / part));
	}
	part = fmax(0, fmin(part, limit - SUM(run, pace)));
	books_write(run, used, fmax(part, holds), part, 0);
	return part;
}

void share_script_run(struct share_script *script, char proxy, uint64_t life, uint64_t proxies,
		      const struct share_call *call, uint64_t now_us, uint64_t *granted)
{
	for (size_t i = 0; i < call->count; ++i) {
		const struct share_row *row = &call->rows[i];
		struct run run = {.books = books_of(script, row->id),
				  .proxy = proxy,
				  .life = life,
				  .number = call->number,
				  .proxies = (double)proxies,
				  .now = (double)now_us};

		granted[i] = (uint64_t)(row->kind == SHARE_COUNT ? count_share(&run, row)
								 : rate_share(&run, row));
	}
}
