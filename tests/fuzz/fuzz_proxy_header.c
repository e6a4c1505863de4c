// The header that a balancer puts before a connection: read in any pieces it says the same, takes
// no byte that is not its own, and every other byte is refused with a reason.

#include "core/base/util.h"
#include "core/net/proxy_header.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>

static int read_exactly(const uint8_t *data, size_t size, struct proxy_header *ret,
			const char **ret_problem)
{
	uint8_t *copy = malloc(MAX(size, 1));
	int r;

	assert(copy);
	memcpy(copy, data, size);
	r = proxy_header_read(copy, size, ret, ret_problem);
	free(copy);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proxy_header whole, part;
	const char *problem, *again;
	int r, first = 0;

	if (size > 2 * PROXY_HEADER_MAX)
		return 0;
	r = read_exactly(data, size, &whole, &problem);
	assert(r == 0 || r == -EPROTO || (r > 0 && (size_t)r <= size));
	assert(r != -EPROTO || problem);
	assert(r != 0 || size < PROXY_HEADER_MAX);
	for (size_t n = 0; n <= size && first == 0; ++n)
		first = read_exactly(data, n, &part, &again);
	assert(first == r);
	if (r > 0) {
		assert(part.known == whole.known);
		assert(memcmp(&part.client, &whole.client, sizeof whole.client) == 0);
		assert(!whole.known || whole.client.ss_family == AF_INET ||
		       whole.client.ss_family == AF_INET6);
	}
	return 0;
}
