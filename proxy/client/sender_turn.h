// What a stream was told about the quota of its tenant: proxy/client/turn.c.
#pragma once

#include "core/base/list.h"
#include "quota/quota.h"

// A stream's part. It is told how many messages it may send and from when on (THROTTLE), each time
// that it has used up what it was told.
struct sender_turn {
	struct quota_turn quota;
	struct list in_tenant; // member of tenant->clients->turns while something is promised
	uint64_t told;         // messages, of these not sent
	uint64_t size;         // of its messages, about
	bool joined;
	bool limited; // it was told a number
};
