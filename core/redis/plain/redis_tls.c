// For a hiredis without TLS (0.14 of Debian 12).

#include "core/redis/tls/redis_tls.h"

#include <errno.h>

bool redis_tls_is_there(void)
{
	return false;
}

int redis_tls_begin(struct redisAsyncContext *context, const char *host)
{
	return -ENOTSUP;
}
