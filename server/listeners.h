// What the daemon shows to the outside: addresses, certificates, the proxy and the portal behind
// them. For the main thread.
#pragma once

#include "core/base/settings.h"
#include "proxy/proxy.h"

#include <openssl/ssl.h>

struct daemon;

// Those that return text return a malloc'ed sentence that says what is wrong; NULL: fine.

char *listeners_check(const struct settings *settings); // addresses and certificates
char *listeners_tls_load(const struct settings *settings,
			 SSL_CTX **ret); // NULL: TLS is not configured
struct proxy_limits listeners_limits(const struct settings *settings);
char *listeners_proxy_open(struct daemon *daemon); // it serves after proxy_start()
char *listeners_portal_start(struct daemon *daemon);
char *listeners_control_address(const struct daemon *daemon); // the caller's; NULL: none
char *listeners_control_address(const struct daemon *daemon); // NULL: none
char *listeners_portal_address(const struct daemon *daemon,
			       size_t index); // malloc'ed; NULL past the end
