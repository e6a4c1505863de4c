// metrics: the text that Prometheus reads, byte for byte; and the histogram that percentiles come
// from.

#include "core/base/histogram.h"
#include "core/base/metrics.h"
#include "tests/unit/unit.h"

static const struct metric plain = {"up_seconds", METRIC_GAUGE, "seconds", "", false, "a sentence"};
static const struct metric labelled = {"sent_total",   METRIC_COUNTER, "messages",
				       "tenant,topic", true,           "another"};

static void text_is_as_prometheus_reads_it(void)
{
	struct metrics_text out = {0};
	char *text;
	size_t size;

	metrics_begin(&out, &plain);
	metrics_value(&out, &plain, 0.25, NULL);
	metrics_begin(&out, &labelled);
	metrics_value(&out, &labelled, 12345678901234, (const char *const[]){"a", "b"});
	metrics_value(&out, &labelled, -3, (const char *const[]){"quote\"", "back\\line\n"});
	CHECK_EQ(metrics_take(&out, &text, &size), 0);
	CHECK_EQ(size, strlen("# HELP up_seconds a sentence\n# TYPE up_seconds gauge\n"
			      "up_seconds 0.25\n"
			      "# HELP sent_total another\n# TYPE sent_total counter\n"
			      "sent_total{tenant=\"a\",topic=\"b\"} 12345678901234\n"
			      "sent_total{tenant=\"quote\\\"\",topic=\"back\\\\line\\n\"} -3\n"));
	CHECK(memcmp(text,
		     "# HELP up_seconds a sentence\n# TYPE up_seconds gauge\n"
		     "up_seconds 0.25\n"
		     "# HELP sent_total another\n# TYPE sent_total counter\n"
		     "sent_total{tenant=\"a\",topic=\"b\"} 12345678901234\n"
		     "sent_total{tenant=\"quote\\\"\",topic=\"back\\\\line\\n\"} -3\n",
		     size) == 0);
	free(text);
	CHECK(out.text == NULL && out.size == 0);
}

static void large_texts_grow(void)
{
	struct metrics_text out = {0};
	char *text, *end;
	size_t size, lines = 0;

	for (unsigned i = 0; i < 20000; ++i)
		metrics_value(&out, &plain, i, NULL);
	CHECK_EQ(metrics_take(&out, &text, &size), 0);
	for (char *at = text; (end = memchr(at, '\n', size - (size_t)(at - text))); at = end + 1)
		++lines;
	CHECK_EQ(lines, 20000);
	free(text);
}

static void a_failed_text_is_no_text(void)
{
	struct metrics_text out = {.failed = true};
	char *text;
	size_t size;

	metrics_begin(&out, &plain);
	CHECK(metrics_take(&out, &text, &size) < 0);
	CHECK(!out.failed);
}

static void the_page_is_a_table(void)
{
	char *text;
	size_t size;
	FILE *file = open_memstream(&text, &size);

	metrics_print_head(file);
	metrics_print_row(&labelled, file);
	fclose(file);
	CHECK(strstr(
		text,
		"| `sent_total` (detailed) | counter | messages | tenant,topic | another |\n"));
	free(text);
}

// Any percentile is at most 1/64 above the value it stands for, at any size.
static void percentiles_are_close(void)
{
	static struct histogram histogram, other;

	for (uint64_t scale = 1; scale < 1ull << 50; scale *= 37) {
		histogram_init(&histogram);
		for (uint64_t i = 1; i <= 1000; ++i)
			histogram_add(&histogram, i * scale);
		CHECK_EQ(histogram.count, 1000);
		CHECK_EQ(histogram.min, scale);
		CHECK_EQ(histogram.max, 1000 * scale);
		for (unsigned percent = 1; percent <= 100; ++percent) {
			double exact = (double)percent * 10 * (double)scale;
			double found = (double)histogram_percentile(&histogram, percent);

			CHECK(found >= exact && found <= exact * 65 / 64 + 1);
		}
	}
	histogram_init(&other);
	CHECK_EQ(histogram_percentile(&other, 50), 0);
	histogram_merge(&other, &histogram);
	CHECK_EQ(other.count, histogram.count);
	CHECK_EQ(other.max, histogram.max);
	histogram_add(&other, UINT64_MAX);
	CHECK_EQ(other.max, UINT64_MAX);
}

UNIT_MAIN(UNIT_CASE(text_is_as_prometheus_reads_it), UNIT_CASE(large_texts_grow),
	  UNIT_CASE(a_failed_text_is_no_text), UNIT_CASE(the_page_is_a_table),
	  UNIT_CASE(percentiles_are_close))
