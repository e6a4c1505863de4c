// Writes metrics in Prometheus' text format, and their rows for the page in docs.
//
// A whole number is printed as one, so that counters stay exact up to 2^53; readers use doubles as
// well. When memory runs out, the text is marked as failed and metrics_take() reports that once.
//
// Not here: collecting values (server/collector.c).

#include "core/base/metrics.h"

#include "core/base/util.h"

#include <errno.h>

#define WHOLE_MAX 9007199254740992.0 // 2^53

static const char *const kinds[] = {
	[METRIC_GAUGE] = "gauge", [METRIC_COUNTER] = "counter", [METRIC_HISTOGRAM] = "histogram"};

static bool room_make(struct metrics_text *out, size_t more)
{
	size_t room = MAX(2 * out->room, out->size + more);
	char *text;

	if (out->failed || out->size + more <= out->room)
		return !out->failed;
	text = realloc(out->text, room);
	out->failed = !text;
	if (!text)
		return false;
	out->text = text;
	out->room = room;
	return true;
}

static void append_text(struct metrics_text *out, const char *text, size_t size)
{
	if (!room_make(out, size))
		return;
	memcpy(out->text + out->size, text, size);
	out->size += size;
}

static void put_text(struct metrics_text *out, const char *text)
{
	append_text(out, text, strlen(text));
}

static void put_escaped(struct metrics_text *out, const char *text)
{
	for (const char *at = text; *at; ++at) {
		if (*at == '\n')
			append_text(out, "\\n", 2);
		else if (*at == '"')
			append_text(out, "\\\"", 2);
		else if (*at == '\\')
			append_text(out, "\\\\", 2);
		else
			append_text(out, at, 1);
	}
}

void metrics_begin(struct metrics_text *out, const struct metric *metric)
{
	const char *const parts[] = {"# HELP ",   metric->name, " ", metric->sentence,
				     "\n# TYPE ", metric->name, " ", kinds[metric->kind],
				     "\n"};

	for (size_t i = 0; i < ARRAY_SIZE(parts); ++i)
		put_text(out, parts[i]);
}

// `more`: written behind them, as le="1"; "": nothing.
static void put_labels(struct metrics_text *out, const char *names, const char *const *values,
		       const char *more)
{
	size_t index = 0;

	put_text(out, "{");
	for (const char *name = names; *name; ++index) {
		size_t size = strcspn(name, ",");

		append_text(out, name, size);
		put_text(out, "=\"");
		put_escaped(out, values[index]);
		name += size;
		put_text(out, *name || *more ? "\"," : "\"");
		name += *name == ',';
	}
	put_text(out, more);
	put_text(out, "}");
}

void metrics_value(struct metrics_text *out, const struct metric *metric, double value,
		   const char *const *labels)
{
	bool whole = value > -WHOLE_MAX && value < WHOLE_MAX && value == (double)(long long)value;
	char number[40];

	put_text(out, metric->name);
	if (*metric->labels)
		put_labels(out, metric->labels, labels, "");
	snprintf(number, sizeof number, whole ? " %.0f\n" : " %.17g\n", value);
	put_text(out, number);
}

static void put_part(struct metrics_text *out, const struct metric *metric, const char *part,
		     const char *const *labels, const char *more, double value)
{
	char number[40];

	put_text(out, metric->name);
	put_text(out, part);
	if (*metric->labels || *more)
		put_labels(out, metric->labels, labels, more);
	snprintf(number, sizeof number, " %.15g\n", value);
	put_text(out, number);
}

// Prometheus' buckets are cumulative and in seconds; ours count each value once and are in
// microseconds. counts[histogram->count] holds what lies above the last bound.
void metrics_histogram(struct metrics_text *out, const struct metric *metric,
		       const struct metrics_histogram *histogram, const char *const *labels)
{
	uint64_t sum = 0;
	char bound[40];

	for (size_t i = 0; i <= histogram->count; ++i) {
		sum += histogram->counts[i];
		if (i < histogram->count)
			snprintf(bound, sizeof bound, "le=\"%g\"",
				 (double)histogram->bounds_us[i] / 1e6);
		else
			snprintf(bound, sizeof bound, "le=\"+Inf\"");
		put_part(out, metric, "_bucket", labels, bound, (double)sum);
	}
	put_part(out, metric, "_sum", labels, "", (double)histogram->sum_us / 1e6);
	put_part(out, metric, "_count", labels, "", (double)sum);
}

int metrics_take(struct metrics_text *out, char **ret, size_t *ret_size)
{
	struct metrics_text text = *out;

	*out = (struct metrics_text){0};
	if (text.failed || !text.text) {
		free(text.text);
		return -ENOMEM;
	}
	*ret = text.text;
	*ret_size = text.size;
	return 0;
}

void metrics_print_head(FILE *file)
{
	fputs("| metric | kind | unit | labels | what it says |\n|---|---|---|---|---|\n", file);
}

void metrics_print_row(const struct metric *metric, FILE *file)
{
	fprintf(file, "| `%s`%s | %s | %s | %s | %s |\n", metric->name,
		metric->detailed ? " (detailed)" : "", kinds[metric->kind], metric->unit,
		metric->labels, metric->sentence);
}
