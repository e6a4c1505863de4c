// Checks the whole registry once a day.
//
// What is read is checked when it is read; damage in a row that is not read for months would be
// found only when it is needed. So everything is looked at once a day, in one read transaction of a
// connection of its own: writers go on (write-ahead log), and the check sees one state.
//
// It reports damage and repairs nothing; a restore does. A check that cannot be finished, because
// the registry is closed or the file cannot be opened, reports no damage.

#include "core/registry/scrub.h"

#include "core/base/log.h"
#include "core/loop/ticker.h"
#include "core/registry/audit.h"
#include "core/registry/registry.h"
#include "core/registry/store.h"
#include "core/registry/work.h"

#include <errno.h>
#include <pthread.h>

#define FIRST_NS   (60 * S_NS)
#define PERIOD_NS  (24 * 3600 * S_NS)
#define STOP_STEPS 1000 // of SQLite's machine, between two looks at `stop`

struct registry_scrub {
	struct ticker *ticker;
	struct registry *registry;
	bool stop;            // atomic: what looks is to end
	pthread_mutex_t lock; // of `again`, and of registry->damaged beside it
	bool again;           // what is being looked at is no more
};

static int check_view(struct registry *view)
{
	bool whole = true;
	int r = db_script(&view->db, "BEGIN");

	if (r == 0)
		r = head_read(&view->db, &view->head);
	r = r == 1 ? store_check_pages(&view->db) : r == 0 ? -EUCLEAN : r;
	for (unsigned kind = 0; kind < REGISTRY_KIND_COUNT && r == 0; ++kind)
		r = store_check_rows(view, (enum registry_kind)kind);
	if (r == 0)
		r = audit_check(view, &whole);
	db_script(&view->db, "COMMIT");
	return r == 0 && !whole ? -EUCLEAN : r;
}

// An interruption would be lost between two statements; this is asked in each of them.
static int is_stopped(void *stop)
{
	return __atomic_load_n((const bool *)stop, __ATOMIC_RELAXED);
}

bool registry_scrub_until(const struct registry *registry, bool *stop)
{
	struct registry view = {.key = registry->key, .path = registry->path};
	int r = db_open(&view.db, registry->path, SQLITE_OPEN_READONLY);

	memcpy(view.sql, registry->sql, sizeof view.sql);
	if (r == 0 && stop)
		sqlite3_progress_handler(view.db.sqlite, STOP_STEPS, is_stopped, stop);
	if (r == 0)
		r = stop && is_stopped(stop) ? -ECANCELED : check_view(&view);
	db_close(&view.db);
	if (r == -EUCLEAN)
		log_error(NULL, "REGISTRY-DAMAGED",
			  "%s: damage was found by a look at the whole; put a backup back with "
			  "mqpaasd --restore FILE",
			  registry->path);
	return r != -EUCLEAN;
}

static void damaged_set(struct registry *registry, bool damaged)
{
	__atomic_store_n(&registry->damaged, damaged, __ATOMIC_RELAXED);
}

bool registry_scrub(const struct registry *registry)
{
	return registry_scrub_until(registry, NULL);
}

static uint64_t look_again(void *ctx)
{
	struct registry_scrub *scrub = ctx;
	bool damaged;

	pthread_mutex_lock(&scrub->lock);
	scrub->again = false;
	pthread_mutex_unlock(&scrub->lock);
	damaged = !registry_scrub_until(scrub->registry, &scrub->stop);
	pthread_mutex_lock(&scrub->lock);
	if (!scrub->again)
		damaged_set(scrub->registry, damaged);
	pthread_mutex_unlock(&scrub->lock);
	return PERIOD_NS;
}

void registry_scrub_again(struct registry *registry)
{
	struct registry_scrub *scrub = registry->scrub;

	if (!scrub) {
		damaged_set(registry, false);
		return;
	}
	pthread_mutex_lock(&scrub->lock);
	damaged_set(registry, false);
	scrub->again = true; // what a look under way finds does not count
	pthread_mutex_unlock(&scrub->lock);
	ticker_poke(scrub->ticker);
}

static void scrub_free(struct registry_scrub *scrub)
{
	pthread_mutex_destroy(&scrub->lock);
	free(scrub);
}

int registry_scrub_start(struct registry *registry)
{
	struct registry_scrub *scrub = calloc(1, sizeof *scrub);
	int r;

	assert(!registry->scrub);
	if (!scrub)
		return -ENOMEM;
	scrub->registry = registry;
	pthread_mutex_init(&scrub->lock, NULL);
	r = ticker_new("registry-scrub", FIRST_NS, look_again, scrub, &scrub->ticker);
	if (r < 0) {
		scrub_free(scrub);
		return r;
	}
	registry->scrub = scrub;
	return 0;
}

void registry_scrub_stop(struct registry *registry)
{
	struct registry_scrub *scrub = registry->scrub;

	if (!scrub)
		return;
	__atomic_store_n(&scrub->stop, true, __ATOMIC_RELAXED);
	ticker_free(scrub->ticker);
	scrub_free(scrub);
	registry->scrub = NULL;
}

bool registry_scrub_damaged(const struct registry *registry)
{
	return __atomic_load_n(&registry->damaged, __ATOMIC_RELAXED);
}
