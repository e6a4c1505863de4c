// core/registry: resources with their rules, identities, audit, definitions, backup, the life of
// topics and groups, and what reaches the catalog.

#include "core/base/log.h"
#include "tests/unit/registry/bench.h"
#include "tests/unit/registry/cases.h"

static void directory_make(void)
{
	log_set_sink(bench_drop_line, NULL);
	unit_directory(bench.directory);
	snprintf(bench.db_path, sizeof bench.db_path, "%s/registry.db", bench.directory);
	snprintf(bench.wal_path, sizeof bench.wal_path, "%s-wal", bench.db_path);
	snprintf(bench.shm_path, sizeof bench.shm_path, "%s-shm", bench.db_path);
	snprintf(bench.copy_path, sizeof bench.copy_path, "%s/catalog", bench.directory);
	snprintf(bench.backup_path, sizeof bench.backup_path, "%s/backup.db", bench.directory);
}

static void directory_remove(void)
{
	CHECK_EQ(rmdir(bench.directory), 0);
}

UNIT_MAIN(UNIT_CASE(directory_make), UNIT_CASE(resource_life), UNIT_CASE(topics_and_groups),
	  UNIT_CASE(topics_grow), UNIT_CASE(changes_are_told), UNIT_CASE(copies_of_a_topic),
	  UNIT_CASE(group_rules), UNIT_CASE(starts_of_groups), UNIT_CASE(limits_of_a_tenant),
	  UNIT_CASE(clusters_bound), UNIT_CASE(physical_names_tell_registries_apart),
	  UNIT_CASE(credentials_stay_secret), UNIT_CASE(access_keys), UNIT_CASE(deletion_in_use),
	  UNIT_CASE(deletion_of_a_group), UNIT_CASE(deletion_order),
	  UNIT_CASE(deletion_of_a_tenant), UNIT_CASE(deletion_of_a_large_tenant),
	  UNIT_CASE(deletion_of_a_cluster), UNIT_CASE(lists), UNIT_CASE(bootstrap_works_once),
	  UNIT_CASE(sessions), UNIT_CASE(leave_of_a_tenant), UNIT_CASE(the_last_admin_stays),
	  UNIT_CASE(machine_tokens), UNIT_CASE(proxies_join),
	  UNIT_CASE(tokens_end_with_their_maker), UNIT_CASE(permissions),
	  UNIT_CASE(audit_tells_everything), UNIT_CASE(audit_tampering_is_found),
	  UNIT_CASE(audit_cut_at_its_end_is_found), UNIT_CASE(refusals_leave_no_trace),
	  UNIT_CASE(catalog_is_brought_up_to_date), UNIT_CASE(kill_loses_nothing),
	  UNIT_CASE(full_disk_loses_nothing), UNIT_CASE(totals_survive), UNIT_CASE(definitions),
	  UNIT_CASE(backup_and_restore), UNIT_CASE(restore_of_rubbish_changes_nothing),
	  UNIT_CASE(restore_leaves_revoked_what_was), UNIT_CASE(restore_lets_no_removed_proxy_in),
	  UNIT_CASE(restore_keeps_an_admin), UNIT_CASE(restore_keeps_what_a_tenant_allows),
	  UNIT_CASE(restore_of_names_that_were_given_anew),
	  UNIT_CASE(restore_ends_what_was_damaged), UNIT_CASE(older_schema_is_migrated),
	  UNIT_CASE(newer_schema_is_refused), UNIT_CASE(foreign_file_is_refused),
	  UNIT_CASE(damaged_file_is_refused), UNIT_CASE(locked_file_is_refused),
	  UNIT_CASE(missing_folder_is_refused), UNIT_CASE(reconcile_makes_and_deletes),
	  UNIT_CASE(reconcile_waits_longer_and_longer),
	  UNIT_CASE(reconcile_abandons_what_a_lost_cluster_holds),
	  UNIT_CASE(reconcile_gives_up_on_refusal), UNIT_CASE(reconcile_deletes_what_is_being_made),
	  UNIT_CASE(flips_in_the_registry), UNIT_CASE(flips_in_a_running_registry),
	  UNIT_CASE(flips_in_its_log), UNIT_CASE(damage_under_a_running_registry),
	  UNIT_CASE(flips_in_the_audit_head), UNIT_CASE(flips_in_a_backup),
	  UNIT_CASE(flips_in_the_last_good_copy), UNIT_CASE(directory_remove))
