// An authenticated client of any front end: its identity, its permissions, how much it may have
// under way.
#pragma once

#include "core/base/list.h"
#include "proxy/base/limits.h"
#include "proxy/resource/tenant.h"

struct catalog;

// Embedded in its connection.
struct session {
	struct tenant_view *tenant;   // NULL: not authenticated
	const struct access_key *key; // reference; from when the client has named it
	char *client;                 // name, version and id, each zero-terminated
	struct list in_tenant;        // member of tenant->clients->conns
	struct list waiting;          // member of tenant->clients->waiting
	struct list batches;          // that are not answered, in the order they came
	struct list parked;           // of these, those that wait for the produce quota
	struct list output_blocked;   // subscriptions that wait for the output to leave
	uint32_t unstopped;           // subscriptions that stop and still have deliveries out
	uint32_t leaving;             // subscriptions that have left because it ends
	uint64_t throttle_told_ns[2]; // when it was last told, by direction

	// The window of what it sends, in bytes since it was admitted.
	uint64_t granted, received, answered;
	uint32_t window_base, window_extra; // the sum is what may be unanswered
	uint64_t plain_bytes;               // what compressed batches under way have become
};

void session_init(struct session *session);
void session_deinit(struct session *session); // leaves its tenant; also one that was not admitted

// ---- identity and permissions

// Takes the key of that name. False: there is none.
bool session_name_key(struct session *session, struct catalog *catalog, const char *name);
// After the proof: takes the key as it is now, which the proof must still be for. False: the key
// was revoked meanwhile.
bool session_confirm_key(struct session *session, struct catalog *catalog);
// After a change of the key: takes it as it is now. False: it was revoked.
bool session_renew_key(struct session *session, struct catalog *catalog);
bool session_key_usable(const struct access_key *key); // now
// By the lists of its key; `peer` is "address:port".
bool session_address_allowed(const struct session *session, const char *peer);
// Does the key grant the right on the name?
bool session_granted(const struct session *session, const char *name, uint32_t right);
// Is a notice about the quota due? At most one a second and direction.
bool session_throttle_due(struct session *session, enum quota_direction direction, uint64_t now_ns);

// ---- the window

void session_window_start(struct session *session, const struct proxy_limits *limits);
// False: more was sent than was granted.
static inline bool session_window_take(struct session *session, uint32_t bytes)
{
	session->received += bytes;
	return session->received <= session->granted;
}
// It is more than half busy: takes twice of it while the tenant has room.
void session_window_grow(struct session *session, const struct proxy_limits *limits);
// So much of it is answered. True: session->granted has grown and the client is to be told.
static inline bool session_window_answer(struct session *session, const struct proxy_limits *limits,
					 uint32_t bytes)
{
	uint64_t target;

	if (session->received - session->answered >=
	    (session->window_base + session->window_extra) / 2)
		session_window_grow(session, limits);
	session->answered += bytes;
	target = session->answered + session->window_base + session->window_extra;
	if (target < session->granted + (session->window_base + session->window_extra) / 4)
		return false;
	session->granted = target;
	return true;
}
// The tenant may send larger messages than before. True: as session_window_answer().
bool session_window_raise(struct session *session, const struct proxy_limits *limits);
