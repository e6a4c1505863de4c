// The management API of a cluster: asked every few seconds and on demand, on a thread of its own.
#pragma once

#include "adapters/rabbitmq/link/rabbitmq_adapter.h"
#include "adapters/rabbitmq/manage/facts.h"

// What is known of the cluster as a whole.
struct rabbitmq_summary {
	bool known; // the last round was answered; else `error` says why not
	bool ended; // a round has ended, or there is no management API
	char version[32];
	uint32_t nodes, running;
	char alarm[200];    // in words; "": none
	char danger[256];   // what drops acknowledged messages of ours, in words; "": nothing
	char imported[256]; // the same of the queue of an imported group
	char error[320];
};

// A request to the thread. Owned by the caller until done(); lies in it.
struct rabbitmq_manage_ask {
	struct adapter *adapter;
	void (*done)(struct rabbitmq_manage_ask *ask); // @thread rabbitmq-manage
	struct loop_task task;
};

// Calls `use` with the name of each imported queue.
typedef void (*rabbitmq_imported_fn)(struct adapter *adapter,
				     void (*use)(void *ctx, const char *queue), void *ctx);

// `changed`: after every round. Does nothing when there is no address.
int rabbitmq_manage_start(struct adapter *adapter, rabbitmq_imported_fn imported,
			  void (*changed)(struct adapter *adapter));
// Ends what is under way and answers the rest; nothing is called any more. @thread any but its own
void rabbitmq_manage_stop(struct adapter *adapter);

void rabbitmq_manage_summary(struct adapter *adapter, struct rabbitmq_summary *ret); // @thread any
// A round now, then done(); when the cluster is being closed, only that. Only where
// adapter->manage is there. @thread any
void rabbitmq_manage_refresh(struct rabbitmq_manage_ask *ask);
// Calls done() on the thread without a round; it may ask there with those below. @thread any
void rabbitmq_manage_post(struct rabbitmq_manage_ask *ask);

// What lies in the vhost. -EIO with `error` in words. @thread rabbitmq-manage
int rabbitmq_manage_exchanges(struct adapter *adapter, struct rabbitmq_exchanges *ret,
			      char error[320]);
int rabbitmq_manage_bindings(struct adapter *adapter, struct rabbitmq_bindings *ret,
			     char error[320]);
int rabbitmq_manage_queues(struct adapter *adapter, struct rabbitmq_queues *ret, char error[320]);
// Sorted by queue. The names of their connections are left out where they cannot be had.
int rabbitmq_manage_clients(struct adapter *adapter, struct rabbitmq_clients *ret, char error[320]);

// The queues of the last round, for as long as the callback runs, in which nothing else of this
// header may be called. NULL: not known. @thread any
void rabbitmq_manage_with_queues(struct adapter *adapter,
				 void (*use)(const struct rabbitmq_queues *queues, void *ctx),
				 void *ctx);
