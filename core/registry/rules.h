// What a kind demands beyond its fields, and what it gets besides.
#pragma once

#include "core/registry/registry.h"
#include "core/registry/row.h"

struct work;

// `old` is NULL for a new one. What is wrong with a member goes to the reader's errors.
int rules_check(struct work *work, enum registry_kind kind, struct row *row, const struct row *old,
		struct json_reader *reader);
int rules_validate(struct work *work, enum registry_kind kind, struct row *row);
int rules_made(struct work *work, enum registry_kind kind, const struct row *row); // after insert

int rules_keep_an_admin(struct work *work, const struct row *row); // about to lose its role
