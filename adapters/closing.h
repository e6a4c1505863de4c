// Closing a cluster on a thread of its own: it waits for the backend's threads, and the caller may
// be a loop, or one of these threads in a completion.
#pragma once

struct adapter;

// Frees the adapter, then done. -ENOMEM or another when there is no thread for it: nothing has
// happened, and nothing will.
int closing_start(struct adapter *adapter, void (*adapter_free)(struct adapter *adapter),
		  void (*done)(void *ctx), void *ctx);
