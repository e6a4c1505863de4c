// Constraints of a resource beyond the ranges of its fields, and the members that are made for it.
#pragma once

#include "core/registry/registry.h"
#include "core/registry/row.h"

struct work;

// `old` is NULL for a new one. What is wrong with a member goes to the reader's errors.
int constraints_check(struct work *work, enum registry_kind kind, struct row *row,
		      const struct row *old, struct json_reader *reader);
int constraints_validate(struct work *work, enum registry_kind kind, struct row *row);
int constraints_complete(struct work *work, enum registry_kind kind,
			 const struct row *row); // after insert

int constraints_keep_an_admin(struct work *work, const struct row *row); // about to lose its role
