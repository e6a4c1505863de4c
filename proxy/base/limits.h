// What bounds connections and queues, as the settings say.
#pragma once

#include <stdint.h>

// Bounds of docs/dataplane.md. A setting is a row of the server's table; 0 is not "unlimited".
struct proxy_limits {
	uint32_t unauthenticated; // connections a worker
	uint32_t ready_ms;        // from accept to READY
	uint32_t keepalive_ms;    // PING after this long without a byte; closed after twice as long
	uint32_t max_frame;       // payload bytes
	uint32_t max_message;     // largest record, whatever tenant and topic allow
	uint32_t window;          // base produce window
	uint32_t window_max;      // of a busy connection
	uint64_t tenant_window;   // of all that is above the base, a tenant and worker
	uint32_t output;          // undelivered bytes a subscription, and replies a connection
	uint32_t stalled_ms;      // closed after this long without progress in writing
	uint32_t streams;         // of a connection
	uint32_t source_idle_ms;  // a group's source is closed after this long without consumers
	uint64_t message_memory;  // of all messages in the process; shares are in budget.c
	uint32_t probe_interval_ms; // between two probes of a cluster; 0: none
	uint32_t probe_timeout_ms;  // a probe that is not done by then has failed
};
extern const struct proxy_limits proxy_limits_default;
