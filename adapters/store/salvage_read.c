// Finds every row of a damaged file of LMDB, without LMDB.
//
// It goes down from the newer head through the trees of the tables, in their order, and takes every
// node that lies within its page. One flipped bit in the head of a page is tolerated: the page that
// leads to it names its number, and its depth shows whether it is a leaf. Pages that no tree leads
// to are ignored: they hold what was deleted, and messages may hold what looks like a page.
//
// Invariant: nothing that a page says is trusted. A number that leads out of the file, or to a page
// that was visited, ends the walk there, so the walk always ends.
//
// Not here: whether a row is whole, which its checksum shows (salvage.c).

#include "adapters/store/salvage_read.h"

#include "adapters/store/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define PAGE_SIZE_MIN 512u
#define PAGE_SIZE_MAX 32768u

struct source {
	const uint8_t *map;
	uint64_t size, pages;
	uint32_t page_size;
	uint8_t *visited; // a bit for each page
	salvage_row_fn fn;
	void *ctx;
	struct salvage_read read;
};

// What a walk hands down.
struct level {
	uint64_t number;
	unsigned depth; // 1: a leaf, as far as the head of the tree says
	unsigned left;  // levels that may follow
	bool tables;    // its values are heads of trees
};

// False for a page that was visited or cannot exist: damaged branches may lead in a circle.
static bool visit_page(struct source *source, uint64_t number)
{
	if (number < 2 || number >= source->pages || source->visited[number / 8] >> number % 8 & 1)
		return false;
	source->visited[number / 8] |= (uint8_t)(1u << number % 8);
	return true;
}

static const uint8_t *page_of(const struct source *source, uint64_t number)
{
	return source->map + number * source->page_size;
}

static bool is_number(const uint8_t *page, uint64_t number)
{
	return __builtin_popcountll(le64_get(page) ^ number) <= 1;
}

static uint16_t kind_of(const uint8_t *page, const struct level *level)
{
	uint16_t kind = le16_get(page + 10);

	if (kind == PAGE_BRANCH || kind == PAGE_LEAF)
		return kind;
	return level->depth <= 1 ? PAGE_LEAF : PAGE_BRANCH;
}

// How many nodes there are; where that is damaged, as many as there can be.
static uint32_t nodes_of(const struct source *source, const uint8_t *page)
{
	uint32_t lower = le16_get(page + 12), upper = le16_get(page + 14);

	if (lower >= PAGE_HEAD && lower % 2 == 0 && lower <= upper && upper <= source->page_size)
		return node_count(page);
	return (source->page_size - PAGE_HEAD) / (2u + NODE_HEAD);
}

// NULL: it does not lie within its page, with `more` bytes behind its key.
static const uint8_t *node_of(const struct source *source, const uint8_t *page, uint32_t index,
			      uint32_t more)
{
	uint32_t at = le16_get(page + PAGE_HEAD + (size_t)index * 2);

	if (at < PAGE_HEAD + 2u || at + NODE_HEAD > source->page_size)
		return NULL;
	if ((uint64_t)at + NODE_HEAD + le16_get(page + at + 6) + more > source->page_size)
		return NULL;
	return page + at;
}

// The value of a node, wherever it stands. false: it cannot be read.
static bool value_of(struct source *source, const uint8_t *page, uint32_t index, MDB_val *ret)
{
	const uint8_t *node = node_of(source, page, index, 0), *value, *big;
	uint32_t size;
	uint64_t first;

	if (!node)
		return false;
	size = le32_get(node);
	value = node + NODE_HEAD + le16_get(node + 6);
	*ret = (MDB_val){size, (void *)(uintptr_t)value};
	if (!(le16_get(node + 4) & NODE_BIG))
		return node_of(source, page, index, MIN(size, source->page_size)) != NULL;
	if (!node_of(source, page, index, 8))
		return false;
	first = le64_get(value);
	if (first < 2 || first >= source->pages ||
	    PAGE_HEAD + (uint64_t)size > (source->pages - first) * source->page_size)
		return false;
	big = page_of(source, first);
	ret->mv_data = (void *)(uintptr_t)(big + PAGE_HEAD);
	return is_number(big, first);
}

static int page_walk(struct source *source, struct level level);

static int tree_walk(struct source *source, const uint8_t *head, bool tables)
{
	struct level level = {.number = le64_get(head + 40),
			      .depth = le16_get(head + 6),
			      .left = DEPTH_MAX,
			      .tables = tables};

	if (!tables) {
		source->read.rows += le64_get(head + 32);
		++source->read.tables;
	}
	return level.number == NO_ROOT ? 0 : page_walk(source, level);
}

static int leaf_walk(struct source *source, const struct level *level, const uint8_t *page)
{
	uint32_t count = nodes_of(source, page);
	int r = 0;

	for (uint32_t i = 0; !r && i < count; ++i) {
		const uint8_t *node = node_of(source, page, i, 0);
		MDB_val key, value;

		if (!node || !value_of(source, page, i, &value)) {
			++source->read.lost_nodes;
			continue;
		}
		key = (MDB_val){le16_get(node + 6), (void *)(uintptr_t)(node + NODE_HEAD)};
		if (!level->tables)
			r = source->fn(source->ctx, &key, &value);
		else if (value.mv_size == TREE_SIZE)
			r = tree_walk(source, value.mv_data, false);
	}
	return r;
}

static int page_walk(struct source *source, struct level level)
{
	const uint8_t *page;
	uint32_t count;
	int r = 0;

	if (level.left == 0 || !visit_page(source, level.number)) {
		++source->read.lost_pages;
		return 0;
	}
	page = page_of(source, level.number);
	if (!is_number(page, level.number)) {
		++source->read.lost_pages;
		return 0;
	}
	if (kind_of(page, &level) == PAGE_LEAF)
		return leaf_walk(source, &level, page);
	count = nodes_of(source, page);
	for (uint32_t i = 0; !r && i < count; ++i) {
		const uint8_t *node = node_of(source, page, i, 0);
		struct level below = level;

		if (!node) {
			++source->read.lost_nodes;
			continue;
		}
		below.number = le32_get(node) | (uint64_t)le16_get(node + 4) << 32;
		below.depth = level.depth > 1 ? level.depth - 1 : 1;
		--below.left;
		r = page_walk(source, below);
	}
	return r;
}

// ---- heads

static bool head_is_ours(const struct source *source, const uint8_t *head)
{
	return le32_get(head) == META_MAGIC && le32_get(head + 4) == META_VERSION &&
	       le32_get(head + META_FREE) == source->page_size;
}

// Both say the size of a page; one of them may be damaged.
static bool page_size_find(struct source *source)
{
	for (uint32_t size = PAGE_SIZE_MIN; size <= PAGE_SIZE_MAX; size *= 2) {
		source->page_size = size;
		if (source->size >= 2ull * size &&
		    (head_is_ours(source, source->map + PAGE_HEAD) ||
		     head_is_ours(source, source->map + size + PAGE_HEAD)))
			return true;
	}
	return false;
}

// Transactions write the two heads in turn. In a new file both are those of none.
static bool head_is_in_place(const struct source *source, const uint8_t *const heads[2],
			     unsigned at)
{
	uint64_t txn = le64_get(heads[at] + META_TXN);

	return head_is_ours(source, heads[at]) && (txn % 2 == at || txn == 0);
}

static int heads_walk(struct source *source)
{
	const uint8_t *heads[2];
	uint64_t even, odd;
	unsigned newer;

	if (!page_size_find(source))
		return -EUCLEAN;
	source->pages = source->size / source->page_size;
	source->visited = calloc(source->pages / 8 + 1, 1);
	if (!source->visited)
		return -ENOMEM;
	heads[0] = source->map + PAGE_HEAD;
	heads[1] = heads[0] + source->page_size;
	even = le64_get(heads[0] + META_TXN);
	odd = le64_get(heads[1] + META_TXN);
	newer = odd > even;
	source->read.unsure = !head_is_in_place(source, heads, 0) ||
			      !head_is_in_place(source, heads, 1) ||
			      (odd > 0 && even + 1 != odd && odd + 1 != even);
	if (!head_is_in_place(source, heads, newer))
		newer = !newer;
	return tree_walk(source, heads[newer] + META_MAIN, true);
}

int salvage_read(const char *file, salvage_row_fn fn, void *ctx, struct salvage_read *ret)
{
	_cleanup_(closep) int fd = open(file, O_RDONLY | O_CLOEXEC);
	struct source source = {.fn = fn, .ctx = ctx};
	struct stat state;
	void *map;
	int r;

	if (fd < 0 || fstat(fd, &state) < 0)
		return -errno;
	if (state.st_size == 0)
		return -ENOENT;
	map = mmap(NULL, (size_t)state.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	source.map = map;
	source.size = (uint64_t)state.st_size;
	r = heads_walk(&source);
	free(source.visited);
	munmap(map, (size_t)state.st_size);
	*ret = source.read;
	return r;
}
