// What totals have become since they were last saved in the registry.
//
// A file beside it, `totals.journal`: a line for each total that has changed, written before
// it is shown to a caller. It is not synced: a kill leaves it whole, a power cut leaves the
// registry's totals.
#pragma once

#include <jansson.h>
#include <stdint.h>

struct totals_journal;

// Opens it and reads what is in it, in the order in which it was written; what is not whole ends
// it.
typedef void (*totals_journal_fn)(void *ctx, unsigned kind, uint64_t id, const json_t *counters);
int totals_journal_open(const char *data_dir, totals_journal_fn fn, void *ctx,
			struct totals_journal **ret);
void totals_journal_close(struct totals_journal *journal);

void totals_journal_add(struct totals_journal *journal, unsigned kind, uint64_t id,
			json_t *counters);                // takes over `counters`
int totals_journal_write(struct totals_journal *journal); // all that was added, or an errno
int totals_journal_clear(struct totals_journal *journal); // the registry has it
