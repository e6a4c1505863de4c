// A registry with many topics: copies of the only one it has, written into its file while the
// daemon is stopped. REST takes a millisecond each.
//
//   bench_topics file=PATH [count=N]
//
// The rows go through the registry's own code, which gives each its checksum. What the copies do
// not have is what a REST call leaves beside them: audit entries.

#include "core/base/arena.h"
#include "core/registry/head.h"
#include "core/registry/row.h"
#include "tests/bench/args.h"

#include <stdio.h>

static void must(int r, const char *what)
{
	if (r < 0)
		die("%s: error %d", what, -r);
}

static void read_only_topic(struct db *db, const char *sql, struct arena *arena, struct row *ret)
{
	sqlite3_stmt *statement;

	must(db_query(db, &statement, sql, ""), "query");
	if (db_step(db, statement) != 1)
		die("there is no topic");
	must(row_read(REGISTRY_TOPIC, statement, NULL, arena, ret), "topic");
	sqlite3_reset(statement);
}

static void write_copy(struct db *db, const char *sql, const struct row *row)
{
	struct arena arena = {0};
	sqlite3_stmt *statement;

	must(db_query(db, &statement, sql, ""), "insert");
	must(row_bind(REGISTRY_TOPIC, statement, NULL, &arena, row), "bind");
	must(db_step(db, statement), "write");
	arena_deinit(&arena);
}

static void write_copies(struct db *db, const struct row_sql *sql, uint64_t count)
{
	struct arena arena = {0};
	struct row first, copy;
	struct head head;

	read_only_topic(db, sql->select, &arena, &first);
	if (head_read(db, &head) != 1)
		die("there is no head");
	++head.revision;
	for (uint64_t n = 1; n <= count; ++n) {
		char name[64], physical[256];

		snprintf(name, sizeof name, "orders-%llu", (unsigned long long)n);
		snprintf(physical, sizeof physical, "%s-%llu", first.model.topic.physical,
			 (unsigned long long)n);
		copy = first;
		copy.object.id = head.next_id++;
		copy.object.revision = head.revision;
		copy.model.topic.name = name;
		copy.model.topic.physical = physical;
		write_copy(db, sql->insert, &copy);
	}
	must(head_write(db, &head), "head");
	arena_deinit(&arena);
}

int main(int argc, char **argv)
{
	struct args args = {argc, argv};
	struct row_sql sql;
	struct db db;

	must(db_open(&db, args_text(&args, "file", ""), SQLITE_OPEN_READWRITE), "open");
	must(row_sql_make(REGISTRY_TOPIC, &sql), "statements");
	must(db_script(&db, "BEGIN"), "begin");
	write_copies(&db, &sql, args_number(&args, "count", 1000));
	must(db_script(&db, "COMMIT"), "commit");
	row_sql_free(&sql);
	db_close(&db);
	puts("{}");
	return 0;
}
