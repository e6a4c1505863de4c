// Queries that go round all workers, each of which adds its part alone: TOTALS, CLIENTS, KICK.
#pragma once

#include "proxy/query/query.h"

unsigned stats_rounds(enum query_kind kind);
enum code stats_step(struct query *query, struct worker *worker, unsigned round);
void stats_end(struct query *query); // brings what was gathered into the answer's form
