// What the parts of the daemon share. For the main thread, unless marked.
#pragma once

#include "core/catalog/seal.h"
#include "core/control/portal_link.h"
#include "portal-api/portal.h"
#include "proxy/proxy.h"
#include "server/daemon.h"
#include "server/files.h"
#include "server/settings.h"

#include <jansson.h>
#include <pthread.h>

#define KINDS_MAX 16

// Of control links (control.c).
struct control {
	char *key, *certificate;  // of the authority, on the portal's side
	json_t *identity;         // what proxy.json holds; NULL: it has not joined
	struct portal_link *link; // follows the portal; NULL: none
};

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
	struct control control;
	const char *kinds[KINDS_MAX + 1];

	pthread_mutex_t tls_lock;
	SSL_CTX *tls; // the portal's thread takes references
};
