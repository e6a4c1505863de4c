// Takes a proxy in whose token is right, and knows one by its key.
//
// A token is compared by its hash, as those of machines are. It is not emptied when it is used: an
// answer that is lost on its way must not cost another invitation, so the same key may ask again.
//
// Not here: certificates (core/control), which only the control link has.

#include "core/registry/proxies.h"

#include "core/registry/audit.h"
#include "core/registry/secret.h"
#include "core/registry/store.h"
#include "core/registry/work.h"

#include <errno.h>
#include <stdio.h>

static bool has_key(const struct row *row)
{
	static const uint8_t none[REGISTRY_KEY_HASH];

	return memcmp(row->proxy.key, none, sizeof none) != 0;
}

static int find_invited(struct work *work, const char *token, struct row *ret)
{
	uint8_t hash[32];
	int64_t id = 0;
	int r;

	secret_hash(token, hash);
	r = db_number(&work->registry->db, &id, "SELECT id FROM proxies WHERE hash = ?1", "b", hash,
		      sizeof hash);
	if (r == 1)
		r = store_load(work, REGISTRY_PROXY, (uint64_t)id, ret);
	return r == 0 ? work_refuse(work, CODE_UNAUTHENTICATED,
				    "the token is not one that this installation has given out, or "
				    "its proxy was removed")
		      : MIN(r, 0);
}

static int check_invitation(struct work *work, const struct row *row, const uint8_t *key)
{
	if (has_key(row) && memcmp(row->proxy.key, key, REGISTRY_KEY_HASH) != 0)
		return work_refuse(work, CODE_UNAUTHENTICATED,
				   "the token was used already: proxy %s has joined with it",
				   row_name(row));
	if (row->proxy.expires_ms <= work->registry->now_ms())
		return work_refuse(work, CODE_UNAUTHENTICATED,
				   "the invitation of proxy %s has expired; remove it and invite "
				   "it again",
				   row_name(row));
	return 0;
}

static int take_in(struct work *work, struct row *row, const uint8_t *key)
{
	json_t *before = store_json(work, REGISTRY_PROXY, row), *after;
	int r;

	memcpy(row->proxy.key, key, REGISTRY_KEY_HASH);
	row->proxy.joined_ms = work->registry->now_ms();
	row->edited = work->revision;
	after = store_json(work, REGISTRY_PROXY, row);
	r = before && after ? store_update(work, REGISTRY_PROXY, row) : -ENOMEM;
	if (r == 0)
		r = audit_row(work, "join", REGISTRY_PROXY, row, before, after);
	json_decref(before);
	json_decref(after);
	return r;
}

static void tell(const struct row *row, struct registry_proxy *ret)
{
	ret->id = row->object.id;
	snprintf(ret->name, sizeof ret->name, "%s", row_name(row));
}

int registry_proxies_join(struct registry *registry, const char *address, const char *token,
			  const uint8_t key[REGISTRY_KEY_HASH], struct registry_proxy *ret_proxy,
			  struct registry_result *ret)
{
	const struct registry_actor actor = {.name = "proxy", .address = address};
	struct work work;
	struct row row;
	int r = work_begin(&work, registry, &actor, ret);

	if (r == 0)
		r = find_invited(&work, token, &row);
	if (r == 0)
		r = check_invitation(&work, &row, key);
	if (r == 0 && !has_key(&row))
		r = take_in(&work, &row, key);
	if (r == 0)
		tell(&row, ret_proxy);
	return work_end(&work, r);
}

int registry_proxies_find(struct registry *registry, uint64_t id,
			  const uint8_t key[REGISTRY_KEY_HASH], struct registry_proxy *ret)
{
	struct registry_result result = {0};
	struct work work;
	struct row row;
	int r;

	work_open(&work, registry, &result);
	r = store_load(&work, REGISTRY_PROXY, id, &row);
	if (r == 1 && has_key(&row) && memcmp(row.proxy.key, key, REGISTRY_KEY_HASH) == 0)
		tell(&row, ret);
	else
		r = MIN(r, 0);
	work_close(&work, 0);
	registry_result_deinit(&result);
	return r;
}

int registry_proxies_credentials(struct registry *registry, json_t **ret)
{
	sqlite3_stmt *statement;
	json_t *names = json_array();
	int r = db_query(&registry->db, &statement,
			 "SELECT name FROM clusters WHERE secrets IS NOT NULL ORDER BY name", "");

	while (r == 0 && (r = db_step(&registry->db, statement)) == 1) {
		const char *name = (const char *)sqlite3_column_text(statement, 0);

		r = json_array_append_new(names, json_string(name)) < 0 ? -ENOMEM : 0;
		if (r < 0)
			sqlite3_reset(statement);
	}
	if (r < 0)
		json_decref(names);
	else
		*ret = names;
	return r;
}
