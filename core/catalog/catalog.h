// What a proxy knows of the control data: a full snapshot first, then ordered deltas; read by every
// thread.
//
// This is the narrow contract between control and data plane. The portal's side calls
// catalog_apply(); nothing on the data plane's side ever reads the registry's tables. Look-ups
// return a reference that the caller drops with model_unref(). Look-ups take a short read lock:
// they happen when a session, topic or group is opened, never per message.
#pragma once

#include "core/model/model.h"

struct catalog;
struct seal_key;       // core/catalog/seal.h
struct catalog_change; // an encoded snapshot or delta; core/catalog/change.h makes and reads them

// Called after a change has been applied, on the thread that applied it, once for every object that
// changed or went. `object` is NULL when it is gone.
typedef void (*catalog_watch_fn)(void *ctx, enum model_kind kind, uint64_t id,
				 const struct model_object *object);

// `path`: the last good copy on disk (with checksum), read now when it is there and whole,
// rewritten as changes come; NULL: none. Positive CATALOG_E_DAMAGED: the copy was damaged and has
// been set aside as <path>.damaged; the catalog is empty and usable. `key` opens the clusters'
// secrets (copied; NULL: they stay absent).
int catalog_new(const char *path, const struct seal_key *key, struct catalog **ret);
void catalog_free(struct catalog *catalog);

// Positive outcomes: CATALOG_E_GAP: the delta does not follow the revision held; ask for a full
// snapshot. -EBADMSG: not a change; -ENOTSUP: a newer version's. A change that is not applied
// leaves the catalog as it was. When the last good copy cannot be written the change is applied all
// the same, and catalog_stored() answers false. @thread one at a time
enum { CATALOG_E_DAMAGED = 1, CATALOG_E_GAP = 2 };
int catalog_apply(struct catalog *catalog, const struct catalog_change *change);
// All that is here, as one full change (the caller's). -ENOMEM. @thread as catalog_apply()
int catalog_copy(struct catalog *catalog, struct catalog_change **ret);

uint64_t catalog_revision(struct catalog *catalog);
uint64_t catalog_source(struct catalog *catalog);       // which registry it came from; 0: none yet
uint64_t catalog_installation(struct catalog *catalog); // of that registry; 0: none yet
uint64_t catalog_next_id(struct catalog *catalog); // every id below was given out once; 0: unknown
bool catalog_stored(struct catalog *catalog);      // the last good copy holds the present revision
uint64_t catalog_age_ns(struct catalog *catalog,
			uint64_t now_ns); // since the control plane last confirmed it
void catalog_confirm(struct catalog *catalog, uint64_t now_ns); // what is here is current

void catalog_watch(struct catalog *catalog, catalog_watch_fn fn, void *ctx); // @thread start-up
// Called with every change that catalog_apply() has taken, on its thread, after the watches. One at
// most; NULL: none. @thread as catalog_apply()
void catalog_forward(struct catalog *catalog,
		     void (*fn)(void *ctx, const struct catalog_change *change), void *ctx);

const struct tenant *catalog_tenant(struct catalog *catalog,
				    uint64_t id); // all: NULL when there is none
const struct cluster *catalog_cluster(struct catalog *catalog, uint64_t id);
const struct topic *catalog_topic(struct catalog *catalog, uint64_t id);
const struct group *catalog_group(struct catalog *catalog, uint64_t id);
const struct access_key *catalog_key_by_id(struct catalog *catalog, const char *key_id);
const struct topic *catalog_topic_by_name(struct catalog *catalog, uint64_t tenant,
					  const char *name);
const struct group *catalog_group_by_name(struct catalog *catalog, uint64_t tenant,
					  const char *name);

// Calls fn for every object of a kind, under the read lock: fn must not call back into the catalog.
void catalog_each(struct catalog *catalog, enum model_kind kind,
		  void (*fn)(void *ctx, const struct model_object *object), void *ctx);
