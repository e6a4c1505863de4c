// What the disk and the kernel cost: appends to a file, each of them made durable.
//
//   bench_append folder=PATH [size=BYTES] [seconds=N]
//
// Prints the percentiles of write and fdatasync together, in ns.

#include "core/base/clock.h"
#include "core/base/histogram.h"
#include "core/base/util.h"
#include "tests/bench/args.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct args args = {argc, argv};
	size_t size = (size_t)args_number(&args, "size", 150);
	int fd = open(args_text(&args, "folder", "."), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	uint64_t before_ns = clock_now_ns(),
		 until_ns = before_ns + args_number(&args, "seconds", 2) * S_NS;
	uint8_t *bytes = calloc(1, size);
	struct histogram taken;

	if (fd < 0 || !bytes)
		die("no file: %s", strerror(errno));
	histogram_init(&taken);
	while (before_ns < until_ns) {
		uint64_t after_ns;

		if (write(fd, bytes, size) != (ssize_t)size || fdatasync(fd) < 0)
			die("cannot append: %s", strerror(errno));
		after_ns = clock_now_ns();
		histogram_add(&taken, after_ns - before_ns);
		before_ns = after_ns;
	}
	printf("{\"messages\": %llu, \"p50_ns\": %llu, \"p99_ns\": %llu}\n",
	       (unsigned long long)taken.count,
	       (unsigned long long)histogram_percentile(&taken, 50),
	       (unsigned long long)histogram_percentile(&taken, 99));
	free(bytes);
	close(fd);
	return 0;
}
