// Clusters, tenants, topics and groups as one document.
#pragma once

#include "core/registry/registry.h"

// Body: the document of `definitions`.
int registry_definitions_export(struct registry *registry, struct registry_result *ret);
// All of it or nothing. Body: {preview, created, updated, unchanged, changes}.
int registry_definitions_import(struct registry *registry, const struct registry_actor *actor,
				const json_t *document, bool preview, struct registry_result *ret);
