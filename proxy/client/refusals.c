// Writes the log lines of connections that end before they are authenticated: at most RATE lines in
// a period, and one that counts the others.
//
// A line for each would let any client that can connect fill the disk and hide other lines among
// thousands of failed logins a second. The counts are by answer; the address of the last says where
// to look.

#include "proxy/client/refusals.h"

#include "proxy/base/worker.h"
#include "proxy/client/clients.h"
#include "proxy/client/conn.h"

#include <stdio.h>

#define PERIOD_NS (10 * S_NS)
#define RATE      20u // lines of a period and worker

static void on_period(struct loop_timer *timer);

void refusals_init(struct refusals *refusals, struct loop *loop)
{
	loop_timer_init(&refusals->timer, loop, on_period);
}

uint64_t refusals_counts_text(const uint64_t counts[CODE_COUNT], char *text, size_t room)
{
	uint64_t total = 0;
	size_t used = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < CODE_COUNT; ++i) {
		if (!counts[i])
			continue;
		total += counts[i];
		if (used < room)
			used += (size_t)snprintf(text + used, room - used, "%s%s %llu",
						 used ? ", " : "",
						 i == CODE_OK ? "CLOSED" : code_name(i),
						 (unsigned long long)counts[i]);
	}
	return total;
}

static uint64_t counts_text(const struct refusals *refusals, char *text, size_t room)
{
	uint64_t total = refusals_counts_text(refusals->counts, text, room);
	size_t used = strlen(text);

	if (refusals->turned_away)
		snprintf(text + used, room - used, "%sgave way %llu", used ? ", " : "",
			 (unsigned long long)refusals->turned_away);
	return total + refusals->turned_away;
}

static void write_counts(struct refusals *refusals)
{
	struct log_ctx log = {.peer = refusals->last};
	char text[400];
	uint64_t total = counts_text(refusals, text, sizeof text);

	if (total)
		log_warn(&log, "CONN-REFUSED",
			 "%llu more connections ended before they were authenticated: %s; this was "
			 "the last",
			 (unsigned long long)total, text);
	memset(refusals->counts, 0, sizeof refusals->counts);
	refusals->turned_away = 0;
	refusals->written = 0;
}

static void on_period(struct loop_timer *timer)
{
	write_counts(CONTAINER_OF(timer, struct refusals, timer));
}

void refusals_deinit(struct refusals *refusals)
{
	loop_timer_cancel(&refusals->timer);
	write_counts(refusals);
}

static void begin_period(struct refusals *refusals)
{
	if (!refusals->timer.at_ns)
		loop_timer_set(&refusals->timer, loop_now_ns(refusals->timer.loop) + PERIOD_NS);
}

static bool may_write(struct refusals *refusals)
{
	begin_period(refusals);
	if (refusals->written >= RATE)
		return false;
	++refusals->written;
	return true;
}

void refusals_ended(struct conn *conn, enum code code, const char *text)
{
	struct refusals *refusals = &conn->worker->clients->refusals;
	struct log_ctx log = conn_log(conn);

	if (may_write(refusals)) {
		log_info(&log, "CONN-CLOSE", "closed: %s%s%s", code_name(code), text ? ", " : "",
			 text ? text : "");
		return;
	}
	++refusals->counts[code];
	snprintf(refusals->last, sizeof refusals->last, "%s", conn->peer);
}

void refusals_turned_away(struct refusals *refusals, const char *peer)
{
	begin_period(refusals);
	++refusals->turned_away;
	snprintf(refusals->last, sizeof refusals->last, "%s", peer);
}
