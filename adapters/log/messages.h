// A message query of a backend that is a log: what it fetches, and the answer made of that.
#pragma once

#include "adapters/log/log.h"

// The range of the query, but for its topic and where it stops; a query by time begins at 0.
void messages_fetch(const struct message_query *query, struct log_fetch *ret);
// Of a fetch that succeeded. `rows` is room that the answer points to, as it does to what was
// fetched.
struct adapter_answer messages_answer(const struct log_fetch *fetch,
				      struct stored_message rows[MESSAGE_QUERY_MAX]);
