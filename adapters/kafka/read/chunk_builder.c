#include "adapters/kafka/read/chunk_builder.h"

bool filling_begin(struct filling *filling, uint64_t offset, size_t room)
{
	filling_end(filling);
	filling->chunk = log_chunk_new(offset, room);
	if (!filling->chunk)
		return false;
	buf_ref(filling->chunk->buf);
	filling->floor = log_chunk_room_end(filling->chunk);
	return true;
}

void filling_end(struct filling *filling)
{
	struct buf *buf = filling->chunk ? filling->chunk->buf : NULL;

	if (buf && !filling->shown)
		log_chunk_free(filling->chunk);
	buf_unref(buf);
	*filling = (struct filling){0};
}

bool filling_put(struct filling *filling, const struct message_in *message,
		 const struct message_plan *plan)
{
	struct log_entry *entry = &filling->chunk->entries[filling->count];
	const uint8_t *top = (const uint8_t *)entry;

	if ((uint64_t)(filling->floor - top) < (uint64_t)plan->size + sizeof *entry)
		return false;
	filling->floor -= plan->size;
	message_record_write(message, plan, filling->floor);
	*entry = (struct log_entry){message->offset, MAX(plan->stored_ms, 0), filling->floor,
				    plan->size};
	++filling->count;
	return true;
}

void filling_show(struct filling *filling, struct log_rings *rings, struct log_ring *ring,
		  uint64_t next)
{
	if (filling->count && !filling->shown) {
		log_ring_add(rings, ring, filling->chunk, next);
		filling->shown = true;
	}
	if (filling->count)
		filling->chunk->count = filling->count;
	ring->next = next;
}
