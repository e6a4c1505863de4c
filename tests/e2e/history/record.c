// Writes a history file: a head of 64 bytes, then records of 64 bytes.
//
// A record is one write to a file opened for appending: once it has returned, the record is in the
// page cache and survives the death of this process, and records of several threads do not mix.
// A process that can write no history ends, since a test that goes on would call missing records
// losses.

#include "tests/e2e/history/record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

_Static_assert(sizeof(struct record) == 64, "the file's format");

struct head {
	char magic[8];
	char role; // 'p' or 'c'
	uint8_t flags;
	uint8_t reserved[2];
	uint32_t pid;
	char name[48]; // of the topic or group
};

_Static_assert(sizeof(struct head) == sizeof(struct record), "the file's format");

static int record_fd = -1;

static void write_all(const void *bytes, size_t size)
{
	if (write(record_fd, bytes, size) == (ssize_t)size)
		return;
	perror("cannot write the history");
	_exit(3);
}

void record_open(const char *path, char role, uint8_t flags, const char *name)
{
	struct head head = {.magic = "MQPHIST1", .role = role, .flags = flags};

	head.pid = (uint32_t)getpid();
	snprintf(head.name, sizeof head.name, "%s", name);
	record_fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
	write_all(&head, sizeof head);
}

void record_append(struct record *records, unsigned count)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	for (unsigned i = 0; i < count; ++i)
		records[i].time_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	write_all(records, count * sizeof *records);
}

void record_close(void)
{
	close(record_fd);
	record_fd = -1;
}

uint64_t record_id(const uint8_t *id)
{
	uint64_t half;

	memcpy(&half, id + 8, sizeof half);
	return half;
}
