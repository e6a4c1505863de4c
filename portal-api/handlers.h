// The handlers of the routes, one file per kind of resource.
#pragma once

struct call;

#define HANDLER(name) void name(struct call *call)

// health.c
HANDLER(health_live);
HANDLER(health_ready);
HANDLER(health_metrics);
HANDLER(health_system);
// docs.c
HANDLER(docs_page);
HANDLER(docs_openapi_yaml);
HANDLER(docs_openapi_json);
// sessions.c
HANDLER(sessions_bootstrap);
HANDLER(sessions_login);
HANDLER(sessions_logout);
HANDLER(sessions_me);
HANDLER(sessions_password);
HANDLER(sessions_permissions);
// proxies.c
HANDLER(proxies_list);
HANDLER(proxies_invite);
HANDLER(proxies_get);
HANDLER(proxies_delete);
// users.c
HANDLER(users_list);
HANDLER(users_create);
HANDLER(users_get);
HANDLER(users_put);
HANDLER(users_delete);
HANDLER(users_list_tokens);
HANDLER(users_create_token);
HANDLER(users_get_token);
HANDLER(users_delete_token);
HANDLER(users_list_of_tenant);
HANDLER(users_list_tokens_of_tenant);
HANDLER(users_delete_of_tenant);
HANDLER(users_delete_token_of_tenant);
// clusters.c
HANDLER(clusters_list);
HANDLER(clusters_create);
HANDLER(clusters_get);
HANDLER(clusters_put);
HANDLER(clusters_delete);
HANDLER(clusters_probe);
HANDLER(clusters_state);
HANDLER(clusters_damage);
HANDLER(clusters_existing);
HANDLER(clusters_import);
// tenants.c
HANDLER(tenants_list);
HANDLER(tenants_create);
HANDLER(tenants_get);
HANDLER(tenants_put);
HANDLER(tenants_delete);
// keys.c
HANDLER(keys_list);
HANDLER(keys_create);
HANDLER(keys_get);
HANDLER(keys_put);
HANDLER(keys_delete);
HANDLER(keys_rotate);
// operator_access.c
HANDLER(operator_access_get);
HANDLER(operator_access_grant);
HANDLER(operator_access_withdraw);
HANDLER(operator_access_break_glass);
// topics.c
HANDLER(topics_list);
HANDLER(topics_create);
HANDLER(topics_get);
HANDLER(topics_put);
HANDLER(topics_delete);
HANDLER(topics_partitions);
HANDLER(topics_purge);
HANDLER(topics_skip);
// messages.c
HANDLER(messages_read);
// groups.c
HANDLER(groups_list);
HANDLER(groups_create);
HANDLER(groups_get);
HANDLER(groups_put);
HANDLER(groups_delete);
HANDLER(groups_backlog);
HANDLER(groups_backlogs);
HANDLER(groups_backlogs_all);
HANDLER(groups_reset);
HANDLER(groups_purge);
// statistics.c
HANDLER(statistics_platform);
HANDLER(statistics_tenant);
HANDLER(statistics_topic);
HANDLER(statistics_group);
// clients.c
HANDLER(clients_list);
HANDLER(clients_list_all);
HANDLER(clients_kick_one);
HANDLER(clients_kick_many);
// audit.c
HANDLER(audit_list);
HANDLER(audit_list_tenant);
HANDLER(audit_verify);
// definitions.c
HANDLER(definitions_export);
HANDLER(definitions_import);
// backups.c
HANDLER(backups_list);
HANDLER(backups_create);
HANDLER(backups_restore);

#undef HANDLER
