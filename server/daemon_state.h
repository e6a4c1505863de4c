// What the parts of the daemon share: daemon.c (life), state_open.c (control data), listeners.c
// (addresses, TLS, proxy and portal). For the main thread, unless marked.
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

// All return a problem; NULL: fine.

// ---- state_open.c

char *state_open_catalog(struct daemon *daemon);
char *state_open_registry(struct daemon *daemon); // and what a new installation starts with
char *state_open_offer_token(struct daemon *daemon);

// ---- listeners.c

char *listeners_check(const struct settings *settings); // addresses and certificates
char *listeners_tls_load(const struct settings *settings,
			 SSL_CTX **ret); // NULL: TLS is not configured
struct proxy_limits listeners_limits(const struct settings *settings);
char *listeners_proxy_open(struct daemon *daemon); // it serves after proxy_start()
char *listeners_portal_start(struct daemon *daemon);
char *listeners_portal_address(const struct daemon *daemon,
			       size_t index); // malloc'ed; NULL past the end
