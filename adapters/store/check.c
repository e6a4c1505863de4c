// Checks the file of a store before LMDB maps it.
//
// LMDB reads its file through memory and trusts what it reads. A page that is missing (half a copy,
// a file that was cut) kills the process with SIGBUS, and a page with foreign bytes leads it
// anywhere. So every tree is walked once at start. Each page must lie in the file, carry its own
// number, be of the kind that its place asks for, and hold nodes that lie within it in rising
// order. At the end there must be as many entries as the tree's head names. A page that is listed
// as free must be in no tree and listed once, else LMDB would write new pages over it. The two
// heads must belong to consecutive transactions, each in its place: a head with a flipped number
// would bring back an earlier state of the store.
//
// Invariant: no number of the file is used before it is compared with the size of the file or of
// the page.
//
// Not here: the bytes of values (rows have checksums of their own, row.h), and pages that neither a
// tree nor the list of free ones reaches. In files larger than LEAVES_BYTES the leaves of the
// tables are not read, so that a start stays quick, except after a process that ended inside the
// store.

#include "adapters/store/check.h"

#include "adapters/store/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define LEAVES_BYTES (1ull << 30)

struct tree {
	uint64_t root, entries;
	uint16_t depth, flags;
	bool numbers; // its keys are numbers: the tree of free pages
	bool tables;  // its values are trees
	bool closed;  // its leaves are not looked at
};

struct check {
	const uint8_t *map;
	uint64_t size;
	uint32_t page_size;
	uint64_t last;    // page that was ever used
	uint64_t pages;   // that the file may hold
	uint64_t visited; // of these
	bool leaves;      // of the tables are looked at
	uint8_t *used;    // a bit for each: it is in a tree, or free and seen
	const char *problem;
};

static bool set_problem(struct check *check, const char *problem)
{
	check->problem = problem;
	return false;
}

static bool range_check(struct check *check, uint64_t first, uint64_t count)
{
	if (first < 2 || first >= check->pages || count > check->pages - first)
		return set_problem(check, "a page lies beyond the end");
	return true;
}

static void tree_read(const uint8_t *head, struct tree *ret)
{
	*ret = (struct tree){
		.depth = le16_get(head + 6),
		.flags = le16_get(head + 4),
		.entries = le64_get(head + 32),
		.root = le64_get(head + 40),
	};
}

// Each page has one use.
static bool pages_mark(struct check *check, uint64_t first, uint64_t count, const char *twice)
{
	for (uint64_t page = first; page < first + count; ++page) {
		if (check->used[page / 8] >> page % 8 & 1)
			return set_problem(check, twice);
		check->used[page / 8] |= (uint8_t)(1u << page % 8);
	}
	return true;
}

static bool page_check(struct check *check, const uint8_t *page, uint64_t number, uint16_t kind)
{
	uint32_t lower = le16_get(page + 12), upper = le16_get(page + 14);

	if (le64_get(page) != number || le16_get(page + 10) != kind)
		return set_problem(check, "a page holds something else");
	if (lower < PAGE_HEAD || lower % 2 || lower > upper || upper > check->page_size)
		return set_problem(check, "the head of a page is wrong");
	return true;
}

// The node lies within its page, key and what stands there of the value included.
static bool node_check(struct check *check, const uint8_t *page, uint32_t index, bool leaf)
{
	uint32_t at = le16_get(page + PAGE_HEAD + (size_t)index * 2), value = 0;
	uint64_t end;

	if (at < le16_get(page + 14) || at + NODE_HEAD > check->page_size)
		return set_problem(check, "a node lies outside its page");
	if (leaf)
		value = le16_get(page + at + 4) & NODE_BIG ? 8u : le32_get(page + at);
	end = (uint64_t)at + NODE_HEAD + le16_get(page + at + 6) + value;
	return end <= check->page_size || set_problem(check, "a node lies outside its page");
}

static bool order_check(struct check *check, const uint8_t *before, const uint8_t *node)
{
	uint16_t before_size = le16_get(before + 6), size = le16_get(node + 6);
	int r = memcmp(before + NODE_HEAD, node + NODE_HEAD, MIN(before_size, size));

	if (r > 0 || (r == 0 && before_size >= size))
		return set_problem(check, "keys are out of order");
	return true;
}

static bool tree_check(struct check *check, const struct tree *tree);

static bool table_check(struct check *check, const uint8_t *node, const uint8_t *value)
{
	struct tree table;

	if (le16_get(node + 4) != NODE_TREE || le32_get(node) != TREE_SIZE)
		return set_problem(check, "a value is of an unknown kind");
	tree_read(value, &table);
	table.closed = !check->leaves;
	return tree_check(check, &table);
}

// The pages of a large value: at least as many as it needs, since LMDB writes a smaller one over a
// larger one. Their head names the number that LMDB would free.
static bool big_check(struct check *check, uint64_t first, uint64_t needed)
{
	const uint8_t *page = check->map + first * check->page_size;

	if (!range_check(check, first, needed))
		return false;
	if (le64_get(page) != first || le16_get(page + 10) != PAGE_BIG ||
	    le32_get(page + 12) < needed)
		return set_problem(check, "a page holds something else");
	return range_check(check, first, le32_get(page + 12)) &&
	       pages_mark(check, first, le32_get(page + 12), "pages are in a tree twice");
}

// A list of free pages: how many, then their numbers.
static bool free_check(struct check *check, const uint8_t *list, uint32_t size)
{
	uint64_t count = size >= 8 ? le64_get(list) : UINT64_MAX;

	if (count > size / 8 - 1)
		return set_problem(check, "the list of free pages is wrong");
	for (uint64_t i = 1; i <= count; ++i) {
		uint64_t page = le64_get(list + i * 8);

		if (page < 2 || page > check->last)
			return set_problem(check, "the list of free pages is wrong");
		// The file may end before it: it was never written.
		if (page < check->pages && !pages_mark(check, page, 1, "a free page is in use"))
			return false;
	}
	return true;
}

static bool value_check(struct check *check, const struct tree *tree, const uint8_t *node)
{
	const uint8_t *value = node + NODE_HEAD + le16_get(node + 6);
	uint64_t bytes = PAGE_HEAD + (uint64_t)le32_get(node);

	if (tree->tables)
		return table_check(check, node, value);
	if (le16_get(node + 4) & ~NODE_BIG)
		return set_problem(check, "a value is of an unknown kind");
	if (le16_get(node + 4)) {
		uint64_t first = le64_get(value);

		if (!big_check(check, first, (bytes + check->page_size - 1) / check->page_size))
			return false;
		value = check->map + first * check->page_size + PAGE_HEAD;
	}
	return !tree->numbers || free_check(check, value, le32_get(node));
}

static bool leaf_check(struct check *check, const struct tree *tree, const uint8_t *page,
		       uint64_t *entries)
{
	uint32_t count = node_count(page);

	for (uint32_t i = 0; i < count; ++i) {
		if (!node_check(check, page, i, true))
			return false;
		if (i > 0 && !tree->numbers &&
		    !order_check(check, node_at(page, i - 1), node_at(page, i)))
			return false;
		if (!value_check(check, tree, node_at(page, i)))
			return false;
	}
	*entries += count;
	return true;
}

static bool walk_tree(struct check *check, const struct tree *tree, uint64_t number, uint16_t depth,
		      uint64_t *entries);

static bool branch_check(struct check *check, const struct tree *tree, const uint8_t *page,
			 uint16_t depth, uint64_t *entries)
{
	uint32_t count = node_count(page);

	for (uint32_t i = 0; i < count; ++i) {
		const uint8_t *node;

		if (!node_check(check, page, i, false))
			return false;
		node = node_at(page, i);
		// The first node of a branch has no key.
		if (i > 1 && !tree->numbers && !order_check(check, node_at(page, i - 1), node))
			return false;
		if (!walk_tree(check, tree, le32_get(node) | (uint64_t)le16_get(node + 4) << 32,
			       (uint16_t)(depth - 1), entries))
			return false;
	}
	return true;
}

// The part of a tree below one page; `depth` counts down to 1, the leaves.
static bool walk_tree(struct check *check, const struct tree *tree, uint64_t number, uint16_t depth,
		      uint64_t *entries)
{
	const uint8_t *page;

	if (!range_check(check, number, 1))
		return false;
	// Damaged branches could lead everywhere many times.
	if (++check->visited > check->pages)
		return set_problem(check, "pages are in a tree twice");
	if (!pages_mark(check, number, 1, "pages are in a tree twice"))
		return false;
	if (depth == 1 && tree->closed)
		return true;
	page = check->map + number * check->page_size;
	if (!page_check(check, page, number, depth == 1 ? PAGE_LEAF : PAGE_BRANCH))
		return false;
	return depth == 1 ? leaf_check(check, tree, page, entries)
			  : branch_check(check, tree, page, depth, entries);
}

static bool tree_check(struct check *check, const struct tree *tree)
{
	uint64_t entries = 0;

	if (tree->flags != (tree->numbers ? FLAGS_NUMBERS : 0))
		return set_problem(check, "the head of a tree is wrong");
	if (tree->root != NO_ROOT) {
		if (tree->depth < 1 || tree->depth > DEPTH_MAX)
			return set_problem(check, "the head of a tree is wrong");
		if (!walk_tree(check, tree, tree->root, tree->depth, &entries))
			return false;
	}
	if (!tree->closed && !tree->numbers && entries != tree->entries)
		return set_problem(check, "entries of a tree are missing");
	return true;
}

// ---- the file

static bool meta_is_ours(const uint8_t *meta)
{
	return le32_get(meta) == META_MAGIC && le32_get(meta + 4) == META_VERSION;
}

// The newer of the two heads. NULL: what is wrong is said, or LMDB says it.
static const uint8_t *meta_choose(struct check *check)
{
	const uint8_t *first = check->map + PAGE_HEAD, *second;

	if (check->size < PAGE_HEAD + META_SIZE || !meta_is_ours(first))
		return NULL;
	check->page_size = le32_get(first + META_FREE);
	second = first + check->page_size;
	if (check->page_size < 512 || check->page_size > 32768 ||
	    (uint64_t)check->page_size + PAGE_HEAD + META_SIZE > check->size ||
	    !meta_is_ours(second)) {
		set_problem(check, "its head is wrong");
		return NULL;
	}
	return le64_get(first + META_TXN) >= le64_get(second + META_TXN) ? first : second;
}

// Transactions write the two heads in turn. In a new file both are those of none. Each names the
// size of a page, and LMDB takes it from the newer one.
static bool metas_check(struct check *check)
{
	const uint8_t *first = check->map + PAGE_HEAD, *second = first + check->page_size;
	uint64_t even = le64_get(first + META_TXN), odd = le64_get(second + META_TXN);

	if (le32_get(second + META_FREE) != check->page_size)
		return set_problem(check, "its two heads name different sizes of a page");
	if (even == 0 && odd == 0)
		return true;
	if (even % 2 != 0 || odd % 2 != 1 || (even + 1 != odd && odd + 1 != even))
		return set_problem(check, "its two heads do not follow each other");
	return true;
}

static bool trees_check(struct check *check, const uint8_t *meta)
{
	struct tree free_pages, tables;

	tree_read(meta + META_FREE, &free_pages);
	free_pages.numbers = true;
	tree_read(meta + META_MAIN, &tables);
	tables.tables = true;
	return tree_check(check, &tables) && tree_check(check, &free_pages);
}

static int contents_check(struct check *check)
{
	const uint8_t *meta = meta_choose(check);
	bool whole;

	if (!meta)
		return check->problem ? -EUCLEAN : 0;
	check->last = le64_get(meta + META_LAST);
	if (check->last >= UINT64_MAX / check->page_size)
		return set_problem(check, "its head is wrong") ? 0 : -EUCLEAN;
	check->pages = MIN(check->size / check->page_size, check->last + 1);
	check->used = calloc(check->pages / 8 + 1, 1);
	if (!check->used)
		return -ENOMEM;
	whole = metas_check(check) && trees_check(check, meta);
	free(check->used);
	return whole ? 0 : -EUCLEAN;
}

int check_file(const char *path, bool leaves, const char **ret_problem)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct check check = {0};
	struct stat state;
	void *map;
	int r;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(fd, &state) < 0)
		return -errno;
	if (state.st_size == 0)
		return 0;
	map = mmap(NULL, (size_t)state.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	check.map = map;
	check.size = (uint64_t)state.st_size;
	check.leaves = leaves || check.size <= LEAVES_BYTES;
	r = contents_check(&check);
	munmap(map, (size_t)state.st_size);
	if (r == -EUCLEAN)
		*ret_problem = check.problem;
	return r;
}
