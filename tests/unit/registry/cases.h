// The cases of the registry, by what they test.
#pragma once

// resources.c
void resource_life(void);
void topics_and_groups(void);
void topics_grow(void);
void copies_of_a_topic(void);
void changes_are_told(void);
void group_rules(void);
void starts_of_groups(void);
void limits_of_a_tenant(void);
void clusters_bound(void);
void physical_names_tell_registries_apart(void);
void credentials_stay_secret(void);
void access_keys(void);

// deleting.c
void deletion_in_use(void);
void deletion_of_a_group(void);
void deletion_order(void);
void deletion_of_a_tenant(void);
void deletion_of_a_large_tenant(void);
void deletion_of_a_cluster(void);
void lists(void);

// access.c
void bootstrap_works_once(void);
void sessions(void);
void leave_of_a_tenant(void);
void the_last_admin_stays(void);
void machine_tokens(void);
void proxies_join(void);
void tokens_end_with_their_maker(void);
void permissions(void);

// kept.c
void audit_tells_everything(void);
void audit_tampering_is_found(void);
void audit_cut_at_its_end_is_found(void);
void refusals_leave_no_trace(void);
void catalog_is_brought_up_to_date(void);
void kill_loses_nothing(void);
void full_disk_loses_nothing(void);
void totals_survive(void);

// files.c
void definitions(void);
void backup_and_restore(void);
void restore_of_rubbish_changes_nothing(void);
void older_schema_is_migrated(void);
void newer_schema_is_refused(void);
void foreign_file_is_refused(void);
void damaged_file_is_refused(void);
void locked_file_is_refused(void);
void missing_folder_is_refused(void);

// reconcile.c
void reconcile_makes_and_deletes(void);
void reconcile_waits_longer_and_longer(void);
void reconcile_abandons_what_a_lost_cluster_holds(void);
void reconcile_gives_up_on_refusal(void);
void reconcile_deletes_what_is_being_made(void);

// flips.c
void flips_in_the_registry(void);
void flips_in_a_running_registry(void);
void flips_in_its_log(void);
void damage_under_a_running_registry(void);
void flips_in_the_audit_head(void);
void flips_in_a_backup(void);
void flips_in_the_last_good_copy(void);

// restoring.c
void restore_leaves_revoked_what_was(void);
void restore_lets_no_removed_proxy_in(void);
void restore_keeps_an_admin(void);
void restore_keeps_what_a_tenant_allows(void);
void restore_of_names_that_were_given_anew(void);
void restore_ends_what_was_damaged(void);
