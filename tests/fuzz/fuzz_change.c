// The rows of a snapshot or delta, with the checksums put right: no bytes make the reader step
// outside, and what it accepts comes back the same after writing and reading it again. The first
// byte says how many rows there are.

#include "tests/fuzz/change_bytes.h"
#include "tests/fuzz/fuzz.h"

// Writes again what was read; NULL when there is a row that is refused.
static struct catalog_change *rewrite(const struct catalog_change *change)
{
	struct change_reader reader;
	struct change_writer writer;
	struct change_row row;
	int r;

	r = change_open(&reader, change->data, change->size, NULL);
	assert(r == 0);
	r = change_begin(&writer, &reader.head, NULL);
	assert(r == 0);
	while ((r = change_next(&reader, &row)) == 1) {
		r = row.object ? change_put(&writer, row.object)
			       : change_gone(&writer, row.kind, row.id);
		assert(r == 0);
		model_unref(row.object);
	}
	change_close(&reader);
	if (r == 0)
		return change_end(&writer);
	change_abandon(&writer);
	return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct change_head head = {.full = true, .source = 1, .to = 1};
	struct catalog_change *change, *once, *twice;

	if (size == 0 || size > 65536)
		return 0;
	change = change_around(&head, data[0], data + 1, size - 1);
	once = rewrite(change);
	if (once) {
		twice = rewrite(once);
		assert(twice && twice->size == once->size &&
		       memcmp(twice->data, once->data, once->size) == 0);
		free(twice);
	}
	free(once);
	free(change);
	return 0;
}
