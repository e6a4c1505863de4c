// Commits old offsets again, unchanged, before the brokers forget them.
//
// Brokers forget the offsets of a group without members some time after they were committed
// (offsets.retention.minutes, 7 days unless changed). So an offset that was committed KEEP_NS ago
// is read and committed again, and with it the mark of the topic. When that fails, it is tried
// again after the same time: brokers keep offsets for many times as long.
//
// What it does not do: it keeps no state of groups. Which group is due, and that no commit of a
// source comes between reading and committing, is decided by the group table (group_table.h).

#include "adapters/kafka/offsets/offset_keepalive.h"

#include "adapters/kafka/client/task.h"
#include "adapters/kafka/offsets/group_table.h"
#include "adapters/kafka/offsets/offsets.h"
#include "adapters/kafka/topic/topic_mark.h"
#include "core/base/clock.h"

#define KEEP_NS   (3600 * S_NS)
#define KEEP_MORE 4u // a call

struct keeping {
	struct kafka_task task;
	uint64_t now_ns;
};

// Reads what is committed and commits it again.
static void keep_one(struct adapter *adapter, struct kafka_offsets *offsets)
{
	uint32_t there = 0;

	offsets->count = offsets->topic->partitions;
	offsets->cursors = calloc(offsets->count, sizeof *offsets->cursors);
	if (!offsets->cursors)
		return;
	for (uint32_t i = 0; i < offsets->count; ++i)
		offsets->cursors[i].partition = i;
	kafka_offsets_read_wait(adapter, offsets);
	for (uint32_t i = 0; offsets->code == CODE_OK && i < offsets->count; ++i) {
		if (offsets->cursors[i].position == OFFSET_NONE)
			free(offsets->cursors[i].text);
		else
			offsets->cursors[there++] = offsets->cursors[i];
	}
	if (offsets->code == CODE_OK) {
		offsets->count = there;
		if (there)
			kafka_offsets_commit_wait(adapter, offsets);
		for (uint32_t i = 0; i < there; ++i)
			free(offsets->cursors[i].text);
	}
	free(offsets->cursors);
}

static void keep_mark(struct adapter *adapter, const struct topic *topic)
{
	struct topic_mark mark = {.physical = topic->physical};

	if (!topic_mark_read(adapter, &mark, 1) && mark.incarnation == topic->incarnation)
		topic_mark_write(adapter, &mark, 1);
}

static void keep_run(struct adapter *adapter, struct kafka_task *task)
{
	struct keeping *keeping = CONTAINER_OF(task, struct keeping, task);
	uint64_t now_ns = keeping->now_ns;
	struct kafka_offsets offsets = {0};

	for (unsigned i = 0;
	     i < KEEP_MORE && now_ns >= KEEP_NS &&
	     group_table_keep_begin(adapter, now_ns - KEEP_NS, &offsets.group, &offsets.topic);
	     ++i) {
		keep_one(adapter, &offsets);
		keep_mark(adapter, offsets.topic);
		group_table_keep_end(adapter, offsets.group, now_ns);
		model_unref(offsets.group);
		model_unref(offsets.topic);
		offsets = (struct kafka_offsets){0};
	}
	__atomic_store_n(&adapter->keeping, false, __ATOMIC_RELEASE);
	free(keeping);
}

void offset_keepalive_run(struct adapter *adapter, uint64_t now_ns)
{
	struct keeping *keeping;

	if (__atomic_exchange_n(&adapter->keeping, true, __ATOMIC_ACQ_REL))
		return;
	keeping = calloc(1, sizeof *keeping);
	if (!keeping) {
		__atomic_store_n(&adapter->keeping, false, __ATOMIC_RELEASE);
		return;
	}
	*keeping = (struct keeping){.task.run = keep_run, .now_ns = now_ns};
	kafka_task_post_admin(adapter, &keeping->task);
}
