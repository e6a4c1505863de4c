// Publishes on the send link, in order, with confirms: batches of the proxy, and single messages of
// the adapter itself (copies).
#pragma once

#include "adapters/rabbitmq/link/rabbitmq_adapter.h"

int rabbitmq_sender_start(struct adapter *adapter); // the link is there
// Waits for what is under way, at most timeout_ms while the cluster answers; then answers the rest,
// and from then on everything at once, SHUTTING_DOWN. Blocks. @thread any but the link's
void rabbitmq_sender_stop(struct adapter *adapter);
void rabbitmq_sender_free(struct adapter *adapter); // the links are stopped; no topic is open

// The slot of the adapter. @thread any
void rabbitmq_sender_submit(struct adapter *adapter, struct submit *submit);

// One message of the adapter's own, to a queue by the default exchange. Owned by the caller until
// done(), which comes once.
struct rabbitmq_post {
	const char *queue; // its name
	struct buf *buf;   // referenced
	const uint8_t *record;
	bool native;
	uint32_t partition;
	// What `mqp-copy` says.
	uint32_t attempts;
	uint64_t due_ms;
	int64_t stored_ms;
	bool renewal;
	// OUTCOME_OK: confirmed. OUTCOME_REJECTED: certainly not stored: NO_ROUTE: there is no such
	// queue. @thread send link
	void (*done)(struct rabbitmq_post *post, enum outcome outcome, enum code code,
		     const char *text);
	// sender.c's.
	struct list in_queue;
	uint64_t posted_ns;
	bool admitted;
};
void rabbitmq_sender_post(struct adapter *adapter, struct rabbitmq_post *post); // @thread any
