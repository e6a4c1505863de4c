// One thing that an operator asks of a cluster: a request of the contract (adapters/request.h) that
// runs on the admin loop (task.h) and may block there.
#pragma once

#include "adapters/kafka/client/task.h"
#include "adapters/request.h"

struct admin_request {
	struct kafka_task task;
	void (*run)(struct adapter *adapter, struct admin_request *request);
	struct request base; // what it is about, and the caller that waits
	enum code code;
	struct adapter_answer answer; // with OK, to a caller that waits for one; points into `work`
	char text[400];
	uint64_t deadline_ns;
	void *work;                    // what request and answer need; freed with it
	void (*work_free)(void *work); // NULL: free()
	bool waits; // it goes on after `run`, and calls admin_request_end() itself
};

// With `work` of this many bytes, all zero; 0: none. Answers OVERLOADED itself and returns NULL
// when there is no memory.
struct admin_request *admin_request_new(const struct request *base, size_t work_bytes);
void admin_request_start(struct adapter *adapter, struct admin_request *request,
			 void (*run)(struct adapter *adapter, struct admin_request *request));
void admin_request_end(
	struct admin_request *request); // by a request that waits: answers, and frees it
// Notes what the cluster says, in words that name it and the topic. false: it says no error.
bool admin_request_failed(struct admin_request *request, struct adapter *adapter,
			  rd_kafka_resp_err_t error, const char *text);
void admin_request_refuse(struct admin_request *request, enum code code, const char *text);
