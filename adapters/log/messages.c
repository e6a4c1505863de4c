// Answers a message query from a range that was fetched like any other, so that it costs no second
// way to read and finds what consumers find.
//
// Invariant: an answer has at most MESSAGE_QUERY_MAX messages and MESSAGES_BYTES of records, and
// `next` is known unless the end is reached. Not here: finding the offset of a time.

#include "adapters/log/messages.h"

#define MESSAGES_BYTES (4u << 20)

void messages_fetch(const struct message_query *query, struct log_fetch *ret)
{
	assert(query->limit > 0 && query->limit <= MESSAGE_QUERY_MAX);
	*ret = (struct log_fetch){.partition = query->partition,
				  .offset = query->by_time ? 0 : query->offset,
				  .max_messages = query->limit,
				  .max_bytes = MESSAGES_BYTES};
}

struct adapter_answer messages_answer(const struct log_fetch *fetch,
				      struct stored_message rows[MESSAGE_QUERY_MAX])
{
	assert(fetch->count <= MESSAGE_QUERY_MAX);
	for (uint32_t i = 0; i < fetch->count; ++i)
		rows[i] = (struct stored_message){.offset = fetch->entries[i].offset,
						  .stored_ms = fetch->entries[i].stored_ms,
						  .record = fetch->entries[i].record};
	return (struct adapter_answer){
		.kind = ANSWER_MESSAGES,
		.messages = {.partition = fetch->partition,
			     .rows = rows,
			     .count = fetch->count,
			     .next = fetch->count && fetch->next < fetch->until ? fetch->next
										: ANSWER_NONE}};
}
