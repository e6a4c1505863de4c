// The part of an authenticated client that is the same for every front end; nothing here knows a
// frame.
//
// A right is checked when it is used. The key that a client has named may be revoked before its
// proof comes, so the proof is checked against the catalog as it is then. Later changes reach the
// session through its connection (conn_recheck()).
//
// The window bounds what a client has sent and not yet got an answer for. Credit that was granted
// is never taken back. A session that keeps half of its window busy gets a window twice as large
// while its tenant has room.

#include "proxy/client/session.h"

#include "core/base/clock.h"
#include "core/catalog/catalog.h"
#include "proxy/client/socket_address.h"

void session_init(struct session *session)
{
	list_init(&session->in_tenant);
	list_init(&session->waiting);
	list_init(&session->batches);
	list_init(&session->parked);
	list_init(&session->output_blocked);
}

static void release_window(struct session *session)
{
	if (session->window_extra)
		quota_count_give_back(session->tenant->ledger, QUOTA_MEMORY, session->window_extra);
	session->window_extra = 0;
}

void session_deinit(struct session *session)
{
	if (session->tenant) {
		list_unlink(&session->in_tenant);
		list_unlink(&session->waiting);
		release_window(session);
		tenant_conn_left(session->tenant);
	}
	session->key = model_unref(session->key);
	free(session->client);
	session->client = NULL;
}

// ---- identity and permissions

bool session_name_key(struct session *session, struct catalog *catalog, const char *name)
{
	session->key = catalog_key_by_id(catalog, name);
	return session->key != NULL;
}

bool session_key_usable(const struct access_key *key)
{
	return !key->disabled && (!key->expires_ms || clock_wall_ms() < key->expires_ms);
}

bool session_confirm_key(struct session *session, struct catalog *catalog)
{
	const struct access_key *proved = session->key, *key;

	if (!proved)
		return false;
	key = catalog_key_by_id(catalog, proved->key_id);
	session->key = key;
	if (key && (key->object.id != proved->object.id ||
		    memcmp(key->stored_key, proved->stored_key, sizeof key->stored_key) != 0))
		session->key = model_unref(key);
	model_unref(proved);
	return session->key && session_key_usable(session->key);
}

bool session_renew_key(struct session *session, struct catalog *catalog)
{
	const struct access_key *key = catalog_key_by_id(catalog, session->key->key_id);

	if (!key || key->object.id != session->key->object.id || !session_key_usable(key)) {
		model_unref(key);
		return false;
	}
	model_unref(session->key);
	session->key = key;
	return true;
}

bool session_address_allowed(const struct session *session, const char *peer)
{
	const struct access_key *key = session->key;
	bool allowed = key->allow_count == 0;

	for (size_t i = 0; i < key->deny_count; ++i)
		if (socket_address_in(peer, key->deny[i]))
			return false;
	for (size_t i = 0; i < key->allow_count && !allowed; ++i)
		allowed = socket_address_in(peer, key->allow[i]);
	return allowed;
}

static bool matches_pattern(const char *pattern, const char *name)
{
	size_t size = strlen(pattern);

	if (size && pattern[size - 1] == '*')
		return strncmp(pattern, name, size - 1) == 0;
	return strcmp(pattern, name) == 0;
}

bool session_granted(const struct session *session, const char *name, uint32_t right)
{
	const struct access_key *key = session->key;

	for (size_t i = 0; i < key->grant_count; ++i)
		if ((key->grants[i].rights & right) &&
		    matches_pattern(key->grants[i].pattern, name))
			return true;
	return false;
}

bool session_throttle_due(struct session *session, enum quota_direction direction, uint64_t now_ns)
{
	uint64_t *told_ns = &session->throttle_told_ns[direction];

	if (*told_ns && now_ns < *told_ns + S_NS)
		return false;
	*told_ns = now_ns;
	return true;
}

// ---- the window

static uint32_t window_needed(const struct session *session, const struct proxy_limits *limits)
{
	uint32_t largest = MIN(limits->max_message, session->tenant->model->limits.message_bytes);

	// A quarter of it may be withheld while nothing is in flight, see session_window_answer():
	// the largest record must fit in the rest.
	return MAX(limits->window, largest + largest / 2 + 256);
}

void session_window_start(struct session *session, const struct proxy_limits *limits)
{
	session->window_base = window_needed(session, limits);
	session->granted = session->window_base;
}

void session_window_grow(struct session *session, const struct proxy_limits *limits)
{
	uint32_t window = session->window_base + session->window_extra;
	uint32_t most = MAX(limits->window_max, window);
	uint32_t more = MIN(window, most - window);

	if (more == 0 || !budget_has_room(session->tenant->memory, BUDGET_BODIES, more) ||
	    !quota_count_take(session->tenant->ledger, QUOTA_MEMORY, more))
		return;
	session->window_extra += more;
}

bool session_window_raise(struct session *session, const struct proxy_limits *limits)
{
	uint32_t base = window_needed(session, limits);

	if (base <= session->window_base)
		return false;
	session->window_base = base;
	return session_window_answer(session, limits, 0);
}
