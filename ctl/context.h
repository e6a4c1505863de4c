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
// Puts the options of the command line on top. A token of the contexts file is sent to the portal
// that it stands with, and to no other.
void context_override(struct context *context, const json_t *options);
void context_deinit(struct context *context);

int context_list(json_t **ret); // {"items": [{name, current, url, addresses, access_key, tenant}]}
// Adds the options that are given on the command line to the entry, and nothing else: neither the
// environment nor another context. A token that was for another portal goes. Makes the entry
// current if it is the first.
int context_save(const char *name, const json_t *options);
int context_use(const char *name);
int context_delete(const char *name);
