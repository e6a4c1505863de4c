// Writes the audit log: every change with its old and new values, in the change's own transaction.
// Each entry's hash covers the entry and the hash before it, so that changing, removing or
// inserting one breaks the chain from there on. A log that was cut at its end is found by comparing
// its head with a copy that is kept elsewhere (audit_head.h).

#include "core/registry/audit.h"

#include "core/registry/registry.h"

#include "core/registry/page.h"
#include "core/registry/store.h"
#include "core/registry/work.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>

#define HASH_SIZE AUDIT_HASH_SIZE

struct entry {
	int64_t seq, time_ms;
	const char *texts[8]; // actor, address, action, kind, resource, tenant, old, new
};

static void digest_freep(EVP_MD_CTX **digest)
{
	EVP_MD_CTX_free(*digest);
}

// Lengths before texts, and absent told from empty: no two entries hash the same bytes.
static int entry_hash(const struct entry *entry, const uint8_t before[HASH_SIZE],
		      uint8_t ret[HASH_SIZE])
{
	_cleanup_(digest_freep) EVP_MD_CTX *digest = EVP_MD_CTX_new();
	int64_t numbers[] = {entry->seq, entry->time_ms};
	bool good;

	if (!digest)
		return -ENOMEM;
	good = EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1 &&
	       EVP_DigestUpdate(digest, before, HASH_SIZE) == 1 &&
	       EVP_DigestUpdate(digest, numbers, sizeof numbers) == 1;
	for (size_t i = 0; i < ARRAY_SIZE(entry->texts) && good; ++i) {
		const char *text = entry->texts[i];
		uint64_t size = text ? strlen(text) : UINT64_MAX;

		good = EVP_DigestUpdate(digest, &size, sizeof size) == 1 &&
		       (!text || EVP_DigestUpdate(digest, text, size) == 1);
	}
	return good && EVP_DigestFinal_ex(digest, ret, NULL) == 1 ? 0 : -EIO;
}

static char *audit_text(struct work *work, const json_t *value)
{
	char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;
	char *kept = arena_text(&work->arena, text);

	free(text);
	return kept;
}

int audit_write(struct work *work, const char *action, const char *kind, const char *resource,
		const char *tenant, const json_t *old, const json_t *new)
{
	struct db *db = &work->registry->db;
	struct head *end = &work->audit;
	uint8_t hash[HASH_SIZE];
	struct entry entry = {.seq = (int64_t)end->audit_seq + 1,
			      .time_ms = work->registry->now_ms(),
			      .texts = {work->actor->name, work->actor->address, action, kind,
					resource, tenant, audit_text(work, old),
					audit_text(work, new)}};
	int r = entry_hash(&entry, end->audit_hash, hash);

	if (r < 0)
		return r;
	end->audit_seq = (uint64_t)entry.seq;
	memcpy(end->audit_hash, hash, sizeof hash);
	return db_run(db, "INSERT INTO audit VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11)",
		      "iittttttttb", entry.seq, entry.time_ms, entry.texts[0], entry.texts[1],
		      entry.texts[2], entry.texts[3], entry.texts[4], entry.texts[5],
		      entry.texts[6], entry.texts[7], hash, sizeof hash);
}

int audit_row(struct work *work, const char *action, enum registry_kind kind, const struct row *row,
	      const json_t *old, const json_t *new)
{
	const char *tenant = kind == REGISTRY_TENANT
				     ? row_name(row)
				     : store_tenant_name(work, row_tenant(kind, row));

	return audit_write(work, action, row_kind(kind).name, row_name(row), tenant, old, new);
}

int registry_audit_note(struct registry *registry, const struct registry_actor *actor,
			const char *action, const char *kind, const char *resource,
			const char *tenant, const json_t *details)
{
	struct registry_result result = {0};
	struct work work;
	int r = work_begin(&work, registry, actor, &result);

	if (r == 0)
		r = audit_write(&work, action, kind, resource, tenant, NULL, details);
	r = work_end(&work, r);
	registry_result_deinit(&result);
	return r;
}

// ---- reading

static const char *column_text(sqlite3_stmt *statement, int column)
{
	return (const char *)sqlite3_column_text(statement, column);
}

static json_t *column_json(sqlite3_stmt *statement, int column)
{
	const char *text = column_text(statement, column);
	json_t *value = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;

	return value ? value : json_null();
}

void audit_hash_text(const uint8_t *hash, char ret[REGISTRY_HASH_TEXT])
{
	for (size_t i = 0; i < AUDIT_HASH_SIZE; ++i)
		snprintf(ret + 2 * i, 3, "%02x", hash[i]);
}

static json_t *entry_json(sqlite3_stmt *statement)
{
	char hash[REGISTRY_HASH_TEXT] = "";

	if (sqlite3_column_bytes(statement, 10) == HASH_SIZE)
		audit_hash_text(sqlite3_column_blob(statement, 10), hash);
	return json_pack("{s:I, s:I, s:s, s:s?, s:s, s:s, s:s, s:s?, s:o, s:o, s:s}", "seq",
			 (json_int_t)sqlite3_column_int64(statement, 0), "time_ms",
			 (json_int_t)sqlite3_column_int64(statement, 1), "actor",
			 column_text(statement, 2), "address", column_text(statement, 3), "action",
			 column_text(statement, 4), "kind", column_text(statement, 5), "resource",
			 column_text(statement, 6), "tenant", column_text(statement, 7), "old",
			 column_json(statement, 8), "new", column_json(statement, 9), "hash", hash);
}

static int cursor_read(const char *cursor, int64_t *ret)
{
	char *end;

	*ret = INT64_MAX;
	if (!cursor)
		return 0;
	errno = 0;
	*ret = strtoll(cursor, &end, 10);
	return errno || *end || end == cursor || *ret < 1 ? -EINVAL : 0;
}

int registry_audit_list(struct registry *registry, const struct registry_query *query,
			struct registry_result *ret)
{
	// Two texts, so that a tenant's entries are found by their index.
	static const char common[] = " AND (?3 IS NULL OR actor = ?3)"
				     " AND (?4 IS NULL OR action = ?4)"
				     " AND (?5 IS NULL OR resource = ?5) AND time_ms >= ?6"
				     " AND (?7 = 0 OR time_ms < ?7) ORDER BY seq DESC LIMIT ?8";
	char sql[512];
	struct work work;
	sqlite3_stmt *statement;
	json_t *items = json_array();
	int64_t before, last = 0;
	int r;

	work_open(&work, registry, ret);
	if (cursor_read(query->cursor, &before) < 0) {
		json_decref(items);
		return work_close(&work, work_refuse(&work, CODE_BAD_REQUEST,
						     "the cursor is not one that a page gave"));
	}
	snprintf(sql, sizeof sql, "SELECT * FROM audit WHERE seq < ?1 AND %s%s",
		 query->tenant ? "tenant = ?2" : "?2 IS NULL", common);
	r = db_query(&registry->db, &statement, sql, "ittttiii", before, query->tenant,
		     query->actor, query->action, query->resource, query->since_ms, query->until_ms,
		     (int64_t)query->limit + 1);
	while (r == 0 && (r = db_step(&registry->db, statement)) == 1) {
		r = 0;
		if (json_array_size(items) == query->limit) {
			char next[24];

			snprintf(next, sizeof next, "%lld", (long long)last);
			ret->body = json_pack("{s:O, s:s}", "items", items, "next", next);
			sqlite3_reset(statement);
			break;
		}
		last = sqlite3_column_int64(statement, 0);
		json_array_append_new(items, entry_json(statement));
	}
	if (r == 0 && !ret->body)
		ret->body = json_pack("{s:O, s:n}", "items", items, "next");
	json_decref(items);
	return work_close(&work, r);
}

static int entry_verify(sqlite3_stmt *statement, int64_t expected_seq, uint8_t before[HASH_SIZE],
			bool *ret_good)
{
	struct entry entry = {.seq = sqlite3_column_int64(statement, 0),
			      .time_ms = sqlite3_column_int64(statement, 1)};
	uint8_t hash[HASH_SIZE];
	int r;

	for (int i = 0; i < (int)ARRAY_SIZE(entry.texts); ++i)
		entry.texts[i] = column_text(statement, 2 + i);
	r = entry_hash(&entry, before, hash);
	*ret_good = r == 0 && entry.seq == expected_seq &&
		    sqlite3_column_bytes(statement, 10) == HASH_SIZE &&
		    memcmp(sqlite3_column_blob(statement, 10), hash, HASH_SIZE) == 0;
	memcpy(before, hash, HASH_SIZE);
	return r;
}

// What a walk along the chain has seen.
struct verdict {
	int64_t count, first_bad, last;
	uint8_t hash[HASH_SIZE]; // of the last entry
	const char *asked;       // begins the hash of an entry that should be there; NULL: none
	bool found;              // and it is
	const struct head *outside;
	bool differs; // the entry that was told outside is another one here
};

static void entry_compare(struct verdict *verdict, int64_t seq)
{
	char text[REGISTRY_HASH_TEXT];

	audit_hash_text(verdict->hash, text);
	if (verdict->asked && strncmp(text, verdict->asked, strlen(verdict->asked)) == 0)
		verdict->found = true;
	if ((uint64_t)seq == verdict->outside->audit_seq &&
	    memcmp(verdict->hash, verdict->outside->audit_hash, HASH_SIZE) != 0)
		verdict->differs = true;
}

static int chain_walk(struct registry *registry, struct verdict *verdict)
{
	sqlite3_stmt *statement;
	int r = db_query(&registry->db, &statement, "SELECT * FROM audit ORDER BY seq", "");

	while (r == 0 && !verdict->first_bad && (r = db_step(&registry->db, statement)) == 1) {
		bool good;

		verdict->last = sqlite3_column_int64(statement, 0);
		r = entry_verify(statement, ++verdict->count, verdict->hash, &good);
		if (r == 0 && !good) {
			verdict->first_bad = verdict->last;
			sqlite3_reset(statement);
		} else if (r == 0) {
			entry_compare(verdict, verdict->last);
		}
	}
	return r;
}

// Entries that were written and are not there any more at the end.
static int64_t entries_missing(const struct registry *registry, const struct verdict *verdict)
{
	uint64_t end = MAX(registry->head.audit_seq, registry->outside.audit_seq);

	return verdict->first_bad || end <= (uint64_t)verdict->last
		       ? 0
		       : (int64_t)(end - (uint64_t)verdict->last);
}

static bool is_whole(const struct registry *registry, const struct verdict *verdict)
{
	return !verdict->first_bad && !verdict->differs && !entries_missing(registry, verdict);
}

int audit_check(struct registry *registry, bool *ret_whole)
{
	struct verdict verdict = {.outside = &registry->outside};
	int r = chain_walk(registry, &verdict);

	*ret_whole = is_whole(registry, &verdict);
	return r;
}

int registry_audit_verify(struct registry *registry, const char *head, struct registry_result *ret)
{
	struct verdict verdict = {.asked = head, .outside = &registry->outside};
	char text[REGISTRY_HASH_TEXT];
	struct work work;
	int r;

	work_open(&work, registry, ret);
	r = chain_walk(registry, &verdict);
	if (r == 0) {
		audit_hash_text(verdict.hash, text);
		ret->body = json_pack(
			"{s:b, s:I, s:o, s:I, s:s, s:o}", "ok",
			is_whole(registry, &verdict) && (!head || verdict.found), "entries",
			(json_int_t)verdict.count, "first_bad",
			verdict.first_bad ? json_integer(verdict.first_bad) : json_null(),
			"missing", (json_int_t)entries_missing(registry, &verdict), "head", text,
			"head_found", head ? json_boolean(verdict.found) : json_null());
	}
	return work_close(&work, r);
}

uint64_t registry_audit_head(const struct registry *registry, char ret_hash[REGISTRY_HASH_TEXT])
{
	audit_hash_text(registry->head.audit_hash, ret_hash);
	return registry->head.audit_seq;
}
