// Incidents: queues and exchanges of ours that another client has deleted, and queues with messages
// that cannot be handed out; as a list and in words.
// Pure but for memory.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define RABBITMQ_INCIDENT_TEXT 512
#define RABBITMQ_INCIDENT_SPAN 80

struct rabbitmq_incident {
	uint64_t topic, group; // ids; group 0: the exchange of the topic is meant
	int64_t since_ms;      // wall clock: when it was there last; 0: it was not seen
	int64_t until_ms;      // when it was found missing
	char text[RABBITMQ_INCIDENT_TEXT];
};

struct rabbitmq_incidents {
	struct rabbitmq_incident *rows;
	size_t count, room;
};

// One more; NULL: no memory.
struct rabbitmq_incident *rabbitmq_incident_add(struct rabbitmq_incidents *to);
void rabbitmq_incidents_free(struct rabbitmq_incidents *incidents);
// "between 2026-11-30 19:02:50.107 and 2026-11-30 19:02:56.107 UTC"; without a beginning "before
// …".
void rabbitmq_incident_span(int64_t since_ms, int64_t until_ms, char room[RABBITMQ_INCIDENT_SPAN]);
