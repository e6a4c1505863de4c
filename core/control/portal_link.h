// A proxy's end of its control link: follows the portal on a thread of its own.
#pragma once

#include <stddef.h>
#include <stdint.h>

struct catalog;
struct portal_link;

// All are copied.
struct portal_link_config {
	const char *version; // of the program
	const char *key, *certificate, *authority;
	uint64_t installation, id;
	const char *const *portals; // HOST:PORT, tried in turn
	size_t portal_count;
	struct catalog *catalog; // borrowed; changed by this thread alone
	// @thread control. The portal has sent another certificate for the key.
	void (*renewed)(void *ctx, const char *certificate, const char *authority);
	// @thread control. This proxy is no longer one of the installation; nothing is followed
	// any more.
	void (*removed)(void *ctx);
	void *ctx;
};

int portal_link_start(const struct portal_link_config *config, struct portal_link **ret); // -errno
void portal_link_stop(struct portal_link *link); // accepts NULL; frees
