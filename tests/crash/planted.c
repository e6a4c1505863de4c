// The store as it must not be: its environment opened without what makes a commit durable. Linked
// with --wrap=mdb_env_open.

#include <lmdb.h>

int __real_mdb_env_open(MDB_env *env, const char *path, unsigned flags, mdb_mode_t mode);
int __wrap_mdb_env_open(MDB_env *env, const char *path, unsigned flags, mdb_mode_t mode);

int __wrap_mdb_env_open(MDB_env *env, const char *path, unsigned flags, mdb_mode_t mode)
{
	return __real_mdb_env_open(env, path, flags | PLANTED_FLAGS, mode);
}
