// The retry store's part of a commit of a source.
#pragma once

#include "adapters/kafka/client/kafka_adapter.h"
#include "adapters/log/log.h"

// The retry store's part of a commit (retry_commit.c): brings the records and writes all; `done` on
// any thread.
void retry_commit(struct adapter *adapter, struct log_cursors *commit,
		  void (*done)(void *ctx, enum code code, const char *text), void *ctx);
