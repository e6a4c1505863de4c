// Restores a registry without a running daemon.
//
// The last known state is the existing registry, if it can be read and was used. Else a registry is
// made of the catalog's last good copy, beside the old one, with the rows that a catalog has. So
// there is one merge for both (restore.c).
//
// Nothing is deleted: the existing registry is renamed, its write-ahead log with it (replace.c). A
// crash before the merged copy is committed leaves everything as it was; steps after that are
// completed by registry_recover_resume().

#include "core/registry/recover.h"

#include "core/base/clock.h"
#include "core/base/directory.h"
#include "core/base/log.h"
#include "core/catalog/catalog.h"
#include "core/model/field.h"
#include "core/registry/audit_head.h"
#include "core/registry/backup.h"
#include "core/registry/registry.h"
#include "core/registry/replace.h"
#include "core/registry/restore.h"
#include "core/registry/store.h"
#include "core/registry/work.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

static const struct registry_actor operator_actor = {.name = "system:restore"};

struct recover {
	const struct registry_recovery *how;
	char *prepared, *known_path, *aside;
	struct registry *copy, *known;
	struct head ended; // where the audit log is known to have ended
	bool partial;
};

static int set_error(int r, char **ret_error, const char *fmt, ...) PRINTF_LIKE(3, 4);
static int set_error(int r, char **ret_error, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	free(*ret_error);
	if (vasprintf(ret_error, fmt, args) < 0)
		*ret_error = NULL;
	va_end(args);
	return r;
}

// ---- the last known state, of a catalog

struct catalog_fill {
	struct work work;
	int r;
};

static void fill_row(void *ctx, const struct model_object *object)
{
	struct catalog_fill *fill = ctx;
	enum registry_kind kind = (enum registry_kind)object->kind;
	struct row row;

	if (fill->r < 0)
		return;
	row_init(kind, &row);
	memcpy(&row.model, object, field_table(object->kind)->size);
	if (kind == REGISTRY_ACCESS_KEY)
		row.family = object->id;
	fill->r = store_insert(&fill->work, kind, &row);
	arena_deinit(&fill->work.arena);
}

static int fill_registry(struct registry *registry, struct catalog *catalog)
{
	struct registry_result result = {0};
	struct catalog_fill fill = {0};

	fill.r = work_begin(&fill.work, registry, &operator_actor, &result);
	for (enum model_kind kind = 0; kind < MODEL_KIND_COUNT && fill.r == 0; ++kind)
		catalog_each(catalog, kind, fill_row, &fill);
	fill.work.revision = MAX(catalog_revision(catalog), 1u);
	fill.work.next_id = MAX(catalog_next_id(catalog), 1u);
	return work_end(&fill.work, fill.r);
}

static int known_from_catalog(struct recover *recover, char **ret_error)
{
	struct registry_config config = {.path = recover->known_path,
					 .key = recover->how->key,
					 .now_ms = recover->how->now_ms};
	int r;

	replace_remove(recover->known_path);
	r = registry_open(&config, &recover->known, ret_error);
	if (r == 0)
		r = fill_registry(recover->known, recover->how->catalog);
	recover->partial = true;
	return r;
}

// ---- which state that is

static bool is_used(struct registry *registry)
{
	int64_t used = 0;

	return db_number(&registry->db, &used, "SELECT EXISTS (SELECT 1 FROM tenants)", "") == 1 &&
	       used;
}

// The registry that is there. None, a damaged one and one that was never used say nothing.
static void known_open(struct recover *recover)
{
	struct registry_config config = {.path = recover->how->path,
					 .key = recover->how->key,
					 .now_ms = recover->how->now_ms,
					 .audit_head = recover->how->audit_head};
	_cleanup_(freep) char *error = NULL;
	struct stat found;

	// Beside an empty file SQLite would throw the log away, which is set aside with it.
	if (stat(config.path, &found) < 0 || found.st_size == 0 ||
	    strcmp(config.path, recover->how->from) == 0)
		return;
	if (registry_open(&config, &recover->known, &error) < 0) {
		log_warn(NULL, "RESTORE-OVER", "%s", error ? error : config.path);
		recover->known = NULL;
	} else if (!is_used(recover->known)) {
		registry_close(recover->known);
		recover->known = NULL;
	}
}

static int known_find(struct recover *recover, char **ret_error)
{
	struct catalog *catalog = recover->how->catalog;

	known_open(recover);
	if (recover->known || !catalog || catalog_revision(catalog) == 0)
		return 0;
	if (catalog_installation(catalog) != recover->copy->head.installation) {
		log_warn(
			NULL, "RESTORE-CATALOG",
			"the catalog is of another installation, and says nothing about this copy");
		return 0;
	}
	return known_from_catalog(recover, ret_error);
}

// ---- the copy

static int copy_open(struct recover *recover, char **ret_error)
{
	struct registry_config config = {.path = recover->prepared,
					 .key = recover->how->key,
					 .now_ms = recover->how->now_ms};
	int r;

	replace_remove(recover->prepared);
	r = backup_take(recover->how->key, recover->how->from, recover->prepared, ret_error);
	if (r == -EUCLEAN)
		return set_error(r, ret_error,
				 "%s is damaged, or no copy of a registry: take another backup",
				 recover->how->from);
	if (r < 0)
		return *ret_error ? r
				  : set_error(r, ret_error, "%s cannot be copied into %s: %s",
					      recover->how->from, recover->prepared, strerror(-r));
	return registry_open(&config, &recover->copy, ret_error);
}

static int merge_copies(struct recover *recover, json_t **ret_report, char **ret_error)
{
	const struct registry_recovery *how = recover->how;
	struct registry_result result = {0};
	struct restore restore = {
		.copy = recover->copy,
		.known = recover->known,
		.partial = recover->partial,
		.revive = how->revive,
		.installation = how->installation ? how->installation
				: recover->known && !recover->partial
					? recover->known->head.installation
					: recover->copy->head.installation,
		.least_id = how->least_id,
		.found = how->found,
		.ended = &recover->ended,
		.path = how->from,
	};
	int r = restore_merge(&restore, &operator_actor, &result);

	if (r == 0 && result.code != CODE_OK)
		r = set_error(-EPERM, ret_error, "%s: %s", how->from, result.text);
	else if (r < 0)
		set_error(r, ret_error, "%s: %s", how->from, strerror(-r));
	else
		*ret_report = json_incref(result.body);
	registry_result_deinit(&result);
	return r;
}

// ---- in its place

static void close_both(struct recover *recover)
{
	registry_close(recover->copy);
	registry_close(recover->known);
	recover->copy = recover->known = NULL;
}

static int run_recovery(struct recover *recover, json_t **ret_report, char **ret_error)
{
	const char *path = recover->how->path;
	struct head merged = {0};
	int r;

	if (asprintf(&recover->prepared, "%s.restore", path) < 0)
		recover->prepared = NULL;
	if (asprintf(&recover->known_path, "%s.known", path) < 0)
		recover->known_path = NULL;
	if (!recover->prepared || !recover->known_path)
		return -ENOMEM;
	r = copy_open(recover, ret_error);
	if (r == 0)
		r = known_find(recover, ret_error);
	if (r == 0)
		audit_head_read(recover->how->audit_head, &recover->ended);
	if (r == 0)
		r = merge_copies(recover, ret_report, ret_error);
	if (r == 0)
		merged = recover->copy->head;
	close_both(recover);
	if (r < 0)
		return r;
	r = replace_commit(path);
	if (r == 0) {
		// Its last entry says what is lost.
		audit_head_write(recover->how->audit_head, &merged);
		r = replace_finish(path, &recover->aside);
	}
	return r < 0 ? set_error(r, ret_error, "%s: %s", path, strerror(-r)) : 0;
}

int registry_recover(const struct registry_recovery *recovery, json_t **ret_report,
		     char **ret_aside, char **ret_error)
{
	struct recover recover = {.how = recovery};
	json_t *report = NULL;
	int r;

	*ret_error = NULL;
	r = run_recovery(&recover, &report, ret_error);
	close_both(&recover);
	if (recover.prepared)
		replace_remove(recover.prepared);
	if (recover.known_path)
		replace_remove(recover.known_path);
	free(recover.prepared);
	free(recover.known_path);
	if (r < 0) {
		free(recover.aside);
		json_decref(report);
		return *ret_error ? r
				  : set_error(r, ret_error, "%s: %s", recovery->from, strerror(-r));
	}
	*ret_report = report;
	*ret_aside = recover.aside;
	return 0;
}

// ---- after a crash

static int head_of(const struct registry_recovery *recovery, const char *path, struct head *ret,
		   char **ret_error)
{
	const struct registry_config config = {
		.path = path, .key = recovery->key, .now_ms = recovery->now_ms};
	struct registry *registry;
	int r = registry_open(&config, &registry, ret_error);

	if (r < 0)
		return r;
	*ret = registry->head;
	registry_close(registry);
	return 0;
}

static void leftovers_remove(const char *path)
{
	static const char *const names[] = {"restore", "known"};

	for (size_t i = 0; i < ARRAY_SIZE(names); ++i) {
		_cleanup_(freep) char *name = NULL;

		if (asprintf(&name, "%s.%s", path, names[i]) < 0)
			name = NULL;
		else
			replace_remove(name);
	}
}

int registry_recover_resume(const struct registry_recovery *recovery, char **ret_aside,
			    char **ret_error)
{
	_cleanup_(freep) char *committed = replace_committed_path(recovery->path);
	struct head head;
	int r = replace_is_pending(recovery->path);

	*ret_aside = *ret_error = NULL;
	leftovers_remove(recovery->path);
	if (r == 1 && committed) {
		r = head_of(recovery, committed, &head, ret_error);
		if (r < 0)
			return r;
		audit_head_write(recovery->audit_head, &head);
		r = replace_finish(recovery->path, ret_aside);
		r = r < 0 ? r : 1;
	}
	return r < 0 ? set_error(r, ret_error, "%s: %s", recovery->path, strerror(-r)) : r;
}

bool registry_recover_is_older(struct registry *registry, struct catalog *catalog)
{
	const struct head *head = &registry->head;

	if (!catalog || catalog_installation(catalog) != head->installation)
		return false;
	return catalog_next_id(catalog) > head->next_id ||
	       (catalog_source(catalog) == head->source &&
		catalog_revision(catalog) > head->revision);
}
