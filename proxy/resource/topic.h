// A topic as one worker uses it: its adapter handle and its counters.
#pragma once

#include "proxy/base/worker.h"
#include "proxy/resource/backends.h"
#include "proxy/resource/tenant.h"

// Counters outlive the use; they go when the topic goes.
struct topic_stats {
	struct map_node node; // member of worker->topic_stats, by topic id
	uint64_t tenant;
	struct produce_counters produced;
	uint32_t uses;
	bool gone; // the topic was deleted: freed with its last use
};

struct topic_user;

// What a user of a topic is told, on its worker's loop.
struct topic_user_ops {
	// The topic's limits may have changed, or the use that stands for it.
	void (*changed)(struct topic_user *user);
	// It has to let go of the topic before this returns. `text` is static.
	void (*ended)(struct topic_user *user, enum code code, const char *text);
};

// Embedded in what uses a topic; it holds a reference.
struct topic_user {
	const struct topic_user_ops *ops;
	struct list in_topic;  // member of use->users
	struct topic_use *use; // NULL: not open any more
};

struct topic_use {
	struct map_node node; // member of worker->topics, by topic id, while it is current
	struct worker *worker;
	const struct topic *model;
	struct backend *backend;
	struct adapter_topic *handle;
	struct topic_stats *stats;
	struct list users;
	uint32_t refs;
	bool current;
	bool lost;          // the backend says that it is not there (any more)
	uint64_t looked_ns; // when it was last looked for since
};

// With a reference. Otherwise why not: NOT_READY, BACKEND_DOWN, NOT_FOUND, OVERLOADED.
enum code topic_use_get(struct worker *worker, const struct topic *topic, struct topic_use **ret);
struct topic_use *topic_use_unref(struct topic_use *use); // returns NULL; accepts NULL

// Joins and leaves; the reference of the caller becomes the user's.
void topic_user_join(struct topic_user *user, const struct topic_user_ops *ops,
		     struct topic_use *use);
void topic_user_leave(struct topic_user *user); // accepts one that has left

// Its backend says that it is not there. Its users go on as soon as it is there again.
void topic_use_lost(struct topic_use *use);
// The same, should a batch have been answered so.
void topic_use_answered(struct topic_use *use, const struct submit *submit);

// What an OK will survive, as far as it is known before.
enum durability topic_use_durability(const struct topic_use *use);

// After a change of the catalog: ends users that have lost their topic.
void topic_changed(struct worker *worker, uint64_t id);
// Its cluster is being closed: everything that uses it lets go.
void topics_cluster_gone(struct worker *worker, uint64_t cluster);
void topics_deinit(struct worker *worker);
