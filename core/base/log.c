// Writes the log: one JSON object a line.
//
// A line is formatted in a buffer on the stack and written with one write(2), so lines of several
// threads never mix. A line that would exceed the buffer is cut and marked with "cut":true.
//
// Invariant: every line is complete JSON, since values stop LOG_RESERVE bytes before the end of the
// buffer. It neither rotates files nor counts repeats.

#include "core/base/log.h"

#include "core/base/clock.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>

#define LOG_LINE_MAX 4096
#define LOG_RESERVE                                                                                \
	512 // what names, quotes and the closing of a line need at most; values stop before it

static const char *const level_names[] = {"debug", "info", "warn", "error"};

static struct {
	enum log_level level;
	log_sink_fn sink;
	void *sink_ctx;
} log_state = {.level = LOG_INFO};

struct line {
	size_t size;
	bool cut;
	char text[LOG_LINE_MAX];
};

void log_set_level(enum log_level level)
{
	__atomic_store_n(&log_state.level, level, __ATOMIC_RELAXED);
}

enum log_level log_get_level(void)
{
	return __atomic_load_n(&log_state.level, __ATOMIC_RELAXED);
}

int log_level_parse(const char *text, enum log_level *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(level_names); ++i) {
		if (strcmp(text, level_names[i]) == 0) {
			*ret = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

void log_set_sink(log_sink_fn sink, void *sink_ctx)
{
	log_state.sink = sink;
	log_state.sink_ctx = sink_ctx;
}

static void line_raw(struct line *line, const char *text, size_t size)
{
	assert(line->size + size <= LOG_LINE_MAX);
	memcpy(line->text + line->size, text, size);
	line->size += size;
}

static void line_escaped(struct line *line, const char *text)
{
	for (const char *at = text; *at; ++at) {
		unsigned char c = (unsigned char)*at;
		char escape[8];

		if (line->size > LOG_LINE_MAX - LOG_RESERVE) {
			line->cut = true;
			return;
		}
		if (c == '"' || c == '\\') {
			escape[0] = '\\';
			escape[1] = (char)c;
			line_raw(line, escape, 2);
		} else if (c < 0x20) {
			line_raw(line, escape,
				 (size_t)snprintf(escape, sizeof escape, "\\u%04x", c));
		} else {
			line_raw(line, at, 1);
		}
	}
}

static void line_text_member(struct line *line, const char *name, const char *value)
{
	if (!value)
		return;
	line_raw(line, ",\"", 2);
	line_raw(line, name, strlen(name));
	line_raw(line, "\":\"", 3);
	line_escaped(line, value);
	line_raw(line, "\"", 1);
}

static void line_open(struct line *line, enum log_level level)
{
	int64_t now_ms = clock_wall_ms();
	time_t now = (time_t)(now_ms / 1000);
	struct tm tm;
	char stamp[32], head[80];
	int n;

	gmtime_r(&now, &tm);
	strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
	n = snprintf(head, sizeof head, "{\"time\":\"%s.%03dZ\",\"level\":\"%s\"", stamp,
		     (int)(now_ms % 1000), level_names[level]);
	line_raw(line, head, (size_t)n);
}

static void line_close(struct line *line)
{
	const char *end = line->cut ? ",\"cut\":true}\n" : "}\n";
	size_t size = strlen(end);

	memcpy(line->text + line->size, end, size);
	line->size += size;
}

// A message is cut at 2,047 bytes before it is escaped. A failed write is ignored: there is no
// other place to report it.
void log_write(enum log_level level, const struct log_ctx *ctx, const char *id, const char *fmt,
	       ...)
{
	struct line line = {0};
	char message[2048], number[24];
	va_list args;

	if (level < log_get_level())
		return;
	va_start(args, fmt);
	vsnprintf(message, sizeof message, fmt, args);
	va_end(args);

	line_open(&line, level);
	line_text_member(&line, "id", id);
	if (ctx) {
		line_text_member(&line, "tenant", ctx->tenant);
		line_text_member(&line, "cluster", ctx->cluster);
		line_text_member(&line, "peer", ctx->peer);
		if (ctx->conn) {
			snprintf(number, sizeof number, "%llu", (unsigned long long)ctx->conn);
			line_text_member(&line, "conn", number);
		}
	}
	line_text_member(&line, "message", message);
	line_close(&line);

	if (log_state.sink)
		log_state.sink(log_state.sink_ctx, level, line.text, line.size);
	else if (write(STDERR_FILENO, line.text, line.size) < 0)
		return;
}
