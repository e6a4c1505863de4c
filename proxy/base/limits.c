// Default limits for tests and stand-ins; the daemon takes its own from the table of settings.

#include "proxy/base/limits.h"

const struct proxy_limits proxy_limits_default = {
	.unauthenticated = 1024,
	.ready_ms = 10000,
	.keepalive_ms = 30000,
	.max_frame = 4u << 20,
	.max_message = 1u << 20,
	.window = 256u << 10,
	.window_max = 4u << 20,
	.tenant_window = 64u << 20,
	.output = 1u << 20,
	.stalled_ms = 30000,
	.streams = 65536,
	.source_idle_ms = 30000,
	.message_memory = 512ull << 20,
	.probe_timeout_ms = 10000,
};
