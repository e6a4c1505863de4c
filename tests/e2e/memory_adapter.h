// A backend for tests of the data plane: a log in memory, with faults on command.
//
// What a submit does is chosen by the topic's physical name: "full…" is REJECTED(BACKEND_FULL),
// "unknown…" is UNKNOWN, "slow…" completes on another thread after 300 ms, "heal…" is rejected,
// "noroute…" REJECTED(NO_ROUTE) and "clear…" UNKNOWN until its third batch, of "half…" every second
// record is REJECTED(BACKEND_FULL), everything else is stored and answered at once. What was given
// out of "again…" comes again after 200 ms, in any hands. A source of "lose…" loses all that is
// out, once, 200 ms after it has begun to hand out; it comes again 200 ms later.
#pragma once

#include "adapters/adapter.h"

const struct adapter_ops *memory_adapter_find(const char *kind);
