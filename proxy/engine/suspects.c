// Marks of suspects by the ids of their messages.
//
// A log hands a message out under the same offset until it has ended, so its mark stands in the
// flight of that offset (flight.h). A queue hands out what has failed, and all that it has lost,
// under offsets that are counted anew: what stays is the id.
//
// A mark ends when its message is acked or its copy is among the dead letters. A message can also
// end without a word to its group: it expires at the backend, or another client empties the queue.
// Such a mark would stay for ever, so there is a bound, and the oldest mark goes first. A mark
// counts as young again each time its message is handed out. What loses its mark this way is a
// suspect again at its next loss: that costs one loss that does not count, and no other message
// anything.
//
// Invariant: each id is in the table once, and in the list.

#include "proxy/engine/suspects.h"

#include "core/base/util.h"

#include <errno.h>

#define SLOTS 1024u // a power of two; made with the first mark

struct suspect {
	struct list in_age;
	struct suspect *next; // of its slot
	uint8_t id[RECORD_ID_SIZE];
};

static struct suspect **slot_of(const struct suspects *suspects, const uint8_t *id)
{
	return &suspects->slots[record_id_hash(id) & (SLOTS - 1)];
}

// Where the mark is, or would be put.
static struct suspect **place_of(const struct suspects *suspects, const uint8_t *id)
{
	struct suspect **at = slot_of(suspects, id);

	while (*at && memcmp((*at)->id, id, RECORD_ID_SIZE) != 0)
		at = &(*at)->next;
	return at;
}

static void forget(struct suspects *suspects, struct suspect **at)
{
	struct suspect *suspect = *at;

	*at = suspect->next;
	list_unlink(&suspect->in_age);
	--suspects->count;
	free(suspect);
}

static struct suspect *oldest(const struct suspects *suspects)
{
	return LIST_ENTRY(suspects->by_age.next, struct suspect, in_age);
}

void suspects_clear(struct suspects *suspects)
{
	while (suspects->count)
		forget(suspects, place_of(suspects, oldest(suspects)->id));
	free(suspects->slots);
	*suspects = (struct suspects){0};
}

bool suspects_have(const struct suspects *suspects, const uint8_t *id)
{
	return suspects->count && *place_of(suspects, id);
}

static int slots_make(struct suspects *suspects)
{
	suspects->slots = calloc(SLOTS, sizeof *suspects->slots);
	if (!suspects->slots)
		return -ENOMEM;
	list_init(&suspects->by_age);
	return 0;
}

int suspects_add(struct suspects *suspects, const uint8_t *id)
{
	struct suspect **at, *suspect;

	if (!suspects->slots && slots_make(suspects) < 0)
		return -ENOMEM;
	at = place_of(suspects, id);
	if (*at) {
		list_unlink(&(*at)->in_age);
		list_push_back(&suspects->by_age, &(*at)->in_age);
		return 0;
	}
	suspect = calloc(1, sizeof *suspect);
	if (!suspect)
		return -ENOMEM;
	memcpy(suspect->id, id, sizeof suspect->id);
	*at = suspect;
	list_push_back(&suspects->by_age, &suspect->in_age);
	if (++suspects->count > SUSPECTS_MAX)
		forget(suspects, place_of(suspects, oldest(suspects)->id));
	return 0;
}

void suspects_remove(struct suspects *suspects, const uint8_t *id)
{
	struct suspect **at;

	if (suspects->count == 0)
		return;
	at = place_of(suspects, id);
	if (*at)
		forget(suspects, at);
}
