// Notices when a head of the file changes under the open store.
//
// LMDB begins every transaction from one of the two heads in its file, as it stands in memory, and
// checks nothing of it but its place. A flipped bit there silently brings back the store as it was
// some transactions ago, and the next commit would make that last. So each head is kept as it was
// first seen, and every transaction is compared with it.
//
// A head is written again two transactions later. What is read then belongs to another transaction:
// its number says so, and it is not compared.
//
// Invariant: once a store is stopped, no transaction begins in it; only a restart, which checks the
// whole file, goes on. Not here: heads at rest (check.c).

#include "adapters/store/head.h"

#include "adapters/store/pages.h"
#include "core/base/log.h"

#include <errno.h>

// Page 0 holds the heads of even transactions, page 1 of odd ones, behind the head of the page
// (pages.h).
static_assert(META_SIZE == STORE_HEAD, "a head is kept as a whole");

void head_stop(struct store *store, const char *reason)
{
	const char *none = NULL;

	if (__atomic_compare_exchange_n(&store->stopped, &none, reason, false, __ATOMIC_ACQ_REL,
					__ATOMIC_ACQUIRE))
		log_error(NULL, "STORE-STOPPED",
			  "%s: %s; nothing is read or written there any more. Restart mqpaasd, "
			  "which looks at the whole file",
			  store->path, reason);
}

const char *head_stopped(const struct store *store)
{
	return __atomic_load_n(&store->stopped, __ATOMIC_ACQUIRE);
}

int head_report_changed(struct store *store)
{
	head_stop(store, "the head of its file has changed, in memory or on the disk");
	return -EUCLEAN;
}

static bool head_read(const struct store *store, uint64_t transaction, uint8_t head[STORE_HEAD])
{
	uint64_t at = transaction % 2 * store->page_size + PAGE_HEAD;
	int fd;

	return mdb_env_get_fd(store->env, &fd) == 0 &&
	       pread(fd, head, STORE_HEAD, (off_t)at) == STORE_HEAD &&
	       le64_get(head + META_TXN) == transaction;
}

// Called with the number of a transaction that has begun or was committed. Reads the head through
// the descriptor, not the map that LMDB uses; both are the same pages of the page cache.
int head_check(struct store *store, uint64_t transaction)
{
	uint8_t head[STORE_HEAD], *known = store->heads[transaction % 2];
	bool same = true;

	if (!head_read(store, transaction, head))
		return 0; // another transaction has written it meanwhile
	pthread_mutex_lock(&store->head_lock);
	// A head that is kept begins with its magic number; one that is not is all zero.
	if (le32_get(known) && le64_get(known + META_TXN) == transaction)
		same = memcmp(known, head, sizeof head) == 0;
	else if (le64_get(known + META_TXN) <= transaction)
		memcpy(known, head, sizeof head);
	pthread_mutex_unlock(&store->head_lock);
	return same ? 0 : head_report_changed(store);
}
