// One thing that people ask of a cluster, with who waits for the answer. It runs on the adapter's
// loop aside (admin_client.h) and may block there.
#pragma once

#include "adapters/caller.h"
#include "adapters/kafka/client/task.h"

struct errand {
	struct kafka_task task;
	void (*run)(struct adapter *adapter, struct errand *errand);
	const struct topic *topic; // NULL: about the cluster
	struct caller caller;
	enum code code;
	json_t *answer; // given away with OK
	char text[400];
	uint64_t deadline_ns;
	void *work; // what the errand needs; freed with it
	bool preview;
	bool waits; // it goes on after `run`, and calls errand_end() itself
};

// Answers OVERLOADED itself and returns NULL when there is no memory.
struct errand *errand_new(const struct topic *topic, struct caller caller);
void errand_start(struct adapter *adapter, struct errand *errand,
		  void (*run)(struct adapter *adapter, struct errand *errand));
void errand_end(struct errand *errand); // for who waits: answers, and frees it
// Notes what the cluster says, in words that name it and the topic. false: it says no error.
bool errand_failed(struct errand *errand, struct adapter *adapter, rd_kafka_resp_err_t error,
		   const char *text);
void errand_refuse(struct errand *errand, enum code code, const char *text);
