// Queries that go round all workers, each of which adds its part alone: TOTALS, CLIENTS, KICK.
#pragma once

#include "proxy/query/query.h"

unsigned gather_rounds(enum query_kind kind);
enum code gather_step(struct query *query, struct worker *worker, unsigned round);
void gather_end(struct query *query); // brings what was gathered into the answer's form
