// Log lines: one JSON object a line, to standard error or to a sink that a program sets.
#pragma once

#include "core/base/util.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

// What a line is about. Any member may be NULL or 0 and is then left out. Never put keys, bodies or
// passwords here.
struct log_ctx {
	const char *tenant;
	const char *cluster;
	const char *peer; // address of the client
	uint64_t conn;
};

typedef void (*log_sink_fn)(void *ctx, enum log_level level, const char *line, size_t size);

void log_set_level(enum log_level level); // @thread any
enum log_level log_get_level(void);
int log_level_parse(const char *text, enum log_level *ret); // -EINVAL
void log_set_sink(log_sink_fn sink, void *sink_ctx); // @thread start-up; NULL: standard error

// `id` is a short stable word in capitals ("QUOTA-DENY") that operators may search for.
void log_write(enum log_level level, const struct log_ctx *ctx, const char *id, const char *fmt,
	       ...) PRINTF_LIKE(4, 5);

#define log_debug(ctx, id, ...)                                                                    \
	(log_get_level() <= LOG_DEBUG ? log_write(LOG_DEBUG, ctx, id, __VA_ARGS__) : (void)0)
#define log_info(ctx, id, ...)  log_write(LOG_INFO, ctx, id, __VA_ARGS__)
#define log_warn(ctx, id, ...)  log_write(LOG_WARN, ctx, id, __VA_ARGS__)
#define log_error(ctx, id, ...) log_write(LOG_ERROR, ctx, id, __VA_ARGS__)
