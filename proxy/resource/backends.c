// The clusters of the catalog, each with its open adapter.
//
// A row is a small state machine over one word: references, and the bit that says the row may be
// used. The thread that takes the last reference of a row that may not be used any more closes the
// adapter. When it has closed, the cluster is opened again if the catalog still wants it. So two
// adapters never have the same files open.

#include "proxy/resource/backends.h"

#include "core/base/directory.h"
#include "core/base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#define ROW_OPEN 0x80000000u // in `word`: may be used; counts as one reference in the low bits

struct backend_row {
	struct backend backend;
	struct backend_row *next;
	struct backends *backends;
	uint64_t cluster;
	uint32_t word; // atomic
	const struct cluster
		*model; // of the adapter that is open; changed only while there is no reference
	pthread_mutex_t error_lock;
	char error[sizeof(((struct adapter_state *)0)->error)]; // why it could not be opened
	bool reopen;                                            // atomic: open again once closed
	void (*closed)(void *ctx);                              // atomic; set by backends_close()
	void *closed_ctx;
	struct log_ctx log;
};

static struct backend_row *row_of(struct backend *backend)
{
	return CONTAINER_OF(backend, struct backend_row, backend);
}

static struct backend_row *find_row(struct backends *backends, uint64_t cluster)
{
	struct backend_row *row = __atomic_load_n(&backends->rows, __ATOMIC_ACQUIRE);

	while (row && row->cluster != cluster)
		row = row->next;
	return row;
}

static int make_directory(const char *data_dir, uint64_t cluster, char *path, size_t size)
{
	int r;

	if (snprintf(path, size, "%s/clusters", data_dir) >= (int)size)
		return -ENAMETOOLONG;
	r = directory_make(path);
	if (r < 0)
		return r;
	if (snprintf(path, size, "%s/clusters/%" PRIu64, data_dir, cluster) >= (int)size)
		return -ENAMETOOLONG;
	return directory_make(path);
}

static struct backend_row *row_new(struct backends *backends, uint64_t cluster)
{
	struct backend_row *row = calloc(1, sizeof *row);

	if (!row)
		return NULL;
	row->backends = backends;
	row->cluster = cluster;
	pthread_mutex_init(&row->error_lock, NULL);
	budget_init(&row->backend.unsettled, BACKEND_UNSETTLED_MAX);
	return row;
}

static void row_failed(struct backend_row *row, const char *error)
{
	pthread_mutex_lock(&row->error_lock);
	snprintf(row->error, sizeof row->error, "%s", error);
	pthread_mutex_unlock(&row->error_lock);
}

static void row_open(struct backend_row *row)
{
	struct backends *backends = row->backends;
	struct adapter_env env;
	_cleanup_(freep) char *error = NULL;
	char path[4096];
	int r = -ENOENT;

	model_unref(row->model);
	row->model = catalog_cluster(backends->catalog, row->cluster);
	if (!row->model)
		return;
	row_failed(row, "");
	row->log = (struct log_ctx){.cluster = row->model->name};
	row->backend.ops = backends->find_adapter(row->model->kind);
	if (!row->backend.ops) {
		log_warn(&row->log, "CLUSTER-KIND",
			 "this proxy serves no cluster of the kind \"%s\"", row->model->kind);
		row_failed(row, "this proxy serves no cluster of its kind");
		return;
	}
	r = make_directory(backends->data_dir, row->cluster, path, sizeof path);
	env = (struct adapter_env){.data_dir = path,
				   .installation = catalog_installation(backends->catalog),
				   .log = &row->log};
	if (r == 0)
		r = row->backend.ops->open(row->model, &env, &row->backend.adapter, &error);
	if (r < 0) {
		row_failed(row, error ? error : strerror(-r));
		log_error(&row->log, "CLUSTER-OPEN", "the cluster cannot be opened: %s",
			  error ? error : strerror(-r));
		return;
	}
	__atomic_store_n(&row->word, ROW_OPEN | 1, __ATOMIC_RELEASE);
}

static void on_closed(void *ctx)
{
	struct backend_row *row = ctx;
	void (*closed)(void *ctx) = __atomic_load_n(&row->closed, __ATOMIC_ACQUIRE);

	assert(__atomic_load_n(&row->word, __ATOMIC_ACQUIRE) == 0);
	row->backend.adapter = NULL;
	if (__atomic_exchange_n(&row->reopen, false, __ATOMIC_ACQ_REL) && !closed)
		row_open(row);
	if (closed)
		closed(row->closed_ctx);
}

struct backend *backend_unref(struct backend *backend)
{
	struct backend_row *row;
	uint32_t before;

	if (!backend)
		return NULL;
	row = row_of(backend);
	before = __atomic_fetch_sub(&row->word, 1, __ATOMIC_ACQ_REL);
	assert((before & ~ROW_OPEN) > 0);
	if (before == 1)
		backend->ops->close(backend->adapter, on_closed, row);
	return NULL;
}

struct backend *backend_get(struct backends *backends, uint64_t cluster)
{
	struct backend_row *row = find_row(backends, cluster);
	uint32_t word;

	if (!row)
		return NULL;
	word = __atomic_load_n(&row->word, __ATOMIC_ACQUIRE);
	do {
		if (!(word & ROW_OPEN))
			return NULL;
	} while (!__atomic_compare_exchange_n(&row->word, &word, word + 1, true, __ATOMIC_ACQ_REL,
					      __ATOMIC_ACQUIRE));
	return &row->backend;
}

// ---- how they are doing

static void row_state(struct backend_row *row, struct adapter_state *ret,
		      uint32_t *ret_capabilities)
{
	struct backend *backend = backend_get(row->backends, row->cluster);

	*ret = (struct adapter_state){.health = ADAPTER_READY, .known = true};
	*ret_capabilities = 0;
	if (backend) {
		*ret_capabilities = backend_capabilities(backend);
		if (backend->ops->state)
			backend->ops->state(backend->adapter, ret);
		backend_unref(backend);
		return;
	}
	*ret = (struct adapter_state){.health = ADAPTER_DOWN, .circuit = CIRCUIT_OPEN};
	pthread_mutex_lock(&row->error_lock);
	snprintf(ret->error, sizeof ret->error, "%s",
		 *row->error ? row->error : "the cluster is being opened");
	pthread_mutex_unlock(&row->error_lock);
}

bool backends_state(struct backends *backends, uint64_t cluster, struct adapter_state *ret,
		    uint32_t *ret_capabilities)
{
	struct backend_row *row = find_row(backends, cluster);

	if (row)
		row_state(row, ret, ret_capabilities);
	return row != NULL;
}

void backends_each_state(struct backends *backends, backend_each_fn fn, void *ctx)
{
	struct backend_row *row = __atomic_load_n(&backends->rows, __ATOMIC_ACQUIRE);

	for (; row; row = row->next) {
		const struct cluster *cluster = catalog_cluster(backends->catalog, row->cluster);
		struct adapter_state state;
		uint32_t capabilities;

		if (!cluster)
			continue; // deleted
		row_state(row, &state, &capabilities);
		fn(ctx, row->cluster, &state);
		model_unref(cluster);
	}
}

// Takes the row out of use. False: it was not in use.
static bool row_retire(struct backend_row *row)
{
	uint32_t before = __atomic_fetch_and(&row->word, ~ROW_OPEN, __ATOMIC_ACQ_REL);

	if (!(before & ROW_OPEN))
		return false;
	backend_unref(&row->backend);
	return true;
}

static void row_add(struct backends *backends, uint64_t cluster)
{
	struct backend_row *row = row_new(backends, cluster);

	if (!row) {
		log_error(NULL, "CLUSTER-OPEN", "out of memory");
		return;
	}
	row_open(row);
	row->next = backends->rows; // one thread at a time adds
	__atomic_store_n(&backends->rows, row, __ATOMIC_RELEASE);
}

static bool same_text(const char *a, const char *b)
{
	return (!a && !b) || (a && b && strcmp(a, b) == 0);
}

static bool same_options(const struct cluster *a, const struct cluster *b)
{
	return b && same_text(a->kind, b->kind) && same_text(a->options_json, b->options_json) &&
	       same_text(a->secrets_json, b->secrets_json);
}

bool backends_changed(struct backends *backends, uint64_t cluster)
{
	struct backend_row *row = find_row(backends, cluster);
	const struct cluster *now;
	struct backend *held;
	bool same;

	if (!row) {
		row_add(backends, cluster);
		return false;
	}
	now = catalog_cluster(backends->catalog, cluster);
	held = backend_get(backends, cluster); // the row's model does not change meanwhile
	same = held && same_options(row->model, now);
	__atomic_store_n(&row->reopen, now && !same, __ATOMIC_RELEASE);
	backend_unref(held);
	model_unref(now);
	if (same)
		return false;
	if (!held && now && !row->backend.adapter) {
		row_open(row); // it could not be opened before
		return false;
	}
	return row_retire(row);
}

struct closing {
	uint32_t open; // atomic
	void (*done)(void *ctx);
	void *ctx;
};

static void on_one_closed(void *ctx)
{
	struct closing *closing = ctx;

	if (__atomic_sub_fetch(&closing->open, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	closing->done(closing->ctx);
	free(closing);
}

void backends_close(struct backends *backends, void (*done)(void *ctx), void *ctx)
{
	struct closing *closing = calloc(1, sizeof *closing);

	if (!closing) {
		done(ctx); // the process ends anyway, and a store is safe against that
		return;
	}
	*closing = (struct closing){.open = 1, .done = done, .ctx = ctx};
	for (struct backend_row *row = backends->rows; row; row = row->next) {
		if (!(__atomic_load_n(&row->word, __ATOMIC_ACQUIRE) & ROW_OPEN))
			continue;
		__atomic_add_fetch(&closing->open, 1, __ATOMIC_ACQ_REL);
		row->closed_ctx = closing;
		__atomic_store_n(&row->closed, on_one_closed, __ATOMIC_RELEASE);
		row_retire(row);
	}
	on_one_closed(closing);
}

static void open_one(void *ctx, const struct model_object *object)
{
	struct backends *backends = ctx;
	struct backend_row *row = row_new(backends, object->id);

	// Under the catalog's lock: only noted here, opened afterwards.
	if (!row)
		return;
	row->next = backends->rows;
	backends->rows = row;
}

void backends_init(struct backends *backends, struct catalog *catalog, adapter_find_fn find_adapter,
		   const char *data_dir)
{
	*backends = (struct backends){
		.find_adapter = find_adapter, .data_dir = data_dir, .catalog = catalog};
	catalog_each(backends->catalog, MODEL_CLUSTER, open_one, backends);
	for (struct backend_row *row = backends->rows; row; row = row->next)
		row_open(row);
}

void backends_deinit(struct backends *backends)
{
	while (backends->rows) {
		struct backend_row *row = backends->rows;

		assert((row->word & ~ROW_OPEN) <= 1); // no reference but its own
		backends->rows = row->next;
		model_unref(row->model);
		budget_deinit(&row->backend.unsettled);
		pthread_mutex_destroy(&row->error_lock);
		free(row);
	}
}
