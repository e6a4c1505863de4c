// What an administrator does meanwhile, in the middle of the recorded workload.
#pragma once

#include "tests/contract/harness.h"

// Makes a topic and a group, fills, changes, resets, purges and deletes them: each answer is OK and
// looked at by durable.h. The workload's own topics and group stay as they are.
void admin_round(struct bench *bench, enum durability durability);
