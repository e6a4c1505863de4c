// What a client was configured with, copied and checked; credentials may be read again.
#pragma once

#include "sdk/c/include/mqpaas/mqpaas.h"
#include "sdk/c/src/address.h"

#include <sys/types.h>
#include <time.h>

#define SETTINGS_TEXT_SIZE 513u

// What a credentials file was like when it was read.
struct settings_stamp {
	struct timespec changed;
	ino_t inode;
	off_t size;
};

// The access key that connects, and the addresses it connects to.
struct credentials {
	char access_key[SETTINGS_TEXT_SIZE];
	char secret[SETTINGS_TEXT_SIZE];
	char addresses[4097];
};

struct settings {
	struct mqp_client_config config; // its texts are the copies below
	char *texts[8];
	unsigned text_count;
	struct settings_stamp stamp;
	struct credentials use;
};

// MQP_INVALID_ARGUMENT, MQP_BAD_CREDENTIALS, MQP_NO_MEMORY: `settings` needs no deinit.
enum mqp_code settings_init(struct settings *settings, const struct mqp_client_config *config);
void settings_deinit(struct settings *settings);

bool settings_file_changed(const struct settings *settings);
// Reads the credentials file again; what is in use stays. MQP_BAD_CREDENTIALS,
// MQP_INVALID_ARGUMENT: it cannot be used.
enum mqp_code settings_reload(struct settings *settings, struct credentials *ret_fresh);
bool settings_credentials_same(const struct credentials *a, const struct credentials *b);
