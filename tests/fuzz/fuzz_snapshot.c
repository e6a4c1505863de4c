// The last good copy as a disk may give it back: a catalog opens it or sets it aside, and what it
// has opened is the same when it is opened again.
//
// First byte: bit 0: the rest is the file as it is. Else it is a chain of changes whose checksums
// are put right: for each a byte with the number of rows (bit 7: a full one), two with the size of
// the rows, the rows.

#include "core/base/log.h"
#include "core/catalog/catalog.h"
#include "core/catalog/snapshot_file.h"
#include "tests/fuzz/change_bytes.h"
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <stdio.h>

static void write_all(int fd, const void *data, size_t size)
{
	assert(write(fd, data, size) == (ssize_t)size);
}

static void write_chain(int fd, const uint8_t *data, size_t size)
{
	for (uint64_t revision = 1; size >= 3; ++revision) {
		struct change_head head = {.full = revision == 1 || data[0] & 0x80,
					   .source = 1,
					   .from = revision - 1,
					   .to = revision};
		size_t rows = MIN((size_t)(data[1] | data[2] << 8), size - 3);
		struct catalog_change *change;

		if (head.full)
			head.from = 0;
		change = change_around(&head, data[0] & 0x7f, data + 3, rows);
		write_all(fd, change->data, change->size);
		free(change);
		data += 3 + rows;
		size -= 3 + rows;
	}
}

static void count(void *ctx, const struct model_object *object)
{
	assert(object->id);
	++*(size_t *)ctx;
}

// Opens the copy; how many objects it holds, and which revision. False: it was damaged.
static bool open_copy(const char *path, size_t *ret_objects, uint64_t *ret_revision)
{
	struct catalog *catalog = NULL;
	int r = catalog_new(path, NULL, &catalog);

	assert(r == 0 || r == CATALOG_E_DAMAGED);
	*ret_objects = 0;
	*ret_revision = catalog_revision(catalog);
	for (unsigned kind = 0; kind < MODEL_KIND_COUNT; ++kind)
		catalog_each(catalog, (enum model_kind)kind, count, ret_objects);
	assert(r == 0 || (*ret_objects == 0 && *ret_revision == 0));
	catalog_free(catalog);
	return r == 0;
}

static void silent(void *ctx, enum log_level level, const char *line, size_t size)
{
	assert(size > 0 && line[0] == '{');
}

// A folder in memory of this process: what is damaged is kept beside the copy.
static char folder[] = "/dev/shm/fuzz-snapshot-XXXXXX";

static void path_of(char ret[64], const char *suffix)
{
	snprintf(ret, 64, "%s/catalog%s", folder, suffix);
}

static void remove_files(void)
{
	static const char *const suffixes[] = {"", ".damaged", ".new"};
	char path[64];

	for (size_t i = 0; i < ARRAY_SIZE(suffixes); ++i) {
		path_of(path, suffixes[i]);
		unlink(path);
	}
}

static void remove_folder(void)
{
	remove_files();
	rmdir(folder);
}

static void make_folder(void)
{
	static bool made;

	if (made)
		return;
	made = mkdtemp(folder) != NULL;
	assert(made);
	atexit(remove_folder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t objects, objects_again;
	uint64_t revision, revision_again;
	char path[64];
	int fd;

	if (size == 0)
		return 0;
	log_set_sink(silent, NULL);
	make_folder();
	path_of(path, "");
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert(fd >= 0);
	if (data[0] & 1)
		write_all(fd, data + 1, size - 1);
	else
		write_chain(fd, data + 1, size - 1);
	if (open_copy(path, &objects, &revision)) {
		assert(open_copy(path, &objects_again, &revision_again));
		assert(objects == objects_again && revision == revision_again);
	}
	close(fd);
	remove_files();
	return 0;
}
