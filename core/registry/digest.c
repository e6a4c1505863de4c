// Computes a SHA-256 over everything that a registry holds: each value of each row of each table,
// in the order of the primary key. A backup carries its own digest, because it must be whole when
// it is read after months: SQLite checks the shape of pages only, and a row that is missing has no
// checksum.

#include "core/registry/digest.h"

#include "core/base/log.h"
#include "core/base/util.h"
#include "core/registry/registry.h"
#include "core/registry/row.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>

#define DIGEST_SIZE 32

static void context_freep(EVP_MD_CTX **context)
{
	EVP_MD_CTX_free(*context);
}

static bool add_value(EVP_MD_CTX *context, sqlite3_stmt *statement, int column)
{
	int type = sqlite3_column_type(statement, column);
	const void *bytes = type == SQLITE_INTEGER ? NULL : sqlite3_column_blob(statement, column);
	int64_t number = type == SQLITE_INTEGER ? sqlite3_column_int64(statement, column)
						: sqlite3_column_bytes(statement, column);
	uint8_t head[9] = {(uint8_t)type};

	le64_put(head + 1, (uint64_t)number);
	return EVP_DigestUpdate(context, head, sizeof head) == 1 &&
	       (!bytes || EVP_DigestUpdate(context, bytes, (size_t)number) == 1);
}

// Rows are led by the table's name, so that none can move to another.
static int add_table(EVP_MD_CTX *context, struct db *db, const char *table, const char *order)
{
	sqlite3_stmt *statement;
	char sql[128];
	int r;

	snprintf(sql, sizeof sql, "SELECT * FROM \"%s\" ORDER BY %s", table, order);
	r = db_query(db, &statement, sql, "");
	while (r == 0 && (r = db_step(db, statement)) == 1) {
		bool good = EVP_DigestUpdate(context, table, strlen(table) + 1) == 1;

		for (int i = 0; i < sqlite3_column_count(statement) && good; ++i)
			good = add_value(context, statement, i);
		r = good ? 0 : -EIO;
		if (r < 0)
			sqlite3_reset(statement);
	}
	return r;
}

static int add_all(EVP_MD_CTX *context, struct db *db)
{
	static const struct {
		const char *table, *order;
	} others[] = {{"gone", "revision, kind, id"},
		      {"audit", "seq"},
		      {"totals", "kind, id"},
		      {"operator_access", "tenant"}};
	int r = 0;

	for (unsigned kind = 0; kind < REGISTRY_KIND_COUNT && r == 0; ++kind)
		r = add_table(context, db, row_kind((enum registry_kind)kind).table, "id");
	for (size_t i = 0; i < ARRAY_SIZE(others) && r == 0; ++i)
		r = add_table(context, db, others[i].table, others[i].order);
	return r;
}

static int compute_digest(struct db *db, uint8_t ret[DIGEST_SIZE])
{
	_cleanup_(context_freep) EVP_MD_CTX *context = EVP_MD_CTX_new();
	int r = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1 ? 0 : -ENOMEM;

	if (r == 0)
		r = add_all(context, db);
	return r == 0 && EVP_DigestFinal_ex(context, ret, NULL) != 1 ? -EIO : r;
}

int digest_write(struct db *db)
{
	uint8_t digest[DIGEST_SIZE];
	int r = compute_digest(db, digest);

	return r < 0 ? r
		     : db_run(db, "INSERT OR REPLACE INTO meta VALUES('digest', ?1)", "b", digest,
			      sizeof digest);
}

int digest_drop(struct db *db)
{
	return db_script(db, "DELETE FROM meta WHERE name = 'digest'");
}

static int compare_digest(struct db *db, sqlite3_stmt *statement)
{
	uint8_t digest[DIGEST_SIZE], expected[DIGEST_SIZE];
	bool whole = sqlite3_column_bytes(statement, 0) == DIGEST_SIZE;
	int r;

	if (whole)
		memcpy(expected, sqlite3_column_blob(statement, 0), DIGEST_SIZE);
	sqlite3_reset(statement);
	r = compute_digest(db, digest);
	if (r == 0 && whole && memcmp(digest, expected, DIGEST_SIZE) == 0)
		return 0;
	if (r == 0)
		log_error(NULL, "BACKUP-DAMAGED", "the backup does not have its digest");
	return r < 0 ? r : -EUCLEAN;
}

int digest_check(struct db *db)
{
	sqlite3_stmt *statement;
	int64_t tables = 0;
	int r = db_number(db, &tables, "SELECT count(*) FROM sqlite_master WHERE name = 'meta'",
			  "");

	if (r < 0 || tables == 0)
		return MIN(r, 0);
	r = db_query(db, &statement, "SELECT value FROM meta WHERE name = 'digest'", "");
	if (r == 0)
		r = db_step(db, statement);
	return r == 1 ? compare_digest(db, statement) : r;
}
