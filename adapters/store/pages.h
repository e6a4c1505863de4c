// The pages of LMDB's file: that of LMDB 0.9 on a 64-bit little-endian machine; LMDB itself refuses
// others.
#pragma once

#include "core/base/util.h"

#define DEPTH_MAX 32 // LMDB's own
#define NO_ROOT   UINT64_MAX

// A page: number u64, padding u16, kind u16, lower u16, upper u16, then places of nodes, u16 each.
#define PAGE_HEAD   16u
#define PAGE_BRANCH 1u
#define PAGE_LEAF   2u
#define PAGE_BIG    4u // of a value that has pages of its own; their number u32 in place of lower
// A node: size of the value u32 (a branch: the low half of the child's number), flags u16 (a
// branch: its high part), size of the key u16, key, value.
#define NODE_HEAD 8u
#define NODE_BIG  1u // the value is the number of the page where it begins
#define NODE_TREE 2u // the value is the head of a tree
// Page 0 and page 1, behind the head of the page.
#define META_MAGIC    0xbeefc0deu
#define META_VERSION  1u
#define FLAGS_NUMBERS 8u  // of the tree of free pages: its keys are numbers
#define META_FREE     24u // the tree of free pages; its padding holds the size of a page
#define META_MAIN     72u // the tree of tables
#define META_LAST     120u
#define META_TXN      128u
#define META_SIZE     136u
#define TREE_SIZE     48u

static inline uint32_t node_count(const uint8_t *page)
{
	return (le16_get(page + 12) - PAGE_HEAD) / 2u;
}

static inline const uint8_t *node_at(const uint8_t *page, uint32_t index)
{
	return page + le16_get(page + PAGE_HEAD + (size_t)index * 2);
}
