// Login: from a stream to a connection that channels can be opened on.
#pragma once

#include "adapters/rabbitmq/link/connection.h"

// Blocks until the deadline at most. False: the connection has failed, and its error says why.
bool rabbitmq_login(struct rabbitmq_connection *connection, const struct rabbitmq_options *options,
		    const char *name, uint64_t deadline_ns);
