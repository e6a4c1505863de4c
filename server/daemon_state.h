// What the parts of the daemon share. For the main thread, unless marked.
#pragma once

#include "core/catalog/seal.h"
#include "portal-api/portal.h"
#include "proxy/proxy.h"
#include "server/daemon.h"
#include "server/files.h"
#include "server/settings.h"

#include <pthread.h>

#define KINDS_MAX 16

struct daemon {
	struct settings *settings; // borrowed
	const char *data_dir;
	int lock_fd;
	int drained_fd; // an eventfd that the proxy's last thread writes
	uint8_t salt_secret[FILES_SECRET_SIZE];
	struct seal_key seal_key;
	struct catalog *catalog;
	struct registry *registry;
	struct proxy *proxy;
	struct portal *portal;
	const char *kinds[KINDS_MAX + 1];

	pthread_mutex_t tls_lock;
	SSL_CTX *tls; // the portal's thread takes references
};
