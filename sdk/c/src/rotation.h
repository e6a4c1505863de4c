// Moving to other credentials while the ones in use go on working.
#pragma once

#include "sdk/c/src/address.h"
#include "sdk/c/src/settings.h"
#include "sdk/c/src/timers.h"

#include "core/net/scram.h"

#include <stdbool.h>

struct link;
struct mqp_client;

// All of it is the I/O thread's.
struct rotation {
	struct timer timer;
	struct credentials fresh; // what the file says
	struct addresses addresses;
	struct scram_cache scram;
	struct link *link; // tries `fresh`; NULL: none does now
	bool wanted;       // `fresh` waits to be used
};

void rotation_init(struct rotation *rotation);
void rotation_deinit(struct rotation *rotation);

// The file has changed and can be read: `fresh` is wanted from now on, unless it is in use.
void rotation_start(struct mqp_client *client, const struct credentials *fresh);
bool rotation_owns(const struct mqp_client *client, const struct link *link);
// What a link connects with: the fresh values if it tries them, else those in use.
const struct credentials *rotation_credentials(const struct mqp_client *client,
					       const struct link *link);
struct addresses *rotation_addresses(struct mqp_client *client, const struct link *link);
struct scram_cache *rotation_scram(struct mqp_client *client, const struct link *link);
// Its link is authenticated: it becomes the client's, and the one in use is left.
void rotation_ready(struct mqp_client *client);
void rotation_failed(struct mqp_client *client, enum mqp_code code); // its link has ended
