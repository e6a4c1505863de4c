// Writing to a group's retry topic.
#pragma once

#include "adapters/kafka/client/task.h"
#include "adapters/kafka/retry/retry_rows.h"
#include "adapters/kafka/retry/retry_thread.h"

struct retry_store;

// One message to be written. No value: a tombstone.
struct retry_item {
	uint8_t key[RETRY_KEY];
	uint8_t *value; // malloc'ed; borrowed until done
	uint32_t size;
	bool skip; // out: nothing was written, because there is nothing to remove
	// retry_write.c's
	struct retry_batch *batch;
	uint64_t written;
	rd_kafka_resp_err_t error;
};

// Messages to be written in this order. All or some may be there when the code is not OK.
struct retry_batch {
	struct loop_task event; // retry_write.c's, as the stores are
	struct kafka_task task;
	struct retry_stores *stores;
	struct retry_store *store;
	const struct group *group;
	const struct topic *topic;
	struct retry_item *items;
	uint32_t count;
	uint32_t left; // atomic
	enum code code;
	char text[256];
	void (*done)(struct retry_batch *batch, enum code code, const char *text);
};
void retry_write(struct adapter *adapter, struct retry_batch *batch); // @thread any
