// Named contexts: which portal and proxies, and as whom.
#pragma once

#include "ctl/ctl.h"

// The contexts file: $MQPAAS_CONFIG, else $XDG_CONFIG_HOME/mqpaas/contexts.json, else
// ~/.config/mqpaas/contexts.json. Mode 0600: it holds secrets. {"current": NAME, "contexts": {NAME:
// {"url": …, "token": …, …}}}

// The context `name` (NULL: $MQPAAS_CONTEXT, else the current one; none is fine), then MQPAAS_URL,
// MQPAAS_TOKEN, MQPAAS_CA_FILE, MQPAAS_ADDRESS, MQPAAS_ACCESS_KEY, MQPAAS_SECRET and MQPAAS_TENANT
// on top.
int context_load(const char *name, struct context *ret);
void context_deinit(struct context *context);

// The member that an option sets ("url", "token", …); NULL: no such member.
char **context_member(struct context *context, const char *name);

int context_list(json_t **ret); // {"items": [{name, current, url, addresses, access_key, tenant}]}
int context_save(const char *name,
		 const struct context *context); // adds what is set to the entry; makes it current
						 // if it is the first
int context_use(const char *name);
int context_delete(const char *name);
