// Membership of one proxy in its installation: joining, beats, leaving, who else is a member, and
// until when this proxy has rights.
//
// A pure state machine (docs/membership.md): time is an argument, monotonic and this process's own.
// Whoever drives it carries requests to the scripts renew.lua and leave.lua and answers back. For
// one thread, but for `rights_until_ns`.
#pragma once

#include "core/membership/document.h"

#define MEMBERSHIP_TTL_NS     2000000000ull // a renewal, with the owner's margin and the observer's
#define MEMBERSHIP_MARGIN_NS  250000000ull
#define MEMBERSHIP_ANSWER_NS  600000000ull // no answer for so long: connect anew
#define MEMBERSHIP_RANDOM_MAX 16u

enum membership_state {
	MEMBERSHIP_OUT,     // no answer yet, or rights are over
	MEMBERSHIP_WAITING, // an entry of this name stands there with another life
	MEMBERSHIP_RIVAL,   // and it beats: another proxy uses this name
	MEMBERSHIP_IN,      // one of the proxies; rights are valid
	MEMBERSHIP_LEFT,    // has stopped; begins nothing any more
};

enum membership_outcome {
	MEMBERSHIP_OK = 0,
	MEMBERSHIP_E_VOID = 1, // shows an older or another membership: no answer; connect anew
};

// What is known of another entry: since when its beat is unchanged, by this proxy's clock.
struct membership_sight {
	char id[MEMBERSHIP_ID_MAX + 1];
	uint64_t beat, since_ns;
	bool witness; // it would have had to ask this proxy before it went on without Redis
};

struct membership_request {
	char id[MEMBERSHIP_ID_MAX + 1], life[MEMBERSHIP_LIFE_SIZE], random[MEMBERSHIP_LIFE_SIZE],
		gen[MEMBERSHIP_LIFE_SIZE], sight_gen[MEMBERSHIP_LIFE_SIZE]; // "-": none
	uint64_t seen, agreed, sent_ns;
	size_t removals;
	struct {
		char id[MEMBERSHIP_ID_MAX + 1];
		uint64_t beat;
	} remove[PEERS_MAX + 1];
};

struct membership {
	char id[MEMBERSHIP_ID_MAX + 1], life[MEMBERSHIP_LIFE_SIZE];
	enum membership_state state;
	bool own_machine;         // an entry of this id with another life is dead for certain
	uint64_t rights_until_ns; // atomic; 0: none
	uint64_t renewed_ns;      // when the last answered renewal was sent
	uint64_t version;         // of `peers`; 0: none yet
	uint64_t stopped;         // the version that everything was stopped for
	uint64_t stop_since_ns;   // since when a stop is awaited; 0: none is
	bool settled;             // all have agreed to `version`, no ghost: what is owned may start
	char gen[MEMBERSHIP_LIFE_SIZE];
	size_t count;
	struct document_entry peers[PEERS_MAX]; // of `version`, in the order of their ids
	char sight_gen[MEMBERSHIP_LIFE_SIZE];   // of the document that `sight` is of
	size_t sights;
	struct membership_sight sight[PEERS_MAX + 1];
	uint64_t next_ns, polled_ns, back_off_ns, rival_beats;
	uint64_t void_answers, lost; // counts: answers that were none; rights that ended
};

// `life`: random, 32 hexadecimal digits. `own_machine`: the lock of the data directory is held and
// its boot id is this machine's.
void membership_init(struct membership *membership, const char *id, const char *life,
		     bool own_machine, uint64_t now_ns);

// When membership_request() is due; UINT64_MAX: never, what must stop has not stopped, or it has
// left.
uint64_t membership_next_ns(const struct membership *membership);
void membership_poll_now(struct membership *membership,
			 uint64_t now_ns); // a hint: at most 20 a second
// `random`: a generation, should this found the document anew.
void membership_request(struct membership *membership, const char *random, uint64_t now_ns,
			struct membership_request *ret);
enum membership_outcome membership_answered(struct membership *membership,
					    const struct membership_request *request,
					    const struct document *document, uint64_t now_ns);
void membership_failed(struct membership *membership, uint64_t now_ns);

// Ends rights that are over; true: they ended now, and everything that needs them must stop.
bool membership_tick(struct membership *membership, uint64_t now_ns);
bool membership_has_rights(const struct membership *membership, uint64_t now_ns); // @thread any
// What is not this proxy's under `version` has stopped; only then it agrees to it.
void membership_stopped(struct membership *membership, uint64_t version);
// Everything has stopped. The leave request may be sent, and nothing else.
void membership_leave(struct membership *membership);
