// Finds rows by position and by due time. The rows lie in one array and are addressed by number: a
// hash table by position through `chain`, and a treap by (due time, partition, offset) through
// `left` and `right`. A row's priority in the treap is a hash of its position, so it needs no room
// and the shape depends on nothing else.
//
// Invariant: a row is in both or in neither; row 0 is none. What it does not do: keep records, or
// know generations (retry_rows.c).

#include "adapters/kafka/retry/retry_index.h"

#include <errno.h>

#define FREE UINT64_MAX // as `written`: the row is vacant, chained to the next one

void retry_index_init(struct retry_index *index)
{
	*index = (struct retry_index){0};
}

void retry_index_deinit(struct retry_index *index)
{
	free(index->rows);
	free(index->buckets);
	retry_index_init(index);
}

// ---- by position

static uint64_t hash_position(uint32_t partition, uint64_t offset)
{
	uint64_t hash = offset + partition * 0x9e3779b97f4a7c15ull + 0x9e3779b97f4a7c15ull;

	hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9ull;
	hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebull;
	return hash ^ (hash >> 31);
}

static uint32_t *bucket_of(const struct retry_index *index, uint32_t partition, uint64_t offset)
{
	return &index->buckets[hash_position(partition, offset) & (index->bucket_count - 1)];
}

static uint32_t row_find(const struct retry_index *index, uint32_t partition, uint64_t offset)
{
	uint32_t at = index->bucket_count ? *bucket_of(index, partition, offset) : 0;

	while (at && (index->rows[at].offset != offset || index->rows[at].partition != partition))
		at = index->rows[at].chain;
	return at;
}

static void chain_add(struct retry_index *index, uint32_t at)
{
	struct retry_row *row = &index->rows[at];
	uint32_t *bucket = bucket_of(index, row->partition, row->offset);

	row->chain = *bucket;
	*bucket = at;
}

static void chain_remove(struct retry_index *index, uint32_t at)
{
	const struct retry_row *row = &index->rows[at];
	uint32_t *link = bucket_of(index, row->partition, row->offset);

	while (*link != at)
		link = &index->rows[*link].chain;
	*link = row->chain;
}

static int rows_grow(struct retry_index *index)
{
	uint32_t room = index->room ? index->room * 2 : 64;
	struct retry_row *rows = realloc(index->rows, room * sizeof *rows);
	uint32_t *buckets;

	if (!rows)
		return -ENOMEM;
	index->rows = rows;
	buckets = calloc(room, sizeof *buckets);
	if (!buckets)
		return -ENOMEM;
	free(index->buckets);
	index->buckets = buckets;
	index->bucket_count = room;
	index->room = room;
	for (uint32_t i = 1; i < index->used; ++i)
		if (index->rows[i].written != FREE)
			chain_add(index, i);
	return 0;
}

// ---- by due time

static uint64_t row_priority(const struct retry_index *index, uint32_t at)
{
	return hash_position(~index->rows[at].partition, index->rows[at].offset);
}

static int row_compare(const struct retry_row *row, uint64_t due_ms, uint32_t partition,
		       uint64_t offset)
{
	if (row->due_ms != due_ms)
		return row->due_ms < due_ms ? -1 : 1;
	if (row->partition != partition)
		return row->partition < partition ? -1 : 1;
	return row->offset < offset ? -1 : row->offset > offset;
}

static bool is_before(const struct retry_index *index, uint32_t left, uint32_t right)
{
	const struct retry_row *row = &index->rows[right];

	return row_compare(&index->rows[left], row->due_ms, row->partition, row->offset) < 0;
}

// What lies before `at` and what lies behind it.
static void tree_split(struct retry_index *index, uint32_t root, uint32_t at, uint32_t *ret_left,
		       uint32_t *ret_right)
{
	while (root) {
		struct retry_row *row = &index->rows[root];

		if (is_before(index, root, at)) {
			*ret_left = root;
			ret_left = &row->right;
			root = row->right;
		} else {
			*ret_right = root;
			ret_right = &row->left;
			root = row->left;
		}
	}
	*ret_left = *ret_right = 0;
}

static void tree_add(struct retry_index *index, uint32_t at)
{
	uint32_t *link = &index->root;
	uint64_t own = row_priority(index, at);

	while (*link && row_priority(index, *link) >= own)
		link = is_before(index, *link, at) ? &index->rows[*link].right
						   : &index->rows[*link].left;
	tree_split(index, *link, at, &index->rows[at].left, &index->rows[at].right);
	*link = at;
}

static void tree_remove(struct retry_index *index, uint32_t at)
{
	uint32_t *link = &index->root, left = index->rows[at].left, right = index->rows[at].right;

	while (*link != at)
		link = is_before(index, *link, at) ? &index->rows[*link].right
						   : &index->rows[*link].left;
	while (left && right) {
		if (row_priority(index, left) >= row_priority(index, right)) {
			*link = left;
			link = &index->rows[left].right;
			left = *link;
		} else {
			*link = right;
			link = &index->rows[right].left;
			right = *link;
		}
	}
	*link = left ? left : right;
}

// ---- changes

static uint32_t row_new(struct retry_index *index)
{
	uint32_t at = index->vacant;

	if (at) {
		index->vacant = index->rows[at].chain;
		return at;
	}
	index->used = MAX(index->used, 1u);
	if (index->used >= index->room && rows_grow(index) < 0)
		return 0;
	return index->used++;
}

int retry_index_put(struct retry_index *index, const struct retry_row *row)
{
	uint32_t at = row_find(index, row->partition, row->offset);

	if (at && index->rows[at].written >= row->written)
		return 0;
	if (at) {
		uint32_t chain = index->rows[at].chain;

		tree_remove(index, at);
		index->rows[at] = *row;
		index->rows[at].chain = chain;
	} else {
		at = row_new(index);
		if (!at)
			return -ENOMEM;
		index->rows[at] = *row;
		chain_add(index, at);
		++index->count;
	}
	tree_add(index, at);
	return 0;
}

void retry_index_remove(struct retry_index *index, uint32_t partition, uint64_t offset,
			uint64_t written)
{
	uint32_t at = row_find(index, partition, offset);

	if (!at || index->rows[at].written >= written)
		return;
	tree_remove(index, at);
	chain_remove(index, at);
	index->rows[at].written = FREE;
	index->rows[at].chain = index->vacant;
	index->vacant = at;
	--index->count;
}

// ---- looking

const struct retry_row *retry_index_find(const struct retry_index *index, uint32_t partition,
					 uint64_t offset)
{
	uint32_t at = row_find(index, partition, offset);

	return at ? &index->rows[at] : NULL;
}

const struct retry_row *retry_index_behind(const struct retry_index *index, uint64_t due_ms,
					   uint32_t partition, uint64_t offset)
{
	const struct retry_row *found = NULL;
	uint32_t at = index->root;

	while (at) {
		const struct retry_row *row = &index->rows[at];

		if (row_compare(row, due_ms, partition, offset) > 0) {
			found = row;
			at = row->left;
		} else {
			at = row->right;
		}
	}
	return found;
}

const struct retry_row *retry_index_next(const struct retry_index *index, uint32_t *cursor)
{
	while (++*cursor < index->used)
		if (index->rows[*cursor].written != FREE)
			return &index->rows[*cursor];
	return NULL;
}
