// The file that names the newest entry of the audit log.
#pragma once

#include "core/registry/head.h"

struct registry;

bool audit_head_read(const char *path, struct head *ret);         // false: none that can be read
void audit_head_write(const char *path, const struct head *head); // NULL: nowhere
void audit_head_check(struct registry *registry); // against that file; what is missing is said
void audit_head_tell(struct registry *registry);  // in the log, if it has moved since
