// A group at home: its source, its dispatch engine and its members, on one loop.
#pragma once

#include "core/base/state_table.h"
#include "proxy/engine/dispatch.h"
#include "proxy/resource/budget.h"
#include "proxy/resource/topic.h"

struct dead_letter_copy;
struct member;

// Message memory of a group (group_memory.c).
struct group_memory {
	uint64_t pending;               // what waits in the dispatch, as counted
	uint64_t source;                // what its source has, as counted
	uint64_t wait_ns;               // how long its source is not asked; 0: what waits has room
	struct budget_share of_cluster; // of what queues have handed out
};

enum group_source_state { GROUP_SOURCE_CLOSED, GROUP_SOURCE_OPEN, GROUP_SOURCE_CLOSING };

#define GROUP_SOURCE_STATES(X)                                                                     \
	X(GROUP_SOURCE_CLOSED, "wanted", GROUP_SOURCE_OPEN,                                        \
	  "A member joins or is there, and nothing holds the group.")                              \
	X(GROUP_SOURCE_OPEN, "cannot be opened", GROUP_SOURCE_CLOSED,                              \
	  "The adapter has refused it: members that wanted it are told.")                          \
	X(GROUP_SOURCE_OPEN, "not wanted", GROUP_SOURCE_CLOSING,                                   \
	  "The last member has been gone for a while, or a reset, a deletion, a change or the "    \
	  "proxy's end needs it closed.")                                                          \
	X(GROUP_SOURCE_CLOSING, "closed", GROUP_SOURCE_CLOSED,                                     \
	  "The source has ended: what held the group goes on, and members that are there want it " \
	  "again.")

struct group_home {
	struct map_node node; // member of worker->groups, by group id
	struct worker *worker;
	const struct group *model;
	struct tenant_view *tenant;
	struct topic_use *topic; // while the source is not closed
	struct source *source;
	struct source_partition *partitions; // room for a backlog
	struct dispatch *dispatch;
	struct list members;
	struct group_memory memory;
	struct loop_timer timer; // of the dispatch
	struct loop_timer idle;
	uint64_t memory_wait_ns; // how long it waits for memory; 0: it does not
	struct dead_letter_copy *copies;
	struct loop_task *holds; // what waits for the source to be closed
	uint32_t held;           // holds that have been told
	uint32_t stopping;       // members that are owed a STOPPED
	bool positions;          // the source keeps them: CAP_POSITIONS
	uint8_t source_state;    // enum group_source_state; group_set_source_state() changes it
	// What does not fit into its tenant's reserve: dead-letter copies, and retries.
	uint32_t copies_waiting;
	bool retries_wait;
	bool gone, ending; // deleted: freed when its source has closed
	struct loop_task end;
};

struct group_home *group_find(struct worker *worker, uint64_t id); // NULL: not at home yet
// Makes it when needed. NULL: out of memory.
struct group_home *group_get(struct worker *worker, const struct group *model);

// For what needs the source closed (reset, delete): closes it (members stay, what they hold becomes
// stale) and runs the task then. The source stays closed until group_release().
void group_hold(struct group_home *home, struct loop_task *hold);
void group_release(struct group_home *home); // once per task

void group_changed(struct worker *worker, uint64_t id); // after a change of the catalog
void groups_tenant_changed(struct worker *worker, uint64_t tenant);
void groups_topic_changed(struct worker *worker, uint64_t topic);
void groups_cluster_gone(struct worker *worker, uint64_t cluster);
void groups_pause(struct worker *worker); // drain: nothing more is handed out
void groups_close(struct worker *worker); // drain: members go, sources close
bool groups_closed(const struct worker *worker);
void groups_deinit(struct worker *worker);

// How many rows of home->partitions were filled; 0: the source is not open, or says nothing yet.
size_t group_backlog(struct group_home *home);
// The marks of messages that the log has deleted; before new ones are made.
void group_forget_deleted(struct group_home *home);
struct consume_counters group_consumed(const struct group_home *home);
// Why something of the group waits for its tenant's reserve: "dead_letter" or "retry"; NULL:
// nothing does.
const char *group_storage_waits(const struct group_home *home);
// `change` more (or fewer) dead-letter copies wait for the reserve.
void group_copies_wait(struct group_home *home, int change);

// Only inside of group.c. A transition that GROUP_SOURCE_STATES does not have is a fault of ours.
void group_set_source_state(struct group_home *home, enum group_source_state state);

// ---- for what belongs to the group

static inline uint64_t group_now_ns(const struct group_home *home)
{
	return loop_now_ns(home->worker->loop);
}

void group_schedule(struct group_home *home); // after any call of the engine: when to tick
// Needs a group whose source is closed. *ret_text (static) may be left alone.
enum code group_source_open(struct group_home *home, const char **ret_text);
void group_idle_later(struct group_home *home); // a member has gone: was it the last?
const struct topic *group_dead_letter(const struct group_home *home); // a reference; NULL: none
