// Reads lists: one page by name, with filters. The cursor is the last name of the previous page and
// its id, so rows that are made or deleted meanwhile make a page neither repeat nor skip others.

#include "core/registry/page.h"

#include "core/base/base64url.h"
#include "core/registry/registry.h"
#include "core/registry/store.h"
#include "core/registry/work.h"

#include <errno.h>
#include <stdio.h>

#define PAGE_MAX     500
#define ARGUMENTS    12
#define CURSOR_BYTES (MODEL_NAME_BYTES + 32)

struct page {
	struct work *work;
	enum registry_kind kind;
	const struct registry_query *query;
	FILE *sql;
	struct {
		const char *text;
		int64_t number;
	} arguments[ARGUMENTS];
	int count;
};

static int bind_text(struct page *page, const char *text)
{
	assert(page->count < ARGUMENTS);
	page->arguments[page->count].text = text;
	return ++page->count;
}

static int bind_number(struct page *page, int64_t number)
{
	assert(page->count < ARGUMENTS);
	page->arguments[page->count].number = number;
	return ++page->count;
}

// "<id>:<name>", base64url.
static int cursor_decode(struct page *page, uint64_t *ret_id, const char **ret_name)
{
	const char *cursor = page->query->cursor;
	size_t size = strlen(cursor);
	char *text = arena_alloc(&page->work->arena, size + 1), *end;

	if (!text)
		return -ENOMEM;
	if (size > BASE64URL_SIZE(CURSOR_BYTES) || base64url_decode(cursor, size, text, &size) < 0)
		return -EINVAL;
	text[size] = '\0';
	errno = 0;
	*ret_id = strtoull(text, &end, 10);
	*ret_name = end + 1;
	return errno || end == text || *end != ':' ? -EINVAL : 0;
}

static char *cursor_encode(struct work *work, const struct row *row)
{
	char text[CURSOR_BYTES];
	char *cursor = arena_alloc(&work->arena, BASE64URL_SIZE(CURSOR_BYTES));
	int size = snprintf(text, sizeof text, "%llu:%s", (unsigned long long)row->object.id,
			    row_name(row));

	if (cursor)
		base64url_encode(text, (size_t)size, cursor);
	return cursor;
}

static int where_cursor(struct page *page)
{
	const char *name, *column = row_name_column(page->kind);
	uint64_t id;
	int r, a, b;

	if (!page->query->cursor)
		return 0;
	r = cursor_decode(page, &id, &name);
	if (r == -EINVAL)
		return work_refuse(page->work, CODE_BAD_REQUEST,
				   "the cursor is not one that a page gave");
	if (r < 0)
		return r;
	a = bind_text(page, name);
	b = bind_number(page, (int64_t)id);
	fprintf(page->sql, " AND (%s, id) > (?%d, ?%d)", column, a, b);
	return 0;
}

// A reference to something that is not there matches nothing.
static int where_reference(struct page *page, enum registry_kind target, const char *column,
			   const char *name)
{
	struct row row;
	uint64_t tenant = page->work->tenant ? page->work->tenant->object.id : 0;
	int r;

	if (!name)
		return 0;
	r = store_find(page->work, target, tenant, name, &row);
	if (r < 0)
		return r;
	fprintf(page->sql, " AND %s = ?%d", column,
		bind_number(page, r == 1 ? (int64_t)row.object.id : -1));
	return 0;
}

static int where_value(struct page *page, const char *column, const char *text)
{
	const struct field *field = NULL;
	struct json_shape shape = row_kind(page->kind).shape;

	if (!text)
		return 0;
	for (size_t t = 0; t < ARRAY_SIZE(shape.tables) && !field; ++t)
		field = field_find(shape.tables[t], column);
	for (int64_t i = 0; field && field->values[i]; ++i) {
		if (strcmp(field->values[i], text) == 0) {
			fprintf(page->sql, " AND %s = ?%d", column, bind_number(page, i));
			return 0;
		}
	}
	return work_refuse(page->work, CODE_BAD_REQUEST, "\"%.50s\" is not a %s that %ss have",
			   text, column, row_kind(page->kind).name);
}

static void where_prefix(struct page *page)
{
	const char *prefix = page->query->prefix;
	int at;

	if (!prefix)
		return;
	at = bind_text(page, prefix);
	fprintf(page->sql, " AND %s >= ?%d AND %s < ?%d || char(1114111)",
		row_name_column(page->kind), at, row_name_column(page->kind), at);
}

static bool has_role(enum registry_kind kind)
{
	return kind == REGISTRY_USER || kind == REGISTRY_TOKEN;
}

static int write_where(struct page *page)
{
	const struct registry_query *query = page->query;
	bool tenanted = row_kind(page->kind).tenanted;
	int r = 0;

	fprintf(page->sql, " WHERE 1");
	if (page->work->tenant && page->kind != REGISTRY_TENANT)
		fprintf(page->sql, " AND tenant = ?%d",
			bind_number(page, (int64_t)page->work->tenant->object.id));
	if (page->kind == REGISTRY_TENANT || page->kind == REGISTRY_CLUSTER)
		fprintf(page->sql, " AND deleting = 0");
	where_prefix(page);
	if (r == 0)
		r = where_reference(page, REGISTRY_CLUSTER, "cluster",
				    page->kind == REGISTRY_TOPIC ? query->cluster : NULL);
	if (r == 0)
		r = where_reference(page, REGISTRY_TOPIC, "topic",
				    page->kind == REGISTRY_GROUP ? query->topic : NULL);
	if (r == 0)
		r = where_value(page, "state",
				tenanted && page->kind != REGISTRY_ACCESS_KEY ? query->state
									      : NULL);
	if (r == 0)
		r = where_value(page, "role", has_role(page->kind) ? query->role : NULL);
	return r == 0 ? where_cursor(page) : r;
}

// Filters a kind does not have are a mistake of the caller, not a wish to see everything.
static int check_filters(struct page *page)
{
	const struct registry_query *query = page->query;
	bool topic = page->kind == REGISTRY_TOPIC, group = page->kind == REGISTRY_GROUP;
	const char *wrong = query->cluster && !topic               ? "cluster"
			    : query->topic && !group               ? "topic"
			    : query->state && !topic && !group     ? "state"
			    : query->role && !has_role(page->kind) ? "role"
			    : query->actor || query->action || query->resource || query->since_ms ||
					    query->until_ms
				    ? "actor, action, resource or time"
				    : NULL;

	if (wrong)
		return work_refuse(page->work, CODE_BAD_REQUEST, "%ss have no filter by %s",
				   row_kind(page->kind).name, wrong);
	if (query->limit < 1 || query->limit > PAGE_MAX)
		return work_refuse(page->work, CODE_BAD_REQUEST, "limit must be from 1 to %d",
				   PAGE_MAX);
	return 0;
}

static int fill_page(struct page *page, sqlite3_stmt *statement)
{
	struct registry *registry = page->work->registry;
	struct registry_result *ret = page->work->ret;
	json_t *items = json_array();
	const char *next = NULL;
	struct row row, last = {0};
	int r;

	ret->body = json_pack("{s:o}", "items", items);
	if (!ret->body)
		return -ENOMEM;
	while ((r = db_step(&registry->db, statement)) == 1) {
		if (json_array_size(items) == page->query->limit) {
			next = cursor_encode(page->work, &last);
			r = next ? 0 : -ENOMEM;
			break;
		}
		r = row_read(page->kind, statement, &registry->key, &page->work->arena, &row);
		if (r == 0 &&
		    json_array_append_new(items, store_json(page->work, page->kind, &row)) < 0)
			r = -ENOMEM;
		if (r < 0)
			break;
		last = row;
	}
	json_object_set_new(ret->body, "next", next ? json_string(next) : json_null());
	return r;
}

static int run_select(struct page *page, const char *sql)
{
	struct db *db = &page->work->registry->db;
	sqlite3_stmt *statement = NULL;
	int code = sqlite3_prepare_v2(db->sqlite, sql, -1, &statement, NULL), r;

	for (int i = 0; i < page->count && code == SQLITE_OK; ++i)
		code = page->arguments[i].text
			       ? sqlite3_bind_text(statement, i + 1, page->arguments[i].text, -1,
						   SQLITE_STATIC)
			       : sqlite3_bind_int64(statement, i + 1, page->arguments[i].number);
	r = db_error(code);
	if (r == 0)
		r = fill_page(page, statement);
	sqlite3_finalize(statement);
	return r;
}

static int list_rows(struct page *page)
{
	_cleanup_(freep) char *sql = NULL;
	size_t size;
	int r = check_filters(page);

	if (r == 0 && page->query->tenant)
		r = store_tenant(page->work, page->query->tenant);
	if (r != 0)
		return r;
	page->sql = open_memstream(&sql, &size);
	if (!page->sql)
		return -ENOMEM;
	fprintf(page->sql, "%s", page->work->registry->sql[page->kind].select);
	r = write_where(page);
	fprintf(page->sql, " ORDER BY %s, id LIMIT ?%d", row_name_column(page->kind),
		bind_number(page, (int64_t)page->query->limit + 1));
	fclose(page->sql);
	return r == 0 ? run_select(page, sql) : r;
}

int registry_page(struct registry *registry, enum registry_kind kind,
		  const struct registry_query *query, struct registry_result *ret)
{
	struct work work;
	struct page page = {.work = &work, .kind = kind, .query = query};

	work_open(&work, registry, ret);
	return work_close(&work, list_rows(&page));
}
