// Reading and writing of rows by the field tables.
//
// A list is stored as JSON, a secret sealed, everything else as SQLite's own types. The name of the
// row is part of what a secret is sealed with, so that a sealed secret that is moved to another row
// does not open there. Columns are read and bound in the order of the tables: the statements of
// row_sql_make() name them in that order.

#include "core/registry/row.h"

#include "core/base/log.h"
#include "core/base/util.h"
#include "core/registry/checksum.h"
#include "core/registry/permission.h"
#include "core/registry/registry.h"

#include <errno.h>
#include <stdio.h>

// ---- what only the registry keeps

#define EXTRA(member) .offset = offsetof(struct row, member)

static const struct field tenant_extra[] = {
	{.name = "edited", .type = FIELD_U64, EXTRA(edited), .flags = FIELD_HIDDEN},
	{.name = "created_ms", .type = FIELD_TIME, EXTRA(created_ms), .flags = FIELD_HIDDEN},
	{.name = "deleting", .type = FIELD_BOOL, EXTRA(deleting), .flags = FIELD_HIDDEN},
};

#define cluster_extra tenant_extra

static const struct field key_extra[] = {
	{.name = "edited", .type = FIELD_U64, EXTRA(edited), .flags = FIELD_HIDDEN},
	{.name = "created_ms", .type = FIELD_TIME, EXTRA(created_ms), .flags = FIELD_READ_ONLY},
	{.name = "family", .type = FIELD_U64, EXTRA(family), .flags = FIELD_HIDDEN},
	{.name = "description",
	 .type = FIELD_TEXT,
	 EXTRA(description),
	 .flags = FIELD_NONE,
	 .max = 256},
};

static const struct field topic_extra[] = {
	{.name = "edited", .type = FIELD_U64, EXTRA(edited), .flags = FIELD_HIDDEN},
	{.name = "created_ms", .type = FIELD_TIME, EXTRA(created_ms), .flags = FIELD_HIDDEN},
	{.name = "state_reason", .type = FIELD_TEXT, EXTRA(state_reason), .flags = FIELD_READ_ONLY},
	{.name = "growing_to",
	 .type = FIELD_U32,
	 EXTRA(growing_to),
	 .flags = FIELD_READ_ONLY | FIELD_NONE},
	{.name = "unsettled", .type = FIELD_U64, EXTRA(unsettled), .flags = FIELD_HIDDEN},
	{.name = "unverified", .type = FIELD_BOOL, EXTRA(unverified), .flags = FIELD_HIDDEN},
};

static const struct field group_extra[] = {
	{.name = "edited", .type = FIELD_U64, EXTRA(edited), .flags = FIELD_HIDDEN},
	{.name = "created_ms", .type = FIELD_TIME, EXTRA(created_ms), .flags = FIELD_HIDDEN},
	{.name = "state_reason", .type = FIELD_TEXT, EXTRA(state_reason), .flags = FIELD_READ_ONLY},
	{.name = "dead_letter",
	 .type = FIELD_BOOL,
	 EXTRA(dead_letter),
	 .flags = FIELD_IMMUTABLE,
	 .initial = true},
	{.name = "unverified", .type = FIELD_BOOL, EXTRA(unverified), .flags = FIELD_HIDDEN},
};

static const struct field account_extra[] = {
	{.name = "edited", .type = FIELD_U64, EXTRA(edited), .flags = FIELD_HIDDEN},
	{.name = "created_ms", .type = FIELD_TIME, EXTRA(created_ms), .flags = FIELD_READ_ONLY},
};

#define user_extra  account_extra
#define token_extra account_extra
#define proxy_extra account_extra

#define ROLE_TEXT(name, value, tenant) #name,
static const char *const role_values[] = {ROLE_TABLE(ROLE_TEXT) NULL};
#undef ROLE_TEXT

#define AT(kind, member) .offset = offsetof(struct kind, member)
#define ROLE_FIELD(kind)                                                                           \
	{.name = "role",                                                                           \
	 .type = FIELD_ENUM,                                                                       \
	 AT(kind, role),                                                                           \
	 .flags = FIELD_REQUIRED,                                                                  \
	 .max = ROLE_COUNT - 1,                                                                    \
	 .values = role_values,                                                                    \
	 .unit = ""}
#define TENANT_FIELD(kind)                                                                         \
	{.name = "tenant",                                                                         \
	 .type = FIELD_REF,                                                                        \
	 AT(kind, tenant),                                                                         \
	 .flags = FIELD_NONE,                                                                      \
	 .ref = MODEL_TENANT,                                                                      \
	 .unit = ""}

static const struct field user_fields[] = {
	{.name = "name",
	 .type = FIELD_NAME,
	 AT(user, name),
	 .flags = FIELD_REQUIRED | FIELD_IMMUTABLE,
	 .unit = ""},
	{.name = "password",
	 .type = FIELD_TEXT,
	 AT(user, password),
	 .flags = FIELD_REQUIRED | FIELD_WRITE_ONLY,
	 .min = 12,
	 .max = 256,
	 .unit = ""},
	ROLE_FIELD(user),
	TENANT_FIELD(user),
	{.name = "disabled", .type = FIELD_BOOL, AT(user, disabled), .unit = ""},
};

static const struct field token_fields[] = {
	{.name = "name",
	 .type = FIELD_NAME,
	 AT(token, name),
	 .flags = FIELD_REQUIRED | FIELD_IMMUTABLE,
	 .unit = ""},
	{.name = "hash",
	 .type = FIELD_BYTES,
	 AT(token, hash),
	 .size = 32,
	 .flags = FIELD_HIDDEN,
	 .unit = ""},
	ROLE_FIELD(token),
	TENANT_FIELD(token),
	{.name = "expires_ms",
	 .type = FIELD_TIME,
	 AT(token, expires_ms),
	 .flags = FIELD_NONE,
	 .min = 1,
	 .max = 9007199254740991ull,
	 .unit = ""},
	{.name = "maker",
	 .type = FIELD_TEXT,
	 AT(token, maker),
	 .flags = FIELD_READ_ONLY | FIELD_NONE,
	 .unit = ""},
	{.name = "maker_id",
	 .type = FIELD_U64,
	 AT(token, maker_id),
	 .flags = FIELD_HIDDEN,
	 .unit = ""},
};

static const struct field proxy_fields[] = {
	{.name = "name",
	 .type = FIELD_NAME,
	 AT(proxy_row, name),
	 .flags = FIELD_REQUIRED | FIELD_IMMUTABLE,
	 .unit = ""},
	{.name = "hash",
	 .type = FIELD_BYTES,
	 AT(proxy_row, hash),
	 .size = 32,
	 .flags = FIELD_HIDDEN,
	 .unit = ""},
	{.name = "expires_ms",
	 .type = FIELD_TIME,
	 AT(proxy_row, expires_ms),
	 .flags = FIELD_NONE,
	 .min = 1,
	 .max = 9007199254740991ull,
	 .unit = ""},
	{.name = "joined_ms",
	 .type = FIELD_TIME,
	 AT(proxy_row, joined_ms),
	 .flags = FIELD_READ_ONLY | FIELD_NONE,
	 .unit = ""},
	{.name = "key",
	 .type = FIELD_BYTES,
	 AT(proxy_row, key),
	 .size = 32,
	 .flags = FIELD_HIDDEN,
	 .unit = ""},
};

#define OWN_TABLE(kind, type)                                                                      \
	{.name = #kind,                                                                            \
	 .fields = kind##_fields,                                                                  \
	 .count = ARRAY_SIZE(kind##_fields),                                                       \
	 .size = sizeof(struct type)}
static const struct field_table own_tables[] = {OWN_TABLE(user, user), OWN_TABLE(token, token),
						OWN_TABLE(proxy, proxy_row)};

#define EXTRA_TABLE(rows) {.name = "extra", .fields = rows, .count = ARRAY_SIZE(rows)}
static const struct field_table extra_tables[REGISTRY_KIND_COUNT] = {
	[REGISTRY_TENANT] = EXTRA_TABLE(tenant_extra),
	[REGISTRY_ACCESS_KEY] = EXTRA_TABLE(key_extra),
	[REGISTRY_CLUSTER] = EXTRA_TABLE(cluster_extra),
	[REGISTRY_TOPIC] = EXTRA_TABLE(topic_extra),
	[REGISTRY_GROUP] = EXTRA_TABLE(group_extra),
	[REGISTRY_USER] = EXTRA_TABLE(user_extra),
	[REGISTRY_TOKEN] = EXTRA_TABLE(token_extra),
	[REGISTRY_PROXY] = EXTRA_TABLE(proxy_extra),
};

static const struct {
	const char *name, *table;
	bool tenanted;
} words[REGISTRY_KIND_COUNT] = {
	[REGISTRY_TENANT] = {"tenant", "tenants", false},
	[REGISTRY_ACCESS_KEY] = {"access_key", "access_keys", true},
	[REGISTRY_CLUSTER] = {"cluster", "clusters", false},
	[REGISTRY_TOPIC] = {"topic", "topics", true},
	[REGISTRY_GROUP] = {"group", "groups", true},
	[REGISTRY_USER] = {"user", "users", false},
	[REGISTRY_TOKEN] = {"token", "tokens", false},
	[REGISTRY_PROXY] = {"proxy", "proxies", false},
};

struct row_kind row_kind(enum registry_kind kind)
{
	struct row_kind ret = {
		.name = words[kind].name,
		.table = words[kind].table,
		.tenanted = words[kind].tenanted,
	};

	ret.shape.tables[0] = kind < REGISTRY_USER ? field_table((enum model_kind)kind)
						   : &own_tables[kind - REGISTRY_USER];
	ret.shape.tables[1] = &extra_tables[kind];
	return ret;
}

const char *row_name(const struct row *row)
{
	return row->model.topic.name; // the same place in every struct, asserted below
}

const char *row_name_column(enum registry_kind kind)
{
	return kind == REGISTRY_ACCESS_KEY ? "key_id" : "name";
}

_Static_assert(offsetof(struct tenant, name) == offsetof(struct topic, name) &&
		       offsetof(struct access_key, key_id) == offsetof(struct topic, name) &&
		       offsetof(struct cluster, name) == offsetof(struct topic, name) &&
		       offsetof(struct group, name) == offsetof(struct topic, name) &&
		       offsetof(struct user, name) == offsetof(struct topic, name) &&
		       offsetof(struct token, name) == offsetof(struct topic, name) &&
		       offsetof(struct proxy_row, name) == offsetof(struct topic, name),
	       "the name is the first member of every kind");

uint64_t row_tenant(enum registry_kind kind, const struct row *row)
{
	switch (kind) {
	case REGISTRY_ACCESS_KEY: return row->model.key.tenant;
	case REGISTRY_TOPIC: return row->model.topic.tenant;
	case REGISTRY_GROUP: return row->model.group.tenant;
	case REGISTRY_USER: return row->user.tenant;
	case REGISTRY_TOKEN: return row->token.tenant;
	case REGISTRY_TENANT: return row->object.id;
	default: return 0;
	}
}

typedef int (*field_fn)(void *ctx, const struct field *field);

static int each_field(enum registry_kind kind, field_fn fn, void *ctx)
{
	struct json_shape shape = row_kind(kind).shape;
	int r = 0;

	for (size_t t = 0; t < ARRAY_SIZE(shape.tables); ++t)
		for (size_t i = 0; i < shape.tables[t]->count && r == 0; ++i)
			r = fn(ctx, &shape.tables[t]->fields[i]);
	return r;
}

static int set_initial(void *ctx, const struct field *field)
{
	field_set_initial(field, ctx);
	return 0;
}

void row_init(enum registry_kind kind, struct row *row)
{
	memset(row, 0, sizeof *row);
	row->object.kind = (uint8_t)kind;
	each_field(kind, set_initial, row);
}

// ---- statements

void row_column(const struct field *field, char column[ROW_COLUMN_MAX])
{
	snprintf(column, ROW_COLUMN_MAX, "%s", field->name);
	for (char *at = column; *at; ++at)
		if (*at == '.')
			*at = '_';
}

struct text {
	FILE *columns, *places, *sets;
	unsigned count;
};

static int add_column(void *ctx, const struct field *field)
{
	struct text *text = ctx;
	char column[ROW_COLUMN_MAX];

	row_column(field, column);
	++text->count;
	fprintf(text->columns, ", \"%s\"", column);
	fprintf(text->places, ", ?%u", text->count);
	fprintf(text->sets, ", \"%s\" = ?%u", column, text->count);
	return 0;
}

int row_sql_make(enum registry_kind kind, struct row_sql *ret)
{
	_cleanup_(freep) char *columns = NULL, *places = NULL, *sets = NULL;
	size_t columns_size, places_size, sets_size;
	struct text text = {.columns = open_memstream(&columns, &columns_size),
			    .places = open_memstream(&places, &places_size),
			    .sets = open_memstream(&sets, &sets_size),
			    .count = 3};
	const char *table = row_kind(kind).table;
	int r = text.columns && text.places && text.sets ? 0 : -ENOMEM;

	if (r == 0)
		r = each_field(kind, add_column, &text);
	if (text.columns)
		fclose(text.columns);
	if (text.places)
		fclose(text.places);
	if (text.sets)
		fclose(text.sets);
	*ret = (struct row_sql){0};
	if (r == 0 &&
	    (asprintf(&ret->select, "SELECT id, revision, crc%s FROM \"%s\"", columns, table) < 0 ||
	     asprintf(&ret->by_id, "%s WHERE id = ?1", ret->select) < 0 ||
	     asprintf(&ret->by_name, "%s WHERE %s = ?2%s", ret->select, row_name_column(kind),
		      row_kind(kind).tenanted ? " AND tenant = ?1" : "") < 0 ||
	     asprintf(&ret->newer, "%s WHERE revision > ?1", ret->select) < 0 ||
	     asprintf(&ret->insert, "INSERT INTO \"%s\"(id, revision, crc%s) VALUES(?1, ?2, ?3%s)",
		      table, columns, places) < 0 ||
	     asprintf(&ret->update, "UPDATE \"%s\" SET revision = ?2, crc = ?3%s WHERE id = ?1",
		      table, sets) < 0 ||
	     asprintf(&ret->drop, "DELETE FROM \"%s\" WHERE id = ?1", table) < 0))
		r = -ENOMEM;
	return r;
}

void row_sql_free(struct row_sql *sql)
{
	free(sql->select);
	free(sql->by_id);
	free(sql->by_name);
	free(sql->newer);
	free(sql->insert);
	free(sql->update);
	free(sql->drop);
}

// ---- columns

struct cursor {
	enum registry_kind kind;
	sqlite3_stmt *statement;
	const struct seal_key *key;
	struct arena *arena;
	struct row *row;
	int column;
};

static void secret_row(const struct cursor *cursor, char row[48])
{
	snprintf(row, 48, "%s/%llu", words[cursor->kind].table,
		 (unsigned long long)cursor->row->object.id);
}

static int read_secret(struct cursor *cursor, const char **ret)
{
	const uint8_t *sealed = sqlite3_column_blob(cursor->statement, cursor->column);
	size_t size = (size_t)sqlite3_column_bytes(cursor->statement, cursor->column);
	char row[48], *plain;

	*ret = NULL;
	if (!sealed)
		return 0;
	if (size < SEAL_OVERHEAD)
		return -EUCLEAN;
	plain = arena_alloc(cursor->arena, size - SEAL_OVERHEAD + 1);
	if (!plain)
		return -ENOMEM;
	secret_row(cursor, row);
	if (seal_open(cursor->key, row, sealed, size, plain) < 0)
		return -EKEYREJECTED;
	*ret = plain;
	return 0;
}

static int list_item(const struct field *field, const json_t *item, struct arena *arena, void *at)
{
	struct access_grant *grant = at;

	switch (field->type) {
	case FIELD_REFS: *(uint64_t *)at = (uint64_t)json_integer_value(item); return 0;
	case FIELD_NETWORKS:
		*(char **)at = arena_text(arena, json_string_value(item));
		return *(char **)at ? 0 : -ENOMEM;
	default:
		grant->pattern = arena_text(arena, json_string_value(json_array_get(item, 0)));
		grant->rights = (uint32_t)json_integer_value(json_array_get(item, 1));
		return grant->pattern ? 0 : -ENOMEM;
	}
}

static size_t item_size(const struct field *field)
{
	return field->type == FIELD_GRANTS ? sizeof(struct access_grant) : sizeof(uint64_t);
}

static int read_list(struct cursor *cursor, const struct field *field)
{
	const char *text = (const char *)sqlite3_column_text(cursor->statement, cursor->column);
	json_t *list = text ? json_loads(text, 0, NULL) : NULL;
	size_t count = json_array_size(list), size = item_size(field);
	char *items = count ? arena_alloc(cursor->arena, count * size) : NULL;
	char *base = (char *)cursor->row;
	int r = count && !items ? -ENOMEM : 0;

	for (size_t i = 0; i < count && r == 0; ++i)
		r = list_item(field, json_array_get(list, i), cursor->arena, items + i * size);
	json_decref(list);
	*(void **)(void *)(base + field->offset) = items;
	*(size_t *)(void *)(base + field->count_offset) = count;
	return r;
}

static int read_column(void *ctx, const struct field *field)
{
	struct cursor *cursor = ctx;
	char *at = (char *)cursor->row + field->offset;
	const void *bytes;
	int r = 0;

	switch (field->type) {
	case FIELD_TEXT:
	case FIELD_NAME:
	case FIELD_OBJECT:
		bytes = sqlite3_column_text(cursor->statement, cursor->column);
		*(char **)(void *)at = arena_text(cursor->arena, bytes);
		if (bytes && !*(char **)(void *)at)
			r = -ENOMEM;
		break;
	case FIELD_SECRET: r = read_secret(cursor, (const char **)(void *)at); break;
	case FIELD_BYTES:
		bytes = sqlite3_column_blob(cursor->statement, cursor->column);
		if (sqlite3_column_bytes(cursor->statement, cursor->column) == field->size)
			memcpy(at, bytes, field->size);
		else if (bytes)
			r = -EUCLEAN;
		break;
	case FIELD_REFS:
	case FIELD_NETWORKS:
	case FIELD_GRANTS: r = read_list(cursor, field); break;
	default:
		field_set(field, cursor->row,
			  (uint64_t)sqlite3_column_int64(cursor->statement, cursor->column));
		break;
	}
	++cursor->column;
	return r;
}

static int decode_row(enum registry_kind kind, sqlite3_stmt *statement, const struct seal_key *key,
		      struct arena *arena, struct row *ret)
{
	struct cursor cursor = {.kind = kind,
				.statement = statement,
				.key = key,
				.arena = arena,
				.row = ret,
				.column = 3};

	memset(ret, 0, sizeof *ret);
	ret->object.kind = (uint8_t)kind;
	ret->object.id = (uint64_t)sqlite3_column_int64(statement, 0);
	ret->object.revision = (uint64_t)sqlite3_column_int64(statement, 1);
	return each_field(kind, read_column, &cursor);
}

int row_read(enum registry_kind kind, sqlite3_stmt *statement, const struct seal_key *key,
	     struct arena *arena, struct row *ret)
{
	int r = decode_row(kind, statement, key, arena, ret);

	if (r == 0 && sqlite3_column_int64(statement, 2) != (int64_t)checksum_row(kind, ret))
		r = -EUCLEAN;
	if (r == -EUCLEAN)
		log_error(NULL, "REGISTRY-DAMAGED",
			  "%s %llu does not have its checksum: restore the registry from a backup",
			  words[kind].name, (unsigned long long)ret->object.id);
	return r;
}

static int stamp_row(enum registry_kind kind, struct db *db, sqlite3_stmt *statement,
		     const struct seal_key *key)
{
	struct arena arena = {0};
	struct row row;
	char sql[96];
	int r = decode_row(kind, statement, key, &arena, &row);

	snprintf(sql, sizeof sql, "UPDATE \"%s\" SET crc = ?2 WHERE id = ?1", words[kind].table);
	if (r == 0)
		r = db_run(db, sql, "ii", (int64_t)row.object.id,
			   (int64_t)checksum_row(kind, &row));
	arena_deinit(&arena);
	return r;
}

int row_stamp_all(enum registry_kind kind, struct db *db, const struct seal_key *key)
{
	struct row_sql sql;
	sqlite3_stmt *statement;
	int r = row_sql_make(kind, &sql);

	if (r == 0)
		r = db_query(db, &statement, sql.select, "");
	while (r == 0 && (r = db_step(db, statement)) == 1)
		r = stamp_row(kind, db, statement, key);
	row_sql_free(&sql);
	return r;
}

static int bind_secret(struct cursor *cursor, const char *plain)
{
	size_t size = plain ? strlen(plain) : 0;
	uint8_t *sealed;
	char row[48];
	int r;

	if (!plain)
		return sqlite3_bind_null(cursor->statement, cursor->column);
	sealed = arena_alloc(cursor->arena, size + SEAL_OVERHEAD);
	if (!sealed)
		return SQLITE_NOMEM;
	secret_row(cursor, row);
	r = seal_close(cursor->key, row, plain, size, sealed);
	return r < 0 ? SQLITE_ERROR
		     : sqlite3_bind_blob64(cursor->statement, cursor->column, sealed,
					   size + SEAL_OVERHEAD, SQLITE_TRANSIENT);
}

static int bind_list(struct cursor *cursor, const struct field *field)
{
	const char *base = (const char *)cursor->row;
	const char *items = *(char *const *)(const void *)(base + field->offset);
	size_t count = *(const size_t *)(const void *)(base + field->count_offset);
	json_t *list = json_array();
	char *text;
	int code;

	for (size_t i = 0; i < count; ++i) {
		const void *at = items + i * item_size(field);
		const struct access_grant *grant = at;

		json_array_append_new(
			list,
			field->type == FIELD_REFS
				? json_integer((json_int_t) * (const uint64_t *)at)
			: field->type == FIELD_NETWORKS
				? json_string(*(const char *const *)at)
				: json_pack("[s, I]", grant->pattern, (json_int_t)grant->rights));
	}
	text = json_dumps(list, JSON_COMPACT);
	json_decref(list);
	code = text ? sqlite3_bind_text(cursor->statement, cursor->column, text, -1,
					SQLITE_TRANSIENT)
		    : SQLITE_NOMEM;
	free(text);
	return code;
}

static int bind_column(void *ctx, const struct field *field)
{
	struct cursor *cursor = ctx;
	const char *at = (const char *)cursor->row + field->offset;
	int code;

	switch (field->type) {
	case FIELD_TEXT:
	case FIELD_NAME:
	case FIELD_OBJECT:
		code = sqlite3_bind_text(cursor->statement, cursor->column,
					 *(const char *const *)(const void *)at, -1,
					 SQLITE_TRANSIENT);
		break;
	case FIELD_SECRET:
		code = bind_secret(cursor, *(const char *const *)(const void *)at);
		break;
	case FIELD_BYTES:
		code = sqlite3_bind_blob(cursor->statement, cursor->column, at, field->size,
					 SQLITE_TRANSIENT);
		break;
	case FIELD_REFS:
	case FIELD_NETWORKS:
	case FIELD_GRANTS: code = bind_list(cursor, field); break;
	default:
		code = sqlite3_bind_int64(cursor->statement, cursor->column,
					  (int64_t)field_get(field, cursor->row));
		break;
	}
	++cursor->column;
	return db_error(code);
}

int row_bind(enum registry_kind kind, sqlite3_stmt *statement, const struct seal_key *key,
	     struct arena *arena, const struct row *row)
{
	struct cursor cursor = {.kind = kind,
				.statement = statement,
				.key = key,
				.arena = arena,
				.row = (struct row *)(uintptr_t)row,
				.column = 4};
	int r = db_error(sqlite3_bind_int64(statement, 1, (int64_t)row->object.id));

	if (r == 0)
		r = db_error(sqlite3_bind_int64(statement, 2, (int64_t)row->object.revision));
	if (r == 0)
		r = db_error(sqlite3_bind_int64(statement, 3, (int64_t)checksum_row(kind, row)));
	return r < 0 ? r : each_field(kind, bind_column, &cursor);
}
