// Names that people give, and the names we make of them on a backend.
#pragma once

#include "core/model/model.h"

// 1 to 64 Unicode characters without control characters. -EINVAL: *ret_problem says what is wrong
// and what would be right. @thread any
int name_check(const char *name, const char **ret_problem);

// Checks, and brings into normal form C (malloc'ed). Errors as above; -ENOMEM. @thread any
int name_normalize(const char *name, char **ret, const char **ret_problem);

// `mqp.<slug of tenant>.<slug of name>-<id>-<registry>`, both in base 36, the registry's number cut
// to six digits: ASCII lower case, digits, '-' and '.'. @thread any
void name_physical(const char *tenant, const char *name, uint64_t id, uint64_t source,
		   char ret[MODEL_PHYSICAL_MAX + 1]);

// What the probe of a cluster has there (docs/probe.md): a topic for the installation, a group for
// each proxy. No name above is like these: it has a second dot. @thread any
void name_probe_topic(uint64_t cluster, uint64_t installation, char ret[MODEL_PHYSICAL_MAX + 1]);
void name_probe_group(uint64_t cluster, uint64_t installation, const char *proxy,
		      char ret[MODEL_PHYSICAL_MAX + 1]);
bool name_is_probe(const char *physical, size_t size); // of any installation. @thread any
