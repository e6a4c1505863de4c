// The list grows by doubling; a span is written in UTC to the millisecond, as the log has it.

#include "adapters/rabbitmq/ask/incident.h"

#include "core/base/util.h"

#include <stdio.h>
#include <time.h>

struct rabbitmq_incident *rabbitmq_incident_add(struct rabbitmq_incidents *to)
{
	if (to->count == to->room) {
		size_t room = MAX(2 * to->room, (size_t)16);
		struct rabbitmq_incident *rows = reallocarray(to->rows, room, sizeof *rows);

		if (!rows)
			return NULL;
		to->rows = rows;
		to->room = room;
	}
	to->rows[to->count] = (struct rabbitmq_incident){0};
	return &to->rows[to->count++];
}

void rabbitmq_incidents_free(struct rabbitmq_incidents *incidents)
{
	free(incidents->rows);
	*incidents = (struct rabbitmq_incidents){0};
}

static void time_write(int64_t wall_ms, char room[32])
{
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm tm;
	size_t length;

	gmtime_r(&seconds, &tm);
	length = strftime(room, 32, "%Y-%m-%d %H:%M:%S", &tm);
	snprintf(room + length, 32 - length, ".%03d", (int)(wall_ms % 1000));
}

void rabbitmq_incident_span(int64_t since_ms, int64_t until_ms, char room[RABBITMQ_INCIDENT_SPAN])
{
	char since[32], until[32];

	time_write(until_ms, until);
	if (!since_ms) {
		snprintf(room, RABBITMQ_INCIDENT_SPAN, "before %s UTC", until);
		return;
	}
	time_write(since_ms, since);
	snprintf(room, RABBITMQ_INCIDENT_SPAN, "between %s and %s UTC", since, until);
}
