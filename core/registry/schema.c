// A registry is recognised by its application id; its user version says which tables it has. A
// resource's columns follow the field tables: a field that an older file lacks is added with its
// initial value, so a migration is a new row there and a higher number here. Other tables have
// their steps in `fixed`.

#include "core/registry/schema.h"

#include "core/base/util.h"
#include "core/registry/registry.h"
#include "core/registry/row.h"

#include <errno.h>
#include <stdio.h>

#define APPLICATION_ID  0x4d515052 // "MQPR"
#define CHECKSUMS_SINCE 5

static const char *const fixed =
	"CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS gone(revision INTEGER, kind INTEGER, id INTEGER, crc INTEGER,"
	" PRIMARY KEY(revision, kind, id)) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS audit(seq INTEGER PRIMARY KEY, time_ms INTEGER, actor TEXT,"
	" address TEXT, action TEXT, kind TEXT, resource TEXT, tenant TEXT, old TEXT, new TEXT,"
	" hash BLOB);"
	"CREATE INDEX IF NOT EXISTS audit_tenant ON audit(tenant, seq);"
	"CREATE TABLE IF NOT EXISTS sessions(hash BLOB PRIMARY KEY, user INTEGER,"
	" expires_ms INTEGER, crc INTEGER) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS operator_access(tenant INTEGER PRIMARY KEY,"
	" guarded_ms INTEGER NOT NULL DEFAULT 0, until_ms INTEGER NOT NULL DEFAULT 0,"
	" granted_by TEXT, reason TEXT, broken_ms INTEGER NOT NULL DEFAULT 0, broken_by TEXT,"
	" broken_user TEXT, broken_reason TEXT, crc INTEGER);"
	"CREATE TABLE IF NOT EXISTS totals(kind INTEGER, id INTEGER, counters TEXT, crc INTEGER,"
	" PRIMARY KEY(kind, id)) WITHOUT ROWID;";

static const char *const indexes =
	"CREATE UNIQUE INDEX IF NOT EXISTS tenants_name ON tenants(name);"
	"CREATE INDEX IF NOT EXISTS tenants_going ON tenants(deleting) WHERE deleting = 1;"
	"CREATE UNIQUE INDEX IF NOT EXISTS clusters_name ON clusters(name);"
	"CREATE UNIQUE INDEX IF NOT EXISTS users_name ON users(name);"
	"CREATE UNIQUE INDEX IF NOT EXISTS tokens_name ON tokens(name);"
	"CREATE UNIQUE INDEX IF NOT EXISTS tokens_hash ON tokens(hash);"
	"CREATE UNIQUE INDEX IF NOT EXISTS proxies_name ON proxies(name);"
	"CREATE UNIQUE INDEX IF NOT EXISTS proxies_hash ON proxies(hash);"
	"CREATE INDEX IF NOT EXISTS users_tenant ON users(tenant) WHERE tenant != 0;"
	"CREATE INDEX IF NOT EXISTS tokens_tenant ON tokens(tenant) WHERE tenant != 0;"
	"CREATE UNIQUE INDEX IF NOT EXISTS access_keys_name ON access_keys(key_id);"
	"CREATE INDEX IF NOT EXISTS access_keys_tenant ON access_keys(tenant, key_id);"
	"CREATE INDEX IF NOT EXISTS access_keys_family ON access_keys(family);"
	"CREATE UNIQUE INDEX IF NOT EXISTS topics_name ON topics(tenant, name);"
	"CREATE INDEX IF NOT EXISTS topics_owned ON topics(tenant) WHERE dead_letter_of = 0;"
	"CREATE UNIQUE INDEX IF NOT EXISTS topics_physical ON topics(cluster, physical);"
	"CREATE INDEX IF NOT EXISTS tenants_revision ON tenants(revision);"
	"CREATE INDEX IF NOT EXISTS clusters_revision ON clusters(revision);"
	"CREATE INDEX IF NOT EXISTS access_keys_revision ON access_keys(revision);"
	"CREATE INDEX IF NOT EXISTS topics_revision ON topics(revision);"
	"CREATE INDEX IF NOT EXISTS topics_pending ON topics(id) WHERE state IN (0, 2);"
	"CREATE INDEX IF NOT EXISTS topics_growing ON topics(id) WHERE growing_to > 0;"
	"CREATE INDEX IF NOT EXISTS topics_unsettled ON topics(id) WHERE unsettled > 0;"
	"CREATE UNIQUE INDEX IF NOT EXISTS groups_name ON \"groups\"(tenant, name);"
	"CREATE INDEX IF NOT EXISTS groups_physical ON \"groups\"(physical);"
	"CREATE INDEX IF NOT EXISTS groups_topic ON \"groups\"(topic);"
	"CREATE INDEX IF NOT EXISTS groups_dead ON \"groups\"(dead_letter_topic)"
	" WHERE dead_letter_topic != 0;"
	"CREATE INDEX IF NOT EXISTS groups_revision ON \"groups\"(revision);"
	"CREATE INDEX IF NOT EXISTS groups_pending ON \"groups\"(id) WHERE state IN (0, 2);";

static const char *column_type(const struct field *field)
{
	switch (field->type) {
	case FIELD_TEXT:
	case FIELD_NAME:
	case FIELD_OBJECT:
	case FIELD_REFS:
	case FIELD_NETWORKS:
	case FIELD_GRANTS: return "TEXT";
	case FIELD_SECRET:
	case FIELD_BYTES: return "BLOB";
	default: return "INTEGER NOT NULL";
	}
}

static void column_define(const struct field *field, char definition[128])
{
	const char *type = column_type(field);
	char column[ROW_COLUMN_MAX];

	row_column(field, column);
	if (*type == 'I')
		snprintf(definition, 128, "\"%s\" %s DEFAULT %lld", column, type,
			 (long long)field->initial);
	else
		snprintf(definition, 128, "\"%s\" %s", column, type);
}

static int column_exists(struct db *db, const char *table, const char *column)
{
	int64_t count;
	int r = db_number(db, &count, "SELECT count(*) FROM pragma_table_info(?1) WHERE name = ?2",
			  "tt", table, column);
	return r < 0 ? r : count != 0;
}

static int column_add(struct db *db, const char *table, const struct field *field)
{
	char definition[128], sql[256], column[ROW_COLUMN_MAX];
	int r;

	row_column(field, column);
	r = column_exists(db, table, column);
	if (r != 0)
		return r < 0 ? r : 0;
	column_define(field, definition);
	snprintf(sql, sizeof sql, "ALTER TABLE \"%s\" ADD COLUMN %s", table, definition);
	return db_script(db, sql);
}

static int table_prepare(struct db *db, enum registry_kind kind)
{
	struct row_kind row = row_kind(kind);
	char sql[160];
	int r;

	snprintf(sql, sizeof sql,
		 "CREATE TABLE IF NOT EXISTS \"%s\"(id INTEGER PRIMARY KEY,"
		 " revision INTEGER NOT NULL, crc INTEGER)",
		 row.table);
	r = db_script(db, sql);
	for (size_t t = 0; t < ARRAY_SIZE(row.shape.tables); ++t)
		for (size_t i = 0; i < row.shape.tables[t]->count && r == 0; ++i)
			r = column_add(db, row.table, &row.shape.tables[t]->fields[i]);
	return r;
}

// Up to schema 4 no row had a checksum. Sessions end.
static int checksums_add(struct db *db)
{
	static const char *const tables[] = {"tenants", "access_keys",    "clusters", "topics",
					     "groups",  "users",          "tokens",   "totals",
					     "gone",    "operator_access"};
	int r = db_script(db, "DROP TABLE IF EXISTS sessions");
	char sql[80];

	for (size_t i = 0; i < ARRAY_SIZE(tables) && r == 0; ++i) {
		int64_t there = 0;

		r = db_number(db, &there, "SELECT count(*) FROM sqlite_master WHERE name = ?1", "t",
			      tables[i]);
		if (r >= 0)
			r = there ? column_exists(db, tables[i], "crc") : 1;
		if (r != 0) {
			r = MIN(r, 0);
			continue;
		}
		snprintf(sql, sizeof sql, "ALTER TABLE \"%s\" ADD COLUMN crc INTEGER", tables[i]);
		r = db_script(db, sql);
	}
	return r;
}

static int migrate_schema(struct db *db, int version)
{
	char sql[64];
	int r = version > 0 && version < CHECKSUMS_SINCE ? checksums_add(db) : 0;

	if (r == 0)
		r = db_script(db, fixed);

	for (unsigned kind = 0; kind < REGISTRY_KIND_COUNT && r == 0; ++kind)
		r = table_prepare(db, (enum registry_kind)kind);
	if (r == 0)
		r = db_script(db, indexes);
	snprintf(sql, sizeof sql, "PRAGMA application_id = %d; PRAGMA user_version = %d",
		 APPLICATION_ID, SCHEMA_VERSION);
	return r < 0 ? r : db_script(db, sql);
}

int schema_prepare(struct db *db, int (*stamp)(void *ctx, int version), void *ctx, int *ret_version)
{
	int64_t application, version, tables;
	int r = db_number(db, &application, "PRAGMA application_id", "");

	if (r >= 0)
		r = db_number(db, &version, "PRAGMA user_version", "");
	if (r >= 0)
		r = db_number(db, &tables, "SELECT count(*) FROM sqlite_master", "");
	if (r < 0)
		return r;
	if (application != APPLICATION_ID && (tables != 0 || application != 0))
		return SCHEMA_E_FOREIGN;
	if (version == 0 && tables != 0) // no version of ours left a file so
		return SCHEMA_E_FOREIGN;
	*ret_version = (int)version;
	if (version > SCHEMA_VERSION)
		return SCHEMA_E_NEWER;
	if (version == SCHEMA_VERSION)
		return 0;
	r = db_script(db, "BEGIN IMMEDIATE");
	if (r < 0)
		return r;
	r = migrate_schema(db, (int)version);
	if (r == 0)
		r = stamp(ctx, (int)version);
	if (r == 0)
		r = db_script(db, "COMMIT");
	if (r < 0)
		db_script(db, "ROLLBACK");
	return r;
}
