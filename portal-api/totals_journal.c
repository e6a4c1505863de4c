// Totals that were counted since the registry last saved them, in a file that is appended to.
//
// A line is `KIND ID {counters}`; a later line of an object replaces earlier ones. If a full disk
// cuts a line short, its rest is lost. Each line therefore begins with a line feed, and readers
// skip what is not a line.
//
// Invariant: what was written survives a kill of the process. It is not synced, so a power cut may
// lose it. Not here: when to write and to empty it (counters.c).

#include "portal-api/totals_journal.h"

#include "core/base/log.h"
#include "core/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct totals_journal {
	int fd;
	FILE *lines; // to be written
	char *text;
	size_t size;
};

static void line_read(const char *line, totals_journal_fn fn, void *ctx)
{
	unsigned kind;
	uint64_t id;
	json_t *counters;
	int at = 0;

	if (sscanf(line, "%u %" SCNu64 " %n", &kind, &id, &at) < 2 || at == 0)
		return;
	counters = json_loads(line + at, 0, NULL);
	if (json_is_object(counters))
		fn(ctx, kind, id, counters);
	json_decref(counters);
}

static void lines_read(int fd, totals_journal_fn fn, void *ctx)
{
	FILE *file = fdopen(dup(fd), "r");
	char *line = NULL;
	size_t room = 0;

	while (file && getline(&line, &room, file) > 0)
		line_read(line, fn, ctx);
	free(line);
	if (file)
		fclose(file);
}

int totals_journal_open(const char *data_dir, totals_journal_fn fn, void *ctx,
			struct totals_journal **ret)
{
	struct totals_journal *journal = calloc(1, sizeof *journal);
	char path[PATH_MAX];

	if (!journal)
		return -ENOMEM;
	snprintf(path, sizeof path, "%s/totals.journal", data_dir);
	journal->fd = -1;
	journal->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	journal->lines = open_memstream(&journal->text, &journal->size);
	if (journal->fd < 0 || !journal->lines) {
		int r = -errno;

		log_error(NULL, "TOTALS-JOURNAL", "%s: %s", path, strerror(-r));
		totals_journal_close(journal);
		return r;
	}
	lines_read(journal->fd, fn, ctx);
	*ret = journal;
	return 0;
}

void totals_journal_close(struct totals_journal *journal)
{
	if (!journal)
		return;
	if (journal->lines)
		fclose(journal->lines);
	free(journal->text);
	if (journal->fd >= 0)
		close(journal->fd);
	free(journal);
}

void totals_journal_add(struct totals_journal *journal, unsigned kind, uint64_t id,
			json_t *counters)
{
	char *text = json_dumps(counters, JSON_COMPACT);

	if (text)
		fprintf(journal->lines, "\n%u %" PRIu64 " %s", kind, id, text);
	free(text);
	json_decref(counters);
}

int totals_journal_write(struct totals_journal *journal)
{
	int r = 0;

	fflush(journal->lines);
	for (size_t at = 0; at < journal->size;) {
		ssize_t n = write(journal->fd, journal->text + at, journal->size - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			r = -errno;
			break;
		}
		at += (size_t)n;
	}
	rewind(journal->lines);
	fflush(journal->lines);
	return r;
}

int totals_journal_clear(struct totals_journal *journal)
{
	return ftruncate(journal->fd, 0) < 0 ? -errno : 0;
}
