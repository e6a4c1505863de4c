// Limits the log lines of sessions that begin and end.
//
// A client that connects, leaves and connects again would fill the disk with two lines each time,
// and hide other lines. So a tenant writes at most RATE lines in a period and worker, and one that
// counts the others. Ordinary lines and faults have a rate each: a busy client does not hide its
// own faults.
//
// Connections that end before they are authenticated belong to no tenant: refusals.c.

#include "proxy/client/session_lines.h"

#include "proxy/client/conn.h"
#include "proxy/client/refusals.h"
#include "proxy/client/tenant_clients.h"
#include "proxy/resource/tenant.h"

#define PERIOD_NS (10 * S_NS)
#define RATE      100u // lines of a period, tenant and worker

static struct tenant_view *tenant_of(struct session_lines *lines)
{
	return CONTAINER_OF(lines, struct tenant_clients, lines)->tenant;
}

static void write_counts(struct session_lines *lines)
{
	const struct tenant *model = tenant_of(lines)->model;
	struct log_ctx log = {.tenant = model ? model->name : NULL};
	char text[400];
	uint64_t ended = refusals_counts_text(lines->ended, text, sizeof text);

	if (lines->begun || ended)
		log_info(&log, "CONN-COUNTED",
			 "%llu more connections were authenticated and %llu ended%s%s",
			 (unsigned long long)lines->begun, (unsigned long long)ended,
			 ended ? ": " : "", text);
	memset(lines->ended, 0, sizeof lines->ended);
	memset(lines->written, 0, sizeof lines->written);
	lines->begun = 0;
}

static void on_period(struct loop_timer *timer)
{
	write_counts(CONTAINER_OF(timer, struct session_lines, timer));
}

void session_lines_init(struct tenant_clients *clients)
{
	loop_timer_init(&clients->lines.timer, clients->tenant->worker->loop, on_period);
}

void session_lines_deinit(struct tenant_clients *clients)
{
	loop_timer_cancel(&clients->lines.timer);
	write_counts(&clients->lines);
}

static bool may_write(struct session_lines *lines, bool wrong)
{
	struct loop *loop = tenant_of(lines)->worker->loop;

	if (!lines->timer.at_ns)
		loop_timer_set(&lines->timer, loop_now_ns(loop) + PERIOD_NS);
	if (lines->written[wrong] >= RATE)
		return false;
	++lines->written[wrong];
	return true;
}

void session_lines_ready(struct conn *conn)
{
	struct session_lines *lines = &conn->session.tenant->clients->lines;
	struct log_ctx log = conn_log(conn);

	if (may_write(lines, false))
		log_info(&log, "CONN-READY", "authenticated with key %s",
			 conn->session.key->key_id);
	else
		++lines->begun;
}

void session_lines_closed(struct conn *conn, enum code code, const char *text)
{
	struct session_lines *lines = &conn->session.tenant->clients->lines;
	struct log_ctx log = conn_log(conn);

	if (may_write(lines, code != CODE_OK))
		log_info(&log, "CONN-CLOSE", "closed: %s%s%s", code_name(code), text ? ", " : "",
			 text ? text : "");
	else
		++lines->ended[code];
}
