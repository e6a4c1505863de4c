// Records the end of the audit log outside of it: in a file beside the registry, and in the
// daemon's log.
//
// The file is replaced after each change that has an entry, without waiting for the disk. It may
// lag behind after a power cut. That does no harm: only an entry that the file names and the log
// lacks is a finding. It catches a registry that was cut, emptied or put back. An attacker who can
// write both files is caught by the heads that the log and the metrics have carried elsewhere
// (`audit verify --head`).

#include "core/registry/audit_head.h"

#include "core/base/log.h"
#include "core/registry/audit.h"
#include "core/registry/store.h"
#include "core/registry/work.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define LINE_MAX_BYTES 128

void audit_head_write(const char *path, const struct head *head)
{
	_cleanup_(freep) char *beside = NULL;
	_cleanup_(closep) int fd = -1;
	char hash[REGISTRY_HASH_TEXT], line[LINE_MAX_BYTES];
	int size;

	if (!path)
		return;
	if (asprintf(&beside, "%s.new", path) < 0) {
		beside = NULL;
		return;
	}
	audit_hash_text(head->audit_hash, hash);
	size = snprintf(line, sizeof line, "%llu %s\n", (unsigned long long)head->audit_seq, hash);
	fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, line, (size_t)size) != size || rename(beside, path) < 0)
		log_warn(NULL, "AUDIT-HEAD-FILE", "%s: %s", path, strerror(errno));
}

static bool digits_read(const char *text, uint8_t ret[AUDIT_HASH_SIZE])
{
	for (size_t i = 0; i < AUDIT_HASH_SIZE; ++i) {
		unsigned byte;

		if (sscanf(text + 2 * i, "%2x", &byte) != 1)
			return false;
		ret[i] = (uint8_t)byte;
	}
	return true;
}

bool audit_head_read(const char *path, struct head *ret)
{
	_cleanup_(closep) int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	char line[LINE_MAX_BYTES], *end;
	ssize_t size = fd < 0 ? 0 : read(fd, line, sizeof line - 1);
	struct head outside = {0};

	if (!path || (fd < 0 && errno == ENOENT))
		return false;
	line[MAX(size, 0)] = '\0';
	outside.audit_seq = strtoull(line, &end, 10);
	if (*end == ' ' && strlen(end + 1) == REGISTRY_HASH_TEXT &&
	    digits_read(end + 1, outside.audit_hash)) {
		*ret = outside;
		return true;
	}
	log_error(NULL, "AUDIT-HEAD-FILE",
		  "%s is damaged: whether the audit log still ends where it did cannot be told",
		  path);
	return false;
}

void audit_head_check(struct registry *registry)
{
	bool whole = true;
	struct stat found;

	if (!registry->audit_head)
		return;
	audit_head_read(registry->audit_head, &registry->outside);
	if (stat(registry->path, &found) == 0 && found.st_size <= STORE_CHECKED_BYTES &&
	    audit_check(registry, &whole) == 0 && !whole)
		log_error(NULL, "AUDIT-BROKEN",
			  "the audit log was changed, or entries are missing: audit verify says "
			  "where");
	if (whole) // what shows that something is missing stays
		audit_head_write(registry->audit_head, &registry->head);
	audit_head_tell(registry);
}

void audit_head_tell(struct registry *registry)
{
	char hash[REGISTRY_HASH_TEXT];
	uint64_t seq = registry_audit_head(registry, hash);

	if (seq == registry->told_seq)
		return;
	registry->told_seq = seq;
	log_info(NULL, "AUDIT-HEAD", "the audit log ends with entry %llu, %s",
		 (unsigned long long)seq, hash);
}
