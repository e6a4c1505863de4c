// The contract between the proxy and a backend. One const table per kind; nothing else of an
// adapter is visible.
//
// Threads: every slot may be called from any loop thread and never blocks, but for open, check,
// recall, salvage and stored, which say beside them what they may wait for. Completions may come on
// any thread, also before the slot returns; each comes exactly once, also on close. Loop-bound
// objects (sources) are called and call back on their home loop only. Memory: what a slot is given
// is borrowed until it returns, except buffers, which are kept by reference; what a callback is
// given is borrowed until that returns.
//
// Administrative slots answer a code, or with OK the struct of answer.h that is named beside them.
#pragma once

#include "adapters/answer.h"
#include "adapters/capability.h"
#include "adapters/seek_target.h"
#include "adapters/submit.h"
#include "core/base/buf.h"
#include "core/base/code.h"
#include "core/loop/loop.h"
#include "core/model/model.h"

#include <jansson.h>

struct adapter;
struct adapter_topic;
struct source;

// How a cluster is doing, as its adapter sees it now.
enum adapter_health {
	ADAPTER_CONNECTING, // nothing is known of it yet
	ADAPTER_READY,
	ADAPTER_DEGRADED, // some of it fails: `error` says what
	ADAPTER_DOWN,
};
enum adapter_circuit { CIRCUIT_CLOSED, CIRCUIT_HALF_OPEN, CIRCUIT_OPEN };

struct adapter_state {
	uint8_t health;      // enum adapter_health
	uint8_t circuit;     // enum adapter_circuit
	bool known;          // what capabilities() tells comes from the cluster and is no guess
	uint64_t latency_us; // of its last answers; 0: not measured
	char error[256];     // in words, "" when there is none
	// Of a store of our own; has_store: there is one.
	bool has_store;
	uint64_t used_bytes, left_bytes;      // by its files; to them, in map and on disk
	uint64_t damaged_total, damaged_open; // found since the start; waiting for an operator
	uint64_t scrub_passes, scrub_bytes;   // since the start
	double scrub_progress;                // of the pass under way, 0 to 1
};

// ---- consuming

struct delivery {
	uint64_t offset;
	uint64_t epoch;
	int64_t stored_ms;
	const uint8_t *record; // wire form, inside buf
	uint32_t size;
	uint32_t partition;
	uint32_t attempt; // 1 for the first
	bool rejected;    // for its dead-letter copy; record NULL: the log no longer has it
	struct buf *buf;  // borrowed: take a reference to keep the record beyond the call
};

// DEAD is the proxy's own: an ack of what has its copy among the dead letters.
enum settle_verb {
	SETTLE_ACK,
	SETTLE_NACK,
	SETTLE_EXTEND,
	SETTLE_REJECT,
	SETTLE_RELEASE,
	SETTLE_DEAD,
};

// Extend never reaches a source unless the backend limits the time itself. Reject ends the last
// attempt: the proxy keeps no bodies, so the message comes once more, marked, for its dead-letter
// copy; when that is confirmed it is settled with DEAD. A source that was closed meanwhile hands it
// out as any other, with one more attempt; over a queue, whose message is as it was, with the same.
struct settle {
	uint64_t epoch;
	uint64_t offset; // of the first
	uint32_t count;  // consecutive offsets with the same attempt
	uint32_t partition;
	uint32_t attempt;
	uint32_t delay_ms; // NACK
	uint32_t number;   // of the first one's delivery, for the dispatch engine alone
	uint8_t verb;      // enum settle_verb
	uint16_t code; // out: CODE_OK or CODE_STALE (some were not open), known when source_settle
		       // returns
	uint32_t settled; // out: how many were
};

// What a source tells its handlers; it begins as OPENING, which is not told. WINDOW_FULL is told by
// sources over logs alone.
enum source_state { SOURCE_OPENING, SOURCE_READY, SOURCE_WINDOW_FULL, SOURCE_DOWN, SOURCE_GONE };

// As core/base/state_table.h has it. GONE is the last word of a source: it has to be closed.
#define SOURCE_STATES(X)                                                                           \
	X(SOURCE_OPENING, "claimed", SOURCE_READY, "The group is its own: messages may come.")     \
	X(SOURCE_OPENING, "failure", SOURCE_DOWN,                                                  \
	  "The group's position cannot be read or written now.")                                   \
	X(SOURCE_OPENING, "not found, stale", SOURCE_GONE,                                         \
	  "The topic or the group is not on its backend, or another owner has begun it anew.")     \
	X(SOURCE_READY, "failure", SOURCE_DOWN,                                                    \
	  "Reading or committing fails, or there is no room for what is put aside.")               \
	X(SOURCE_READY, "not found, stale", SOURCE_GONE, "As above.")                              \
	X(SOURCE_DOWN, "success", SOURCE_READY, "What failed was tried again.")                    \
	X(SOURCE_DOWN, "not found, stale", SOURCE_GONE, "As above.")
// And what a source over a log has beside these.
#define SOURCE_LOG_STATES(X)                                                                       \
	X(SOURCE_READY, "too many are open", SOURCE_WINDOW_FULL,                                   \
	  "A partition hands out nothing new until its oldest messages are settled.")              \
	X(SOURCE_WINDOW_FULL, "settled", SOURCE_READY, "Every partition has room again.")          \
	X(SOURCE_WINDOW_FULL, "failure", SOURCE_DOWN, "As for READY.")                             \
	X(SOURCE_WINDOW_FULL, "not found, stale", SOURCE_GONE, "As above.")                        \
	X(SOURCE_DOWN, "success", SOURCE_WINDOW_FULL,                                              \
	  "What failed was tried again, and a partition has too many open messages.")

struct source_handlers {
	// Never more than was demanded, but for the bytes of one message. Deliveries of a partition
	// come in the order of their offsets, redeliveries apart; those that are due come before
	// what is new.
	void (*deliver)(void *ctx, const struct delivery *deliveries, size_t count);
	// A transition of SOURCE_STATES or SOURCE_LOG_STATES. Nothing is told or delivered after
	// GONE, nor once the source is being closed.
	void (*state)(void *ctx, enum source_state state, enum code code, const char *text);
	// All that was delivered is void: its receipts are stale, and it comes again, in another
	// epoch, with the attempts that are durable. The demand stands. Not told of what is gone
	// after a close. NULL: only for sources that never lose a delivery.
	void (*lost)(void *ctx);
	// Message memory of what the source has read and not handed out; of a source over a queue,
	// of all that is not settled, because it cannot be read again. May it read that many
	// bytes more? A source that holds nothing reads a little all the same, or it would stand
	// still. NULL: always.
	bool (*room)(void *ctx, uint64_t bytes);
	// What was `before` bytes is `after` now; 0 after it is closed. NULL: not counted.
	void (*hold)(void *ctx, uint64_t before, uint64_t after);
};

struct source_config {
	const struct group *group; // referenced by the source
	const struct topic *topic;
	struct adapter_topic *adapter_topic;
	uint64_t epoch;    // at least this one; 0: the source finds one that none before it had
	struct loop *loop; // home loop
	const struct source_handlers *handlers;
	void *ctx;
	// While it is true no message is put aside for its own time or delay: the source is DOWN
	// with LIMIT_EXCEEDED and tries again. Atomic; outlives the source; NULL: never.
	const bool *reserve_full;
};

// ---- what is stored

// What a topic, or the retry store of a group, takes on its cluster.
struct stored_row {
	const struct topic *topic; // with `group`: the group's
	const struct group *group; // NULL: the topic itself is meant
	uint64_t bytes;            // out
	bool known, estimated;     // out; not known: `bytes` says nothing
};

// ---- everything else

typedef void (*adapter_done_fn)(void *ctx, enum code code, const char *text);

// What the files of a cluster on this machine remember, whatever became of the registry.
struct adapter_recall {
	uint64_t installation; // that wrote them; 0: not recorded
	uint64_t highest_id;   // that something was ever stored under
	bool holds;            // topics or groups are in them
	// [{id, incarnation, partitions, durability, retention_ms, retention_bytes}] and [{id,
	// incarnation, topic}]; the caller's; NULL: the kind does not tell.
	json_t *topics, *groups;
};

struct adapter_env {
	const char *data_dir;  // the adapter's own directory, exists
	uint64_t installation; // of the registry; 0: not known
	struct log_ctx *log;
};

struct adapter_ops {
	const char *kind;
	enum durability assured; // every cluster of the kind keeps at least this class
	uint32_t lacks; // capabilities that no cluster of the kind has, known before any is

	// Checks the options and starts. -EINVAL with *ret_error (malloc'ed sentence naming the
	// option) when they are wrong. @thread start-up or any
	int (*open)(const struct cluster *cluster, const struct adapter_env *env,
		    struct adapter **ret, char **ret_error);
	// What open() would refuse, said when the cluster is registered, without reaching it: 0, or
	// -EINVAL with *ret_error as open(). May take milliseconds. NULL: anything goes. @thread
	// any
	int (*check)(const struct cluster *cluster, char **ret_error);
	// Whether the options of a cluster give it CAP_HISTORY, said when a group is registered,
	// without reaching it. NULL: of a kind that lacks CAP_POSITIONS none has it. @thread any
	bool (*keeps_history)(const struct cluster *cluster);
	// What lies below `data_dir` (as in the env) remembers, read beside the open: -ENOENT:
	// there is nothing of this kind; another negative errno: it cannot be read. NULL: the kind
	// keeps nothing on this machine. @thread start-up
	int (*recall)(const char *data_dir, struct adapter_recall *ret);
	// Takes out of a store of ours that cannot be opened what can be read; store/salvage.h
	// says what it answers. NULL: as `recall`. @thread any that may wait for a disk
	int (*salvage)(const char *path, json_t **ret_report, char **ret_error);
	// Finishes or fails everything in flight (completions come), then done; nothing is called
	// after done, and no thread of the adapter is inside a call of ours any more.
	void (*close)(struct adapter *adapter, void (*done)(void *ctx), void *ctx);
	// Whether the cluster can be reached, and what it can do; also sets what capabilities()
	// tells. A cluster that does not answer is an answer, too. ANSWER_PROBE.
	void (*probe)(struct adapter *adapter, uint64_t deadline_ns, adapter_answer_fn done,
		      void *ctx);
	uint32_t (*capabilities)(struct adapter *adapter);
	// A look without a request to the cluster. NULL: it is always ready. @thread any
	void (*state)(struct adapter *adapter, struct adapter_state *ret);
	// What lies on the cluster, of all clients, but for what the backend itself needs.
	// ANSWER_EXISTING. NULL: nothing can be imported from this kind.
	void (*existing)(struct adapter *adapter, uint64_t deadline_ns, adapter_answer_fn done,
			 void *ctx);

	// Idempotent: creating what exists with the same incarnation is OK, and it takes what
	// topic_change() gives; another shape is CONFLICT; deleting what is gone is OK. What was
	// imported (`imported` in the model) was there before and stays when it is let go: creating
	// it finds it (CONFLICT when it is not there) and changes nothing but the number of
	// partitions, should more be asked for, and leaves the commits of a group; deleting it is
	// OK and removes only what was made beside it.
	//
	// Without CAP_KEEPS_WITHOUT_GROUP a topic keeps only what its groups keep, and a message
	// that would reach none is REJECTED(NO_ROUTE). A dead-letter topic (`dead_letter_of`) keeps
	// everything from its birth on all the same, beside its groups and until it is purged or
	// deleted: on a cluster of queues it has a queue of its own that no group consumes.
	void (*topic_create)(struct adapter *adapter, const struct topic *topic,
			     adapter_done_fn done, void *ctx);
	// Gives a topic that is there partitions, retention and largest message of the model.
	// CONFLICT: it is not there, or is another; nothing is made of it.
	void (*topic_change)(struct adapter *adapter, const struct topic *topic,
			     adapter_done_fn done, void *ctx);
	void (*topic_delete)(struct adapter *adapter, const struct topic *topic,
			     adapter_done_fn done, void *ctx);
	// Every partition of it. ANSWER_DESCRIBE.
	void (*topic_describe)(struct adapter *adapter, const struct topic *topic,
			       adapter_answer_fn done, void *ctx);
	// What an imported topic is set to. ANSWER_SETTINGS. NULL: nothing can be imported from
	// this kind.
	void (*topic_settings)(struct adapter *adapter, const struct topic *topic,
			       adapter_answer_fn done, void *ctx);
	// Deletes what is there at the time of the call; the answer says how much, of queues in all
	// of them together. `preview`: how much it would be. ANSWER_PURGE.
	void (*topic_purge)(struct adapter *adapter, const struct topic *topic, bool preview,
			    adapter_answer_fn done, void *ctx);
	// What is damaged in the store, or was deleted on the cluster by other clients.
	// ANSWER_DAMAGE. NULL: the kind does not know.
	void (*damage)(struct adapter *adapter, adapter_answer_fn done, void *ctx);
	// Gives up what is damaged of a topic, so that it is passed over. `preview`: what it
	// would be. ANSWER_SKIP. NULL: the backend is not a store of ours.
	void (*topic_skip)(struct adapter *adapter, const struct topic *topic, bool preview,
			   adapter_answer_fn done, void *ctx);
	// Of groups: NULL when CAP_CONSUME is missing; the proxy refuses without asking. A new
	// group begins where its model says; with neither CAP_POSITIONS nor CAP_HISTORY with what
	// is sent from then on: the registry lets it say nothing else than the latest.
	void (*group_create)(struct adapter *adapter, const struct group *group,
			     const struct topic *topic, adapter_done_fn done, void *ctx);
	void (*group_delete)(struct adapter *adapter, const struct group *group,
			     const struct topic *topic, adapter_done_fn done, void *ctx);
	// Moves the group. Its source, if any, is closed, but for a preview, which moves nothing.
	// To named positions only with CAP_POSITIONS, and without CAP_HISTORY only to the latest:
	// what waits is given up. Any other place is UNSUPPORTED_BY_BACKEND. ANSWER_RESET.
	void (*group_reset)(struct adapter *adapter, const struct group *group,
			    const struct topic *topic, const struct seek_target *to, bool preview,
			    adapter_answer_fn done, void *ctx);
	// Backlog of a group without an open source, every partition. ANSWER_BACKLOG.
	void (*group_backlog)(struct adapter *adapter, const struct group *group,
			      const struct topic *topic, adapter_answer_fn done, void *ctx);
	// Messages as they are stored, whoever has consumed them. ANSWER_MESSAGES. Called only of
	// a cluster with CAP_HISTORY; NULL: no cluster of the kind has it.
	void (*read)(struct adapter *adapter, const struct topic *topic,
		     const struct message_query *query, adapter_answer_fn done, void *ctx);

	// What each of these takes now; those of which nothing can be said stay not known. May read
	// a disk, but waits for no network. NULL: nothing is kept. @thread any, one at a time
	void (*stored)(struct adapter *adapter, struct stored_row *rows, size_t count);

	// Resolved once per session; counted by the adapter. NULL when the topic is known not to be
	// there. An adapter that would have to ask for that gives a handle: its sends answer
	// NOT_FOUND and its sources are SOURCE_GONE.
	struct adapter_topic *(*topic_open)(struct adapter *adapter, const struct topic *topic);
	void (*topic_close)(struct adapter_topic *topic);
	// All partitions of a batch keep its order. Answered exactly once by submit->done, on any
	// thread.
	void (*submit)(struct adapter *adapter, struct submit *submit);

	// On the home loop. NULL slots when CAP_CONSUME is missing.
	int (*source_open)(struct adapter *adapter, const struct source_config *config,
			   struct source **ret);
	// Replaces the demand before. Messages that were settled with SETTLE_REJECT come against
	// `rejected` and nothing else does: the proxy copies them to the dead-letter topic.
	void (*source_demand)(struct source *source, uint32_t messages, uint64_t bytes,
			      uint32_t rejected);
	// Applies at once (codes are set on return); done runs on the home loop when it is durable.
	// done may be NULL: durable within a second.
	void (*source_settle)(struct source *source, struct settle *settles, size_t count,
			      void (*done)(void *ctx, enum code code), void *ctx);
	size_t (*source_backlog)(struct source *source, struct source_partition *partitions,
				 size_t room);
	// Makes settles durable, gives up the rest, then done; no handler runs after the call.
	void (*source_close)(struct source *source, void (*done)(void *ctx), void *ctx);
};
