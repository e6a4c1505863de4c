// Keeps the control data in memory: for each kind an index by id, and one by name where the data
// plane looks names up.
//
// A change is decoded and checked completely, its objects are made, and indexes grow beside the
// ones in use, before the write lock is held; under the lock only pointers move, so readers never
// wait for more and never see half a change. A full snapshot builds new indexes beside the old
// ones; objects whose revision has not moved keep their place in memory. What is replaced is freed
// when its last reader lets go.

#include "core/catalog/catalog.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/util.h"
#include "core/catalog/change.h"
#include "core/catalog/index.h"
#include "core/catalog/snapshot_file.h"

#include <errno.h>
#include <pthread.h>
#include <sys/random.h>

struct tables {
	struct index by_id[MODEL_KIND_COUNT];
	struct index by_name[MODEL_KIND_COUNT]; // keys, topics and groups only
};

struct watch {
	struct watch *next;
	catalog_watch_fn fn;
	void *ctx;
};

struct catalog {
	pthread_rwlock_t lock; // tables, source, revision
	struct tables tables;
	uint64_t source, revision;
	uint64_t installation, next_id;
	uint64_t confirmed_ns; // atomic
	bool stored;           // atomic
	uint64_t seed;
	struct seal_key key;
	bool has_key, has_file;
	struct snapshot_file snapshot_file;
	struct watch *watches;
	void (*forward)(void *ctx, const struct catalog_change *change); // NULL: none
	void *forward_ctx;
};

// ---- indexes

static struct index_key id_key(const void *object)
{
	return (struct index_key){.id = ((const struct model_object *)object)->id};
}

static struct index_key access_key_name(const void *object)
{
	return (struct index_key){.name = ((const struct access_key *)object)->key_id};
}

static struct index_key topic_name(const void *object)
{
	const struct topic *topic = object;

	return (struct index_key){.name = topic->name, .id = topic->tenant};
}

static struct index_key group_name(const void *object)
{
	const struct group *group = object;

	return (struct index_key){.name = group->name, .id = group->tenant};
}

static const index_key_fn name_keys[MODEL_KIND_COUNT] = {
	[MODEL_ACCESS_KEY] = access_key_name,
	[MODEL_TOPIC] = topic_name,
	[MODEL_GROUP] = group_name,
};

static void tables_init(struct tables *tables, uint64_t seed)
{
	for (unsigned kind = 0; kind < MODEL_KIND_COUNT; ++kind) {
		index_init(&tables->by_id[kind], id_key, seed);
		index_init(&tables->by_name[kind], name_keys[kind], seed);
	}
}

static void tables_deinit(struct tables *tables)
{
	for (unsigned kind = 0; kind < MODEL_KIND_COUNT; ++kind) {
		struct index *index = &tables->by_id[kind];

		for (size_t i = 0; i < index->capacity; ++i)
			model_unref(index->slots[i]);
		index_deinit(index);
		index_deinit(&tables->by_name[kind]);
	}
}

// Room for a change, made beside what readers use: `tables` is a copy whose indexes may then have
// other slots.
static int tables_grow(struct tables *tables, const size_t puts[MODEL_KIND_COUNT])
{
	int r = 0;

	for (unsigned kind = 0; kind < MODEL_KIND_COUNT && r == 0; ++kind) {
		r = index_grow(&tables->by_id[kind], puts[kind]);
		if (r == 0 && name_keys[kind])
			r = index_grow(&tables->by_name[kind], puts[kind]);
	}
	return r;
}

// The slots of `tables` that `others` does not use.
static void tables_drop_slots(struct tables *tables, const struct tables *others)
{
	for (unsigned kind = 0; kind < MODEL_KIND_COUNT; ++kind) {
		if (tables->by_id[kind].slots != others->by_id[kind].slots)
			free(tables->by_id[kind].slots);
		if (tables->by_name[kind].slots != others->by_name[kind].slots)
			free(tables->by_name[kind].slots);
	}
}

// Takes the reference; returns the object replaced, whose reference is the caller's then.
static const struct model_object *tables_put(struct tables *tables,
					     const struct model_object *object)
{
	const struct model_object *before = index_put(&tables->by_id[object->kind], object);

	if (name_keys[object->kind]) {
		if (before)
			index_drop(&tables->by_name[object->kind], before);
		index_put(&tables->by_name[object->kind], object);
	}
	return before;
}

static const struct model_object *tables_drop(struct tables *tables, enum model_kind kind,
					      uint64_t id)
{
	const struct model_object *before =
		index_find(&tables->by_id[kind], (struct index_key){.id = id});

	if (before) {
		index_drop(&tables->by_id[kind], before);
		if (name_keys[kind])
			index_drop(&tables->by_name[kind], before);
	}
	return before;
}

// ---- one change, decoded

struct edit {
	struct change_row *rows;
	size_t count, capacity;
	size_t puts[MODEL_KIND_COUNT];
};

static void edit_deinit(struct edit *edit)
{
	for (size_t i = 0; i < edit->count; ++i)
		model_unref(edit->rows[i].object);
	free(edit->rows);
}

static int edit_add(struct edit *edit, const struct change_row *row)
{
	if (edit->count == edit->capacity) {
		size_t capacity = MAX(edit->capacity * 2, 16u);
		void *grown = realloc(edit->rows, capacity * sizeof *edit->rows);

		if (!grown)
			return -ENOMEM;
		edit->rows = grown;
		edit->capacity = capacity;
	}
	edit->rows[edit->count++] = *row;
	edit->puts[row->kind] += row->object != NULL;
	return 0;
}

static int edit_read(struct edit *edit, struct change_reader *reader)
{
	struct change_row row;
	int r;

	while ((r = change_next(reader, &row)) == 1) {
		r = edit_add(edit, &row);
		if (r < 0) {
			model_unref(row.object);
			break;
		}
	}
	return r;
}

static void notify_watches(struct catalog *catalog, enum model_kind kind, uint64_t id,
			   const struct model_object *object)
{
	for (struct watch *watch = catalog->watches; watch; watch = watch->next)
		watch->fn(watch->ctx, kind, id, object);
}

// ---- applying

static void delta_put(struct catalog *catalog, const struct edit *edit)
{
	for (size_t i = 0; i < edit->count; ++i) {
		const struct change_row *row = &edit->rows[i];

		model_unref(row->object ? tables_put(&catalog->tables, model_ref(row->object))
					: tables_drop(&catalog->tables, row->kind, row->id));
	}
}

// Ids are never given out again, so the next one never falls, whatever a change says.
static void take_head(struct catalog *catalog, const struct change_head *head)
{
	catalog->source = head->source;
	catalog->revision = head->to;
	catalog->installation = head->installation;
	catalog->next_id = MAX(catalog->next_id, head->next_id);
}

static int apply_delta(struct catalog *catalog, const struct change_head *head,
		       const struct edit *edit)
{
	struct tables old = catalog->tables, grown = old;
	int r;

	if (head->source != catalog->source || head->from != catalog->revision)
		return CATALOG_E_GAP;
	r = tables_grow(&grown, edit->puts);
	if (r < 0) {
		tables_drop_slots(&grown, &old);
		return r;
	}
	pthread_rwlock_wrlock(&catalog->lock);
	catalog->tables = grown;
	delta_put(catalog, edit);
	take_head(catalog, head);
	pthread_rwlock_unlock(&catalog->lock);
	tables_drop_slots(&old, &grown);
	for (size_t i = 0; i < edit->count; ++i)
		notify_watches(catalog, edit->rows[i].kind, edit->rows[i].id, edit->rows[i].object);
	return 0;
}

// An object that has not moved is replaced by the one already in memory.
static bool keep_known(struct catalog *catalog, const struct change_head *head,
		       struct change_row *row)
{
	const struct model_object *known;

	if (head->source != catalog->source)
		return false;
	known = index_find(&catalog->tables.by_id[row->kind], (struct index_key){.id = row->id});
	if (!known || known->revision != row->object->revision)
		return false;
	model_unref(row->object);
	row->object = model_ref(known);
	return true;
}

static void notify_gone(struct catalog *catalog, const struct tables *old)
{
	for (unsigned kind = 0; kind < MODEL_KIND_COUNT; ++kind) {
		const struct index *index = &old->by_id[kind];

		for (size_t i = 0; i < index->capacity; ++i) {
			const struct model_object *object = index->slots[i];

			if (object && !index_find(&catalog->tables.by_id[kind],
						  (struct index_key){.id = object->id}))
				notify_watches(catalog, kind, object->id, NULL);
		}
	}
}

static void notify_changed(struct catalog *catalog, const struct tables *old,
			   const struct edit *edit)
{
	for (size_t i = 0; i < edit->count; ++i) {
		const struct change_row *row = &edit->rows[i];

		if (row->object != index_find(&old->by_id[row->kind], id_key(row->object)))
			notify_watches(catalog, row->kind, row->id, row->object);
	}
}

static int apply_full(struct catalog *catalog, const struct change_head *head, struct edit *edit)
{
	struct tables fresh, old;
	int r;

	tables_init(&fresh, catalog->seed);
	r = tables_grow(&fresh, edit->puts);
	for (size_t i = 0; i < edit->count && r == 0; ++i) {
		struct change_row *row = &edit->rows[i];

		if (!row->object) {
			r = -EBADMSG; // nothing can be gone from a full snapshot
			break;
		}
		keep_known(catalog, head, row);
		model_unref(tables_put(&fresh, model_ref(row->object)));
	}
	if (r < 0) {
		tables_deinit(&fresh);
		return r;
	}
	pthread_rwlock_wrlock(&catalog->lock);
	old = catalog->tables;
	catalog->tables = fresh;
	take_head(catalog, head);
	pthread_rwlock_unlock(&catalog->lock);
	if (catalog->watches) {
		notify_gone(catalog, &old);
		notify_changed(catalog, &old, edit);
	}
	tables_deinit(&old);
	return 0;
}

static int apply_change(struct catalog *catalog, const uint8_t *data, size_t size, bool *ret_full)
{
	struct change_reader reader;
	struct edit edit = {0};
	int r = change_open(&reader, data, size, catalog->has_key ? &catalog->key : NULL);

	if (r < 0)
		return r;
	r = edit_read(&edit, &reader);
	if (r == 0)
		r = reader.head.full ? apply_full(catalog, &reader.head, &edit)
				     : apply_delta(catalog, &reader.head, &edit);
	if (r == 0)
		*ret_full = reader.head.full;
	edit_deinit(&edit);
	change_close(&reader);
	return r;
}

// ---- the last good copy

// Without the lock: only this thread changes the tables.
int catalog_copy(struct catalog *catalog, struct catalog_change **ret)
{
	struct change_head head = {.full = true,
				   .source = catalog->source,
				   .to = catalog->revision,
				   .installation = catalog->installation,
				   .next_id = catalog->next_id};
	struct change_writer writer;
	int r = change_begin(&writer, &head, catalog->has_key ? &catalog->key : NULL);

	for (unsigned kind = 0; kind < MODEL_KIND_COUNT && r == 0; ++kind) {
		const struct index *index = &catalog->tables.by_id[kind];

		for (size_t i = 0; i < index->capacity && r == 0; ++i)
			if (index->slots[i])
				r = change_put(&writer, index->slots[i]);
	}
	if (r < 0)
		change_abandon(&writer);
	else
		*ret = change_end(&writer);
	return r;
}

static void store_change(struct catalog *catalog, const struct catalog_change *change, bool full)
{
	_cleanup_(freep) struct catalog_change *whole = NULL;
	int r;

	if (!catalog->has_file)
		return;
	if (full) {
		r = snapshot_file_replace(&catalog->snapshot_file, change);
	} else if (catalog_stored(catalog) && !snapshot_file_wants_full(&catalog->snapshot_file)) {
		r = snapshot_file_append(&catalog->snapshot_file, change);
	} else {
		r = catalog_copy(catalog, &whole);
		if (r == 0)
			r = snapshot_file_replace(&catalog->snapshot_file, whole);
	}
	__atomic_store_n(&catalog->stored, r == 0, __ATOMIC_RELAXED);
	if (r < 0)
		log_error(NULL, "CATALOG-STORE", "%s: the last good copy cannot be written: %s",
			  catalog->snapshot_file.path, strerror(-r));
}

static int apply_stored(void *ctx, const uint8_t *data, size_t size)
{
	bool full;

	return apply_change(ctx, data, size, &full);
}

static int load_file(struct catalog *catalog, const char *path)
{
	int r = snapshot_file_init(&catalog->snapshot_file, path);

	if (r < 0)
		return r;
	catalog->has_file = true;
	r = snapshot_file_read(&catalog->snapshot_file, apply_stored, catalog);
	if (r == SNAPSHOT_FILE_E_DAMAGED) {
		snapshot_file_set_aside(&catalog->snapshot_file);
		return CATALOG_E_DAMAGED;
	}
	if (r == 0)
		catalog->stored = catalog->snapshot_file.fd >= 0;
	return r;
}

// The C library prefers readers by default: with two that never pause a change (a revoked key)
// waits for seconds.
static void lock_prefers_writer(pthread_rwlock_t *lock)
{
	pthread_rwlockattr_t attr;

	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(lock, &attr);
	pthread_rwlockattr_destroy(&attr);
}

// ---- what changes it

int catalog_new(const char *path, const struct seal_key *key, struct catalog **ret)
{
	struct catalog *catalog = calloc(1, sizeof *catalog);
	int r = 0;

	if (!catalog)
		return -ENOMEM;
	lock_prefers_writer(&catalog->lock);
	catalog->snapshot_file.fd = -1;
	if (key) {
		catalog->key = *key;
		catalog->has_key = true;
	}
	if (getrandom(&catalog->seed, sizeof catalog->seed, 0) != sizeof catalog->seed)
		r = -EIO;
	tables_init(&catalog->tables, catalog->seed);
	if (r == 0 && path)
		r = load_file(catalog, path);
	if (r < 0) {
		catalog_free(catalog);
		return r;
	}
	*ret = catalog;
	return r;
}

void catalog_free(struct catalog *catalog)
{
	if (!catalog)
		return;
	for (struct watch *watch = catalog->watches, *next; watch; watch = next) {
		next = watch->next;
		free(watch);
	}
	tables_deinit(&catalog->tables);
	snapshot_file_deinit(&catalog->snapshot_file);
	pthread_rwlock_destroy(&catalog->lock);
	explicit_bzero(&catalog->key, sizeof catalog->key);
	free(catalog);
}

int catalog_apply(struct catalog *catalog, const struct catalog_change *change)
{
	bool full;
	int r = apply_change(catalog, change->data, change->size, &full);

	if (r != 0)
		return r;
	catalog_confirm(catalog, clock_now_ns());
	store_change(catalog, change, full);
	if (catalog->forward)
		catalog->forward(catalog->forward_ctx, change);
	return 0;
}

void catalog_forward(struct catalog *catalog,
		     void (*fn)(void *ctx, const struct catalog_change *change), void *ctx)
{
	catalog->forward = fn;
	catalog->forward_ctx = ctx;
}

uint64_t catalog_revision(struct catalog *catalog)
{
	uint64_t revision;

	pthread_rwlock_rdlock(&catalog->lock);
	revision = catalog->revision;
	pthread_rwlock_unlock(&catalog->lock);
	return revision;
}

uint64_t catalog_source(struct catalog *catalog)
{
	uint64_t source;

	pthread_rwlock_rdlock(&catalog->lock);
	source = catalog->source;
	pthread_rwlock_unlock(&catalog->lock);
	return source;
}

uint64_t catalog_installation(struct catalog *catalog)
{
	uint64_t installation;

	pthread_rwlock_rdlock(&catalog->lock);
	installation = catalog->installation;
	pthread_rwlock_unlock(&catalog->lock);
	return installation;
}

uint64_t catalog_next_id(struct catalog *catalog)
{
	uint64_t next_id;

	pthread_rwlock_rdlock(&catalog->lock);
	next_id = catalog->next_id;
	pthread_rwlock_unlock(&catalog->lock);
	return next_id;
}

bool catalog_stored(struct catalog *catalog)
{
	return __atomic_load_n(&catalog->stored, __ATOMIC_RELAXED);
}

uint64_t catalog_age_ns(struct catalog *catalog, uint64_t now_ns)
{
	uint64_t confirmed_ns = __atomic_load_n(&catalog->confirmed_ns, __ATOMIC_RELAXED);

	return now_ns > confirmed_ns ? now_ns - confirmed_ns : 0;
}

void catalog_confirm(struct catalog *catalog, uint64_t now_ns)
{
	__atomic_store_n(&catalog->confirmed_ns, now_ns, __ATOMIC_RELAXED);
}

void catalog_watch(struct catalog *catalog, catalog_watch_fn fn, void *ctx)
{
	struct watch *watch = malloc(sizeof *watch);

	if (!watch)
		abort(); // at start-up, with nothing to lose
	*watch = (struct watch){.next = catalog->watches, .fn = fn, .ctx = ctx};
	catalog->watches = watch;
}

static const void *find_object(struct catalog *catalog, const struct index *index,
			       struct index_key key)
{
	const void *object;

	pthread_rwlock_rdlock(&catalog->lock);
	object = index_find(index, key);
	if (object)
		model_ref(object);
	pthread_rwlock_unlock(&catalog->lock);
	return object;
}

static const void *find_id(struct catalog *catalog, enum model_kind kind, uint64_t id)
{
	return find_object(catalog, &catalog->tables.by_id[kind], (struct index_key){.id = id});
}

const struct tenant *catalog_tenant(struct catalog *catalog, uint64_t id)
{
	return find_id(catalog, MODEL_TENANT, id);
}

const struct cluster *catalog_cluster(struct catalog *catalog, uint64_t id)
{
	return find_id(catalog, MODEL_CLUSTER, id);
}

const struct topic *catalog_topic(struct catalog *catalog, uint64_t id)
{
	return find_id(catalog, MODEL_TOPIC, id);
}

const struct group *catalog_group(struct catalog *catalog, uint64_t id)
{
	return find_id(catalog, MODEL_GROUP, id);
}

const struct access_key *catalog_key_by_id(struct catalog *catalog, const char *key_id)
{
	return find_object(catalog, &catalog->tables.by_name[MODEL_ACCESS_KEY],
			   (struct index_key){.name = key_id});
}

const struct topic *catalog_topic_by_name(struct catalog *catalog, uint64_t tenant,
					  const char *name)
{
	return find_object(catalog, &catalog->tables.by_name[MODEL_TOPIC],
			   (struct index_key){.name = name, .id = tenant});
}

const struct group *catalog_group_by_name(struct catalog *catalog, uint64_t tenant,
					  const char *name)
{
	return find_object(catalog, &catalog->tables.by_name[MODEL_GROUP],
			   (struct index_key){.name = name, .id = tenant});
}

void catalog_each(struct catalog *catalog, enum model_kind kind,
		  void (*fn)(void *ctx, const struct model_object *object), void *ctx)
{
	const struct index *index;

	pthread_rwlock_rdlock(&catalog->lock);
	index = &catalog->tables.by_id[kind];
	for (size_t i = 0; i < index->capacity; ++i)
		if (index->slots[i])
			fn(ctx, index->slots[i]);
	pthread_rwlock_unlock(&catalog->lock);
}
