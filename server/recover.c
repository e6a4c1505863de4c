// Whether the registry fits the stores and the catalog beside it, and putting a copy of it back.
//
// Stores keep messages under the registry's ids. Whatever happens to registry.db, an id must not
// get a second meaning. So before the registry is used, it is compared with what the stores of this
// machine and the catalog's last good copy remember.
//
// Invariants: an empty registry is refused where anything shows that there was one. A copy that is
// older than the stores or the catalog is never used as it is, but restored. Not here: how a copy
// is brought up to date (core/registry).

#include "server/recover.h"

#include "adapters/adapter.h"
#include "adapters/kinds.h"
#include "core/base/log.h"
#include "core/base/text.h"
#include "core/catalog/catalog.h"
#include "core/registry/recover.h"

#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <stdlib.h>

// ---- what the stores remember

// The directory of a cluster is named by its id. Takes the recall's lists.
static void found_add(struct stores_memory *stores, struct adapter_recall *recall, const char *path)
{
	const char *name = strrchr(path, '/') + 1;

	if (recall->topics && recall->groups)
		json_array_append_new(stores->found,
				      json_pack("{s:I, s:O, s:O}", "cluster",
						(json_int_t)strtoull(name, NULL, 10), "topics",
						recall->topics, "groups", recall->groups));
	json_decref(recall->topics);
	json_decref(recall->groups);
}

static void take_recall(struct stores_memory *stores, struct adapter_recall *recall, char *path)
{
	found_add(stores, recall, path);
	stores->highest_id = MAX(stores->highest_id, recall->highest_id);
	if (!recall->holds || stores->holder) {
		free(path);
		return;
	}
	stores->holds = true;
	stores->holder = path;
	stores->installation = recall->installation;
}

// Of every kind, because the registry that would tell the kind may be lost.
static void remember_cluster(struct stores_memory *stores, const char *path)
{
	const struct adapter_ops *ops;

	for (size_t i = 0; (ops = adapter_kind_at(i)); ++i) {
		struct adapter_recall recall = {0};
		int r = ops->recall ? ops->recall(path, &recall) : -ENOENT;

		if (r == -ENOENT)
			continue;
		if (r < 0) {
			log_error(NULL, "STORE-RECALL", "%s: what it holds cannot be read: %s",
				  path, strerror(-r));
			recall.holds = true;
			stores->unread = stores->unread || !stores->holder;
		}
		take_recall(stores, &recall, text_format("%s", path));
	}
}

char *recover_stores_remember(const struct daemon *daemon, struct stores_memory *ret)
{
	_cleanup_(freep) char *folder = text_format("%s/clusters", daemon->data_dir);
	DIR *directory = opendir(folder);
	struct dirent *entry;

	*ret = (struct stores_memory){.found = json_array()};
	if (!directory)
		return errno == ENOENT ? NULL : text_format("%s: %s", folder, strerror(errno));
	while ((entry = readdir(directory))) {
		_cleanup_(freep) char *path = text_format("%s/%s", folder, entry->d_name);

		if (entry->d_name[0] != '.')
			remember_cluster(ret, path);
	}
	closedir(directory);
	return NULL;
}

void recover_stores_forget(struct stores_memory *stores)
{
	free(stores->holder);
	json_decref(stores->found);
	*stores = (struct stores_memory){0};
}

// ---- an empty registry

static void count_one(void *ctx, const struct model_object *object)
{
	++*(size_t *)ctx;
}

// Its log without it, or what a restore of an earlier version has set aside and put nothing in the
// place of. NULL: no such file.
static char *remains_find(const struct daemon *daemon)
{
	static const char *const patterns[] = {"registry.db-wal", "registry.db.before-restore-*"};
	char *found = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(patterns) && !found; ++i) {
		_cleanup_(freep) char *pattern =
			text_format("%s/%s", daemon->data_dir, patterns[i]);
		glob_t names;

		if (glob(pattern, 0, NULL, &names) == 0) {
			found = text_format("%s", names.gl_pathv[names.gl_pathc - 1]);
			globfree(&names);
		}
	}
	return found;
}

char *recover_refuse_empty(const struct daemon *daemon, const struct stores_memory *stores)
{
	static const char way[] =
		"put the registry back with mqpaasd --restore FILE (backups lie in "
		"%s/backups), or move %s out of %s to begin anew";
	_cleanup_(freep) char *what = NULL, *then = NULL,
			      *remains = files_hold(daemon->data_dir, "registry.db")
						 ? NULL
						 : remains_find(daemon);
	size_t tenants = 0;

	catalog_each(daemon->catalog, MODEL_TENANT, count_one, &tenants);
	if (!stores->holds && !tenants && !remains)
		return NULL;
	what = stores->unread  ? text_format("what %s holds cannot be read", stores->holder)
	       : stores->holds ? text_format("%s holds messages", stores->holder)
	       : tenants ? text_format("%s/catalog knows %zu tenants", daemon->data_dir, tenants)
			 : text_format("%s is what is left of one", remains);
	then = text_format(way, daemon->data_dir,
			   remains ? "clusters, catalog and all files registry.db*"
				   : "clusters and catalog",
			   daemon->data_dir);
	return text_format(
		"%s/registry.db is %s, but %s: a new registry would give its ids a second "
		"meaning; %s",
		daemon->data_dir,
		files_exist(daemon->data_dir, "registry.db") ? "empty" : "missing", what, then);
}

// ---- putting one back

char *recover_resume(const struct daemon *daemon)
{
	_cleanup_(freep) char *path = text_format("%s/registry.db", daemon->data_dir),
			      *audit_head = text_format("%s/audit-head", daemon->data_dir),
			      *aside = NULL;
	const struct registry_recovery recovery = {
		.path = path, .key = &daemon->seal_key, .audit_head = audit_head};
	char *wrong = NULL;
	int r = registry_recover_resume(&recovery, &aside, &wrong);

	if (r < 0)
		return wrong ? wrong : text_format("%s: %s", path, strerror(-r));
	if (r == 1)
		log_warn(NULL, "RESTORE-FINISHED",
			 "a restore was cut short: its result is in place now; what was there is "
			 "%s",
			 aside ? aside : "gone: there was nothing");
	return NULL;
}

static char *recover_registry(struct daemon *daemon, const struct stores_memory *stores,
			      const char *from, bool revive, json_t **ret_report, char **ret_aside)
{
	_cleanup_(freep) char *path = text_format("%s/registry.db", daemon->data_dir),
			      *audit_head = text_format("%s/audit-head", daemon->data_dir);
	const struct registry_recovery recovery = {
		.path = path,
		.from = from,
		.key = &daemon->seal_key,
		.catalog = daemon->catalog,
		.audit_head = audit_head,
		.installation = stores->installation,
		.least_id = MAX(stores->highest_id + 1, catalog_next_id(daemon->catalog)),
		.found = stores->found,
		.revive = revive,
	};
	char *wrong = NULL;

	if (registry_recover(&recovery, ret_report, ret_aside, &wrong) < 0)
		return wrong ? wrong : text_format("%s: it cannot be restored", from);
	return NULL;
}

static const struct {
	const char *list, *member, *says;
} lists[] = {{"revoked", "since", "was revoked since the copy"},
	     {"topics", "reason", "differs from the copy"},
	     {"unknown", "reason", "cannot be compared"}};

static void each_line(const json_t *report, void (*fn)(void *ctx, const char *line), void *ctx)
{
	const json_t *row;
	size_t i;

	for (size_t l = 0; l < ARRAY_SIZE(lists); ++l) {
		json_array_foreach(json_object_get(report, lists[l].list), i, row)
		{
			const char *tenant = json_string_value(json_object_get(row, "tenant"));
			_cleanup_(freep) char *line = text_format(
				"%s %s%s%s %s: %s", json_string_value(json_object_get(row, "kind")),
				tenant ? tenant : "", tenant ? "/" : "",
				json_string_value(json_object_get(row, "name")), lists[l].says,
				json_string_value(json_object_get(row, lists[l].member)));

			fn(ctx, line);
		}
	}
}

static void log_line(void *ctx, const char *line)
{
	log_warn(NULL, "RESTORED", "%s", line);
}

static void print_line(void *ctx, const char *line)
{
	fprintf(ctx, "%s\n", line);
}

char *recover_older(struct daemon *daemon, const struct stores_memory *stores, const char *path)
{
	_cleanup_(freep) char *aside = NULL;
	json_t *report = NULL;
	char *wrong;

	log_error(NULL, "REGISTRY-OLDER",
		  "%s is an older copy than the catalog and the stores beside it: it is taken as a "
		  "restore of that copy",
		  path);
	wrong = recover_registry(daemon, stores, path, false, &report, &aside);
	if (wrong)
		return wrong;
	each_line(report, log_line, NULL);
	if (aside && json_array_size(json_object_get(report, "unknown")))
		log_warn(NULL, "RESTORED",
			 "what could not be compared is disabled or expired; mqpaasd --restore %s "
			 "--revive takes all as in the copy",
			 aside);
	json_decref(report);
	return NULL;
}

char *recover_from(struct daemon *daemon, const char *from, bool revive, FILE *out)
{
	_cleanup_(freep) char *aside = NULL;
	struct stores_memory stores;
	json_t *report = NULL;
	char *wrong = recover_resume(daemon);

	if (wrong)
		return wrong;
	wrong = recover_stores_remember(daemon, &stores);
	if (!wrong)
		wrong = recover_registry(daemon, &stores, from, revive, &report, &aside);
	recover_stores_forget(&stores);
	if (wrong)
		return wrong;
	fprintf(out, "%s/registry.db is restored from %s\n", daemon->data_dir, from);
	if (aside)
		fprintf(out, "what was there is %s\n", aside);
	if (json_array_size(json_object_get(report, "revoked")))
		fputs(revive ? "what was revoked since came back:\n"
			     : "what was revoked since stays so; --revive takes it as in the "
			       "copy:\n",
		      out);
	if (!revive && json_array_size(json_object_get(report, "unknown")))
		fputs("nothing tells what became of some access keys, users and tokens since the "
		      "copy: they are disabled or expired. "
		      "An administrator enables what is to go on, or --restore FILE --revive "
		      "takes all as in the copy:\n",
		      out);
	each_line(report, print_line, out);
	json_decref(report);
	return NULL;
}
