// SQLite behind a few calls: open, run, query, one number.
//
// Statements are kept by their text. All of them are literals or made once at opening, so the list
// stays short; lists with filters prepare their own (page.c). SQLite's codes become negative errnos
// here, and an unexpected one is logged with its statement.

#include "core/registry/db.h"

#include "core/base/log.h"
#include "core/base/util.h"

#include <errno.h>
#include <stdarg.h>

#define BUSY_WAIT_MS 2000

struct db_statement {
	struct db_statement *next;
	sqlite3_stmt *statement;
	char sql[];
};

int db_error(int sqlite_code)
{
	switch (sqlite_code & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE: return 0;
	case SQLITE_BUSY:
	case SQLITE_LOCKED: return -EBUSY;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB: return -EUCLEAN;
	case SQLITE_FULL: return -ENOSPC;
	case SQLITE_NOMEM: return -ENOMEM;
	case SQLITE_READONLY: return -EROFS;
	case SQLITE_CANTOPEN: return -ENOENT;
	case SQLITE_PERM: return -EACCES;
	case SQLITE_CONSTRAINT: return -EEXIST;
	default: return -EIO;
	}
}

static int report_error(const struct db *db, int sqlite_code, const char *sql)
{
	int r = db_error(sqlite_code);

	if (r < 0)
		log_error(NULL, "REGISTRY-SQL", "%s: %.200s", sqlite3_errmsg(db->sqlite), sql);
	return r;
}

int db_open(struct db *db, const char *path, int flags)
{
	int r = db_error(sqlite3_open_v2(path, &db->sqlite, flags, NULL));

	if (r == 0) {
		sqlite3_extended_result_codes(db->sqlite, 1);
		sqlite3_busy_timeout(db->sqlite, BUSY_WAIT_MS);
	}
	return r;
}

void db_close(struct db *db)
{
	for (struct db_statement *at = db->statements, *next; at; at = next) {
		next = at->next;
		sqlite3_finalize(at->statement);
		free(at);
	}
	db->statements = NULL;
	sqlite3_close(db->sqlite);
	db->sqlite = NULL;
}

static int statement_get(struct db *db, const char *sql, sqlite3_stmt **ret)
{
	struct db_statement *at;
	size_t size = strlen(sql) + 1;
	int code;

	for (at = db->statements; at; at = at->next) {
		if (strcmp(at->sql, sql) == 0) {
			sqlite3_reset(at->statement);
			*ret = at->statement;
			return 0;
		}
	}
	at = malloc(sizeof *at + size);
	if (!at)
		return -ENOMEM;
	memcpy(at->sql, sql, size);
	code = sqlite3_prepare_v3(db->sqlite, sql, -1, SQLITE_PREPARE_PERSISTENT, &at->statement,
				  NULL);
	if (code != SQLITE_OK) {
		free(at);
		return report_error(db, code, sql);
	}
	at->next = db->statements;
	db->statements = at;
	*ret = at->statement;
	return 0;
}

static int bind_arguments(sqlite3_stmt *statement, const char *types, va_list args)
{
	int code = SQLITE_OK;

	for (int at = 1; *types && code == SQLITE_OK; ++types, ++at) {
		const void *bytes;

		switch (*types) {
		case 'i': code = sqlite3_bind_int64(statement, at, va_arg(args, int64_t)); break;
		case 't':
			code = sqlite3_bind_text(statement, at, va_arg(args, const char *), -1,
						 SQLITE_TRANSIENT);
			break;
		default:
			assert(*types == 'b');
			bytes = va_arg(args, const void *);
			code = sqlite3_bind_blob64(statement, at, bytes, va_arg(args, size_t),
						   SQLITE_TRANSIENT);
		}
	}
	return code;
}

static int prepare_query(struct db *db, sqlite3_stmt **ret, const char *sql, const char *types,
			 va_list args)
{
	int r = statement_get(db, sql, ret);

	return r < 0 ? r : report_error(db, bind_arguments(*ret, types, args), sql);
}

int db_query(struct db *db, sqlite3_stmt **ret, const char *sql, const char *types, ...)
{
	va_list args;
	int r;

	va_start(args, types);
	r = prepare_query(db, ret, sql, types, args);
	va_end(args);
	return r;
}

int db_step(struct db *db, sqlite3_stmt *statement)
{
	int code = sqlite3_step(statement), r;

	if (code == SQLITE_ROW)
		return 1;
	r = report_error(db, code, sqlite3_sql(statement));
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	return r;
}

int db_run(struct db *db, const char *sql, const char *types, ...)
{
	sqlite3_stmt *statement;
	va_list args;
	int r;

	va_start(args, types);
	r = prepare_query(db, &statement, sql, types, args);
	va_end(args);
	return r < 0 ? r : db_step(db, statement);
}

int db_number(struct db *db, int64_t *ret, const char *sql, const char *types, ...)
{
	sqlite3_stmt *statement;
	va_list args;
	int r;

	va_start(args, types);
	r = prepare_query(db, &statement, sql, types, args);
	va_end(args);
	if (r == 0)
		r = db_step(db, statement);
	if (r == 1) {
		*ret = sqlite3_column_int64(statement, 0);
		sqlite3_reset(statement);
	}
	return r;
}

int db_script(struct db *db, const char *sql)
{
	return report_error(db, sqlite3_exec(db->sqlite, sql, NULL, NULL, NULL), sql);
}
