// SQLite in the few words the registry needs: bound statements kept prepared, one error rule.
#pragma once

#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>

struct db_statement;

struct db {
	sqlite3 *sqlite;
	struct db_statement *statements; // prepared once, used again
};

// Errors: -EBUSY: locked by another process, -EUCLEAN: damaged, -ENOSPC, -ENOMEM, -EROFS, -EEXIST:
// a constraint, -EIO: the rest.
int db_open(struct db *db, const char *path, int flags); // as sqlite3_open_v2()
void db_close(struct db *db);
int db_error(int sqlite_code);

// `types` has one letter for each bound value: i (int64_t), t (const char *, NULL), b (const void
// *, size_t). The statement is ready for db_step(), and reset by the next use of the same text.
int db_query(struct db *db, sqlite3_stmt **ret, const char *sql, const char *types, ...);
int db_step(struct db *db, sqlite3_stmt *statement); // 1: a row; 0: the end, and reset; negative
int db_run(struct db *db, const char *sql, const char *types, ...); // no rows
// The first column of the first row: 1; 0: there is none.
int db_number(struct db *db, int64_t *ret, const char *sql, const char *types, ...);
int db_script(struct db *db, const char *sql); // several statements, nothing bound
