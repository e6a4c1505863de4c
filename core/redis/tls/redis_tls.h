// TLS to Redis: there where the installed hiredis has it (../ssl/), refused where it has not
// (../plain/).
#pragma once

#include <stdbool.h>

struct redisAsyncContext;

bool redis_tls_is_there(void);
// 0, or negative errno. The host's name is checked, against the system's authorities.
int redis_tls_begin(struct redisAsyncContext *context, const char *host);
