// Asks the management API: a path on the first base URL that answers. Blocks.
#pragma once

#include "adapters/rabbitmq/link/options.h"

#include <stdbool.h>

struct rabbitmq_http;

#define RABBITMQ_HTTP_ERROR 320

// `leaving`: atomic; a request under way ends soon after it is true. -ENOMEM, or -EINVAL when the
// options name no base URL. @thread any; everything else: one thread
int rabbitmq_http_new(const struct rabbitmq_options *options, const bool *leaving,
		      struct rabbitmq_http **ret);
void rabbitmq_http_free(struct rabbitmq_http *http); // accepts NULL

// Good until the next call. 0, or -EIO with `error` in words that name the address: it does not
// answer, or not with 200, or with more bytes than it may. *ret_status: 0 without an answer.
int rabbitmq_http_get(struct rabbitmq_http *http, const char *path, const char **ret_data,
		      size_t *ret_size, long *ret_status, char error[RABBITMQ_HTTP_ERROR]);
// "/api/queues/", the vhost as a part of a path, and the rest. malloc'ed; NULL: no memory.
char *rabbitmq_http_path(struct rabbitmq_http *http, const char *before, const char *vhost,
			 const char *behind);
