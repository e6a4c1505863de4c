// What the files of the embedded adapter share.
#pragma once

#include "adapters/embedded/committer.h"
#include "adapters/embedded/reader.h"

enum { CLASS_D1, CLASS_D2, CLASSES };

struct housekeeper;

struct adapter {
	struct store *stores[CLASSES];
	struct committer *committers[CLASSES];
	struct reader *reader;
	struct housekeeper *housekeeper;
	struct scrub *scrub;
};

static inline int class_of(const struct topic *topic)
{
	return topic->durability == DURABILITY_D1 ? CLASS_D1 : CLASS_D2;
}

// The committer of the store that a topic lives in.
static inline struct committer *committer_of(struct adapter *adapter, const struct store *store)
{
	return adapter->committers[store == adapter->stores[CLASS_D1] ? CLASS_D1 : CLASS_D2];
}

// topics.c
void embedded_topic_create(struct adapter *adapter, const struct topic *topic, adapter_done_fn done,
			   void *ctx);
void embedded_topic_change(struct adapter *adapter, const struct topic *topic, adapter_done_fn done,
			   void *ctx);
void embedded_topic_delete(struct adapter *adapter, const struct topic *topic, adapter_done_fn done,
			   void *ctx);
void embedded_topic_describe(struct adapter *adapter, const struct topic *topic,
			     adapter_json_fn done, void *ctx);
void embedded_topic_purge(struct adapter *adapter, const struct topic *topic, bool preview,
			  adapter_json_fn done, void *ctx);
void embedded_read(struct adapter *adapter, const struct topic *topic, const json_t *query,
		   adapter_json_fn done, void *ctx);

// skip.c
void embedded_topic_skip(struct adapter *adapter, const struct topic *topic, bool preview,
			 adapter_json_fn done, void *ctx);

// groups.c, group_reset.c
void embedded_group_create(struct adapter *adapter, const struct group *group,
			   const struct topic *topic, adapter_done_fn done, void *ctx);
void embedded_group_delete(struct adapter *adapter, const struct group *group,
			   const struct topic *topic, adapter_done_fn done, void *ctx);
void embedded_group_reset(struct adapter *adapter, const struct group *group,
			  const struct topic *topic, const json_t *to, bool preview,
			  adapter_json_fn done, void *ctx);
void embedded_group_backlog(struct adapter *adapter, const struct group *group,
			    const struct topic *topic, adapter_json_fn done, void *ctx);

// cursors.c: what a source asks
void embedded_cursors_load(struct adapter *adapter, struct log_cursors *load);
void embedded_cursors_commit(struct adapter *adapter, struct log_cursors *commit);
void embedded_due(struct adapter *adapter, struct log_due *due);

// stored.c
void embedded_stored(struct adapter *adapter, struct stored_row *rows, size_t count);

// housekeeper.c: retention, once a second
int housekeeper_start(struct adapter *adapter, struct housekeeper **ret);
void housekeeper_stop(struct housekeeper *housekeeper);
