// The cases of the contract: what every backend must do, once for all kinds.
#pragma once

#include "tests/contract/harness.h"

struct contract_case {
	const char *name; // a sentence about the backend
	uint32_t needs;   // capabilities; without them the case cannot be asked
	const char *kind; // only of this kind; NULL: of all
	void (*run)(struct bench *bench);
	// Its form where the cluster keeps no positions; needs CAP_CONSUME in place of
	// CAP_HISTORY. NULL: it has one form.
	void (*queue)(struct bench *bench);
};

extern const struct contract_case contract_cases[];
extern const size_t contract_case_count;

// What a process of its own does in one of the cases: sends, takes and acknowledges every other
// one, durably; then says so to the descriptor and waits for its death.
void contract_live_and_be_killed(const char *kind, enum durability durability, const char *dir,
				 int fd);
