// Translates errors at the two borders of the store.
//
// Inside, every function returns 0 or a negative errno. LMDB's own numbers are translated where
// LMDB is called, and the errno into a code of the protocol where a request is answered.
//
// Invariant: damage, and a store that was stopped for it, is -EUCLEAN, and nothing else is. So
// CODE_BACKEND_ERROR always means damage, and CODE_BACKEND_DOWN an error that may pass.
//
// Not here: texts for operators; they are made where the file is known (store.c, damage.c).

#include "adapters/store/error.h"

#include <errno.h>
#include <lmdb.h>

int store_error(int lmdb_result)
{
	switch (lmdb_result) {
	case MDB_SUCCESS: return 0;
	case MDB_NOTFOUND: return -ENOENT;
	case MDB_MAP_FULL: return -ENOSPC;
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_INVALID:
	case MDB_VERSION_MISMATCH: return -EUCLEAN;
	default: return lmdb_result > 0 ? -lmdb_result : -EIO;
	}
}

enum code store_error_code(int r)
{
	switch (-r) {
	case 0: return CODE_OK;
	case ENOENT: return CODE_NOT_FOUND;
	case EEXIST: return CODE_CONFLICT;
	case EFBIG: // a limit on the size of files is a full disk to us
	case ENOSPC: return CODE_BACKEND_FULL;
	case ENOMEM: return CODE_OVERLOADED;
	case EDQUOT: return CODE_BACKEND_FULL;
	case EINVAL: return CODE_BAD_REQUEST;
	case EUCLEAN: return CODE_BACKEND_ERROR;
	default: return CODE_BACKEND_DOWN;
	}
}
