// What a registry was at each of its revisions, over several lives, and the changes between them as
// real bytes.
#pragma once

#include "core/catalog/catalog.h"
#include "core/control/history.h"

struct follow_entry {
	struct link_position position;
	uint64_t until_ns; // when the portal had something newer; UINT64_MAX: it is the newest
};

void follow_log_start(uint64_t now_ns);
void follow_log_change(uint64_t now_ns);  // one object of the newest entry
void follow_log_restore(uint64_t now_ns); // another life begins with some earlier entry
const struct follow_entry *follow_log_newest(void);
const struct follow_entry *follow_log_find(struct link_position position); // NULL: there never was
// Both positions are in the log, of one source; `from` with revision 0: a full copy.
struct catalog_change *follow_log_make(struct link_position from, struct link_position to);
// Fails unless the catalog is exactly what the registry was at the catalog's position.
void follow_log_compare(struct catalog *catalog);
