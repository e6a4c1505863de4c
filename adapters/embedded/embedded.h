// The adapter `embedded`: a durable log in the daemon's own data directory. What is declared here
// is for tests that look into its stores.
#pragma once

struct adapter {
	struct durable_log *log;
};
