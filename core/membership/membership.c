// The rules of docs/membership.md: P1 to P10 without questions between proxies (`hold` off).
//
// Time of another is never compared with ours. That a renewal was sent gives rights from that
// moment; that an entry has not changed for long enough, by this clock, shows that it is gone.
//
// Invariants: rights end at the sending of the last answered renewal and MEMBERSHIP_TTL_NS less the
// margin; they come again only in membership_answered(), with nothing started; the version of
// `peers` never falls; `stopped` ≤ `version`. Not here: which groups are whose, and the carrying of
// requests.

#include "core/membership/membership.h"

#include "core/base/util.h"

#define RIGHTS_NS     (MEMBERSHIP_TTL_NS - MEMBERSHIP_MARGIN_NS)
#define GONE_NS       (MEMBERSHIP_TTL_NS + MEMBERSHIP_MARGIN_NS)
#define POLL_NS       (500 * MS_NS)
#define POLL_SOON_NS  (100 * MS_NS) // while not all have agreed
#define POLL_LEAST_NS (50 * MS_NS)
#define BACK_OFF_NS   S_NS
#define STOP_NS       (2 * S_NS) // a stop that takes longer ends the renewals
#define RIVAL_BEATS   4u
#define GHOST         "?"

static void text_copy(char *to, size_t size, const char *from)
{
	assert(strlen(from) < size);
	memcpy(to, from, strlen(from) + 1);
}

void membership_init(struct membership *membership, const char *id, const char *life,
		     bool own_machine, uint64_t now_ns)
{
	memset(membership, 0, sizeof *membership);
	text_copy(membership->id, sizeof membership->id, id);
	text_copy(membership->life, sizeof membership->life, life);
	membership->own_machine = own_machine;
	membership->next_ns = now_ns;
}

// ---- rights

bool membership_has_rights(const struct membership *membership, uint64_t now_ns)
{
	return now_ns < __atomic_load_n(&membership->rights_until_ns, __ATOMIC_RELAXED);
}

static void rights_set(struct membership *membership, uint64_t until_ns)
{
	__atomic_store_n(&membership->rights_until_ns, until_ns, __ATOMIC_RELAXED);
}

bool membership_tick(struct membership *membership, uint64_t now_ns)
{
	if (!membership->rights_until_ns || membership_has_rights(membership, now_ns))
		return false;
	rights_set(membership, 0);
	membership->settled = false;
	if (membership->state == MEMBERSHIP_IN)
		membership->state = MEMBERSHIP_OUT;
	++membership->lost;
	return true;
}

// ---- requests

// A stop that hangs would hold up every hand-over of the installation.
static bool is_stuck(const struct membership *membership, uint64_t now_ns)
{
	return membership->stop_since_ns && now_ns - membership->stop_since_ns > STOP_NS;
}

uint64_t membership_next_ns(const struct membership *membership)
{
	if (membership->state == MEMBERSHIP_LEFT || is_stuck(membership, membership->next_ns))
		return UINT64_MAX;
	return membership->next_ns;
}

void membership_poll_now(struct membership *membership, uint64_t now_ns)
{
	membership->next_ns =
		MIN(membership->next_ns, MAX(now_ns, membership->polled_ns + POLL_LEAST_NS));
}

// An own former life is gone for certain where nothing else can run with its data.
static uint64_t gone_at_ns(const struct membership *membership,
			   const struct membership_sight *sight)
{
	if (membership->own_machine && strcmp(sight->id, membership->id) == 0)
		return sight->since_ns;
	return sight->since_ns + GONE_NS;
}

void membership_request(struct membership *membership, const char *random, uint64_t now_ns,
			struct membership_request *ret)
{
	memset(ret, 0, sizeof *ret);
	text_copy(ret->id, sizeof ret->id, membership->id);
	text_copy(ret->life, sizeof ret->life, membership->life);
	text_copy(ret->random, sizeof ret->random, random);
	text_copy(ret->gen, sizeof ret->gen, *membership->gen ? membership->gen : "-");
	text_copy(ret->sight_gen, sizeof ret->sight_gen,
		  *membership->sight_gen ? membership->sight_gen : "-");
	ret->seen = membership->version;
	ret->agreed = membership->stopped;
	ret->sent_ns = now_ns;
	for (size_t i = 0; i < membership->sights; ++i) {
		const struct membership_sight *sight = &membership->sight[i];

		if (now_ns < gone_at_ns(membership, sight))
			continue;
		memcpy(ret->remove[ret->removals].id, sight->id, sizeof sight->id);
		ret->remove[ret->removals++].beat = sight->beat;
	}
	membership->polled_ns = now_ns;
	membership->next_ns = UINT64_MAX; // until it is answered or has failed
}

void membership_failed(struct membership *membership, uint64_t now_ns)
{
	membership->back_off_ns = MIN(MAX(membership->back_off_ns * 2, POLL_LEAST_NS), BACK_OFF_NS);
	membership->next_ns = now_ns + membership->back_off_ns;
}

void membership_leave(struct membership *membership)
{
	membership->state = MEMBERSHIP_LEFT;
	membership->settled = false;
	rights_set(membership, 0);
}

// ---- what is seen of others

static const struct membership_sight *sight_find(const struct membership *membership,
						 const char *id)
{
	for (size_t i = 0; i < membership->sights; ++i)
		if (strcmp(membership->sight[i].id, id) == 0)
			return &membership->sight[i];
	return NULL;
}

// A beat that has changed counts from when it is seen, not from when it was made.
static void sight_add(const struct membership *membership, struct membership_sight *sights,
		      size_t *count, const char *id, uint64_t beat, bool witness, uint64_t now_ns)
{
	const struct membership_sight *before = sight_find(membership, id);
	struct membership_sight *sight = &sights[(*count)++];

	*sight = (struct membership_sight){.beat = beat, .since_ns = now_ns, .witness = witness};
	text_copy(sight->id, sizeof sight->id, id);
	if (before && before->beat == beat)
		sight->since_ns = before->since_ns;
}

static void look_at_others(struct membership *membership, const struct document *document,
			   const struct document_entry *mine, uint64_t now_ns)
{
	struct membership_sight sights[PEERS_MAX + 1];
	size_t count = 0;

	// Beats begin anew with a founding: equal ones show nothing.
	if (strcmp(membership->sight_gen, document->gen) != 0)
		membership->sights = 0;
	for (size_t i = 0; i < document->count; ++i) {
		const struct document_entry *entry = &document->entries[i];

		if (entry == mine)
			continue;
		sight_add(membership, sights, &count, entry->id, entry->beat,
			  mine && entry->agreed >= mine->joined, now_ns);
	}
	if (document->ghost)
		sight_add(membership, sights, &count, GHOST, document->ghost_beat, false, now_ns);
	memcpy(membership->sight, sights, count * sizeof sights[0]);
	membership->sights = count;
	memcpy(membership->sight_gen, document->gen, sizeof membership->sight_gen);
}

// Another life of this name: it is gone, or it beats.
static void look_at_rival(struct membership *membership, const struct document_entry *entry)
{
	const struct membership_sight *before = sight_find(membership, membership->id);

	if (!before)
		membership->rival_beats = 0;
	else
		membership->rival_beats =
			before->beat == entry->beat ? 0 : membership->rival_beats + 1;
	membership->state =
		membership->rival_beats >= RIVAL_BEATS ? MEMBERSHIP_RIVAL : MEMBERSHIP_WAITING;
}

// ---- answers

static bool same_peers(const struct membership *membership, const struct document *document)
{
	if (strcmp(membership->gen, document->gen) != 0 || membership->count != document->count)
		return false;
	for (size_t i = 0; i < membership->count; ++i)
		if (strcmp(membership->peers[i].id, document->entries[i].id) != 0 ||
		    strcmp(membership->peers[i].life, document->entries[i].life) != 0)
			return false;
	return true;
}

static bool is_void(const struct membership *membership, const struct document *document)
{
	if (document->version != membership->version)
		return document->version < membership->version;
	return !same_peers(membership, document);
}

static void peers_take(struct membership *membership, const struct document *document,
		       uint64_t now_ns)
{
	if (document->version != membership->version) {
		membership->settled = false;
		membership->stop_since_ns = now_ns;
	}
	membership->version = document->version;
	memcpy(membership->gen, document->gen, sizeof membership->gen);
	membership->count = document->count;
	memcpy(membership->peers, document->entries, sizeof membership->peers);
}

static bool all_agreed(const struct document *document)
{
	for (size_t i = 0; i < document->count; ++i)
		if (document->entries[i].agreed < document->version)
			return false;
	return !document->ghost;
}

// Half a second, less where something is awaited; exactly when an observation ends.
static uint64_t next_poll_ns(const struct membership *membership, const struct document *document,
			     uint64_t now_ns)
{
	uint64_t next_ns = now_ns + POLL_NS;

	if (membership->state != MEMBERSHIP_IN || !all_agreed(document))
		next_ns = now_ns + POLL_SOON_NS;
	for (size_t i = 0; i < membership->sights; ++i) {
		uint64_t gone_ns = gone_at_ns(membership, &membership->sight[i]);

		next_ns = MIN(next_ns, MAX(gone_ns, now_ns + POLL_LEAST_NS));
	}
	return next_ns;
}

// Rights that were over when the answer came have ended before it counts, whatever it says.
enum membership_outcome membership_answered(struct membership *membership,
					    const struct membership_request *request,
					    const struct document *document, uint64_t now_ns)
{
	const struct document_entry *entry = document_find(document, membership->id);
	const struct document_entry *mine =
		entry && strcmp(entry->life, membership->life) == 0 ? entry : NULL;

	if (membership->state == MEMBERSHIP_LEFT)
		return MEMBERSHIP_OK;
	membership_tick(membership, now_ns);
	if (is_void(membership, document)) {
		++membership->void_answers;
		membership_failed(membership, now_ns);
		return MEMBERSHIP_E_VOID;
	}
	membership->back_off_ns = 0;
	if (!mine && entry)
		look_at_rival(membership, entry);
	look_at_others(membership, document, mine, now_ns);
	if (mine) {
		peers_take(membership, document, now_ns);
		membership->renewed_ns = request->sent_ns;
		rights_set(membership, request->sent_ns + RIGHTS_NS);
		membership->state =
			membership_has_rights(membership, now_ns) ? MEMBERSHIP_IN : MEMBERSHIP_OUT;
		membership->settled = membership->state == MEMBERSHIP_IN &&
				      membership->stopped == membership->version &&
				      all_agreed(document);
	}
	membership->next_ns = next_poll_ns(membership, document, now_ns);
	return MEMBERSHIP_OK;
}

void membership_stopped(struct membership *membership, uint64_t version)
{
	if (version != membership->version)
		return; // a later one has come meanwhile
	membership->stopped = version;
	membership->stop_since_ns = 0;
}
