// What only the backends know about a change: checked before the registry takes it.
#pragma once

#include "core/model/model.h"

// As registry_config.validate: a cluster's kind and what its topics and groups may ask of it.
// `ctx` is the daemon.
enum code validate_draft(void *ctx, const struct model_object *draft, const struct cluster *cluster,
			 char **ret_text);
// As registry_config.durability.
enum durability validate_durability(void *ctx, const struct topic *topic,
				    const struct cluster *cluster);
// As registry_config.group_start.
enum group_start validate_group_start(void *ctx, const struct cluster *cluster);
