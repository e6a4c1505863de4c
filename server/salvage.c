// `mqpaasd --salvage`: has the adapter take out of a damaged store what can be read, and prints
// what came of it.
//
// The first kind of cluster with a store of its own does it (adapters/store/salvage.c). It reads
// and writes no store itself.

#include "server/salvage.h"

#include "adapters/adapter.h"
#include "adapters/kinds.h"
#include "core/base/text.h"

#include <errno.h>

static json_int_t number_of(const json_t *report, const char *name)
{
	return json_integer_value(json_object_get(report, name));
}

static void report_print(const char *path, const json_t *report, FILE *out)
{
	const json_t *row;
	size_t i;

	fprintf(out, "%s: %lld rows were taken, %lld are lost; the damaged store is kept in %s\n",
		path, (long long)number_of(report, "rows"), (long long)number_of(report, "lost"),
		json_string_value(json_object_get(report, "kept")));
	if (json_is_true(json_object_get(report, "unsure")))
		fputs("its two heads did not follow each other: what was stored last may be "
		      "missing\n",
		      out);
	json_array_foreach(json_object_get(report, "missing"), i, row)
	{
		fprintf(out,
			"topic %lld, partition %lld, offsets %lld to %lld are missing: mqpaasctl "
			"topic skip-damage gives them up\n",
			(long long)number_of(row, "topic"), (long long)number_of(row, "partition"),
			(long long)number_of(row, "first"), (long long)number_of(row, "end"));
	}
	json_array_foreach(json_object_get(report, "row_lost"), i, row)
	{
		fprintf(out,
			"topic %lld: its own row is lost: mqpaasctl topic skip-damage makes it "
			"anew\n",
			(long long)json_integer_value(row));
	}
}

char *salvage_print(const char *path, FILE *out)
{
	const struct adapter_ops *ops = adapter_kind_at(0);
	char *wrong = NULL, *given;
	json_t *report = NULL;
	int r;

	for (size_t i = 0; ops && !ops->salvage; ++i)
		ops = adapter_kind_at(i);
	if (!ops)
		return text_format("--salvage: no kind of cluster keeps a store here");
	r = ops->salvage(path, &report, &wrong);
	if (r == 0) {
		report_print(path, report, out);
		json_decref(report);
		return NULL;
	}
	given = text_format("--salvage: %s", wrong ? wrong : strerror(-r));
	free(wrong);
	return given;
}
