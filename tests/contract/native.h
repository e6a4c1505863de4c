// Cases that need clients of the cluster itself: topics into which others write too, and what the
// cluster keeps of a group.
#pragma once

#include "tests/contract/harness.h"

void what_holds_nothing_is_passed(struct bench *bench);
void what_others_write_comes_at_once(struct bench *bench);
void who_is_far_behind_holds_up_nobody(struct bench *bench);
void old_commits_are_made_again(struct bench *bench);
void an_open_transaction_holds_nothing_up_for_ever(struct bench *bench);
