// The log lines of a tenant's sessions: some are written one by one, the rest is counted.
#pragma once

#include "core/base/code.h"
#include "core/loop/loop.h"

#include <stdbool.h>

struct conn;
struct tenant_clients;

// A worker's, for one tenant.
struct session_lines {
	struct loop_timer timer; // set while something has been written or counted
	uint32_t written[2];     // of this period: what clients do by themselves, what is wrong
	uint64_t begun, ended[CODE_COUNT]; // not written
};

void session_lines_init(struct tenant_clients *clients);
void session_lines_deinit(struct tenant_clients *clients); // writes what is left
void session_lines_ready(struct conn *conn);
void session_lines_closed(struct conn *conn, enum code code, const char *text);
