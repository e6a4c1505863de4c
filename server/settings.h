// The settings of mqpaasd, a row each; docs/configuration.md is generated from it.
#pragma once

#include "core/base/settings.h"

#define NO_RANGE 0, 0, NULL

//     id, name, type, default, min, max, choices, reload, sentence
#define SERVER_SETTINGS(ROW)                                                                       \
	ROW(ROLE, "role", SETTING_CHOICE, "standalone", 0, 0, "standalone|proxy|portal", false,    \
	    "which parts run here: the proxy, the portal, or both in one process")                 \
	ROW(DATA_DIR, "data-dir", SETTING_TEXT, "/var/lib/mqpaas", NO_RANGE, false,                \
	    "directory of everything that is kept")                                                \
	ROW(LISTEN, "listen", SETTING_LIST, "127.0.0.1:7300", NO_RANGE, false,                     \
	    "address for clients, plain and TLS alike; \"ADDRESS as NAME:PORT\" tells clients "    \
	    "another one, \"ADDRESS as tls://NAME:PORT\" makes them use TLS")                      \
	ROW(PORTAL_LISTEN, "portal-listen", SETTING_LIST, "127.0.0.1:7080", NO_RANGE, false,       \
	    "address for REST; \"tls://ADDRESS\" for HTTPS")                                       \
	ROW(PORTAL_PLAIN, "portal-plain", SETTING_FLAG, "no", NO_RANGE, false,                     \
	    "allow REST without TLS on addresses other than loopback")                             \
	ROW(PORTAL_CONNECTIONS, "portal-connections", SETTING_COUNT, "256", 1, 65536, NULL, false, \
	    "REST requests in work at a time, and connections whose request is not whole: of "     \
	    "these the source with the most gives way; /livez, /readyz and /metrics come beside")  \
	ROW(PORTAL_HEAD_TIMEOUT, "portal-head-timeout", SETTING_DURATION, "10s", 100, 600000,      \
	    NULL, false, "from connecting to the end of a request's head, TLS included")           \
	ROW(PORTAL_BODY_TIMEOUT, "portal-body-timeout", SETTING_DURATION, "30s", 100, 600000,      \
	    NULL, false, "from there to the end of its body")                                      \
	ROW(PORTAL_ANSWER_TIMEOUT, "portal-answer-timeout", SETTING_DURATION, "30s", 100, 600000,  \
	    NULL, false, "until a request is answered, and again until the answer is taken")       \
	ROW(PORTAL_BODY, "portal-body", SETTING_SIZE, "64KiB", 4096, 16u << 20, NULL, false,       \
	    "largest body of a request, other than an import of definitions")                      \
	ROW(PORTAL_IMPORT, "portal-import", SETTING_SIZE, "16MiB", 65536, 256u << 20, NULL, false, \
	    "largest body of an import of definitions")                                            \
	ROW(OPEN_METRICS, "open-metrics", SETTING_FLAG, "no", NO_RANGE, false,                     \
	    "serve /metrics without a token")                                                      \
	ROW(CONTROL_LISTEN, "control-listen", SETTING_TEXT, NULL, NO_RANGE, false,                 \
	    "address where proxies of the installation follow the portal "                         \
	    "(docs/control-link.md); "                                                             \
	    "without it there are none but the one in this process")                               \
	ROW(JOIN, "join", SETTING_LIST, NULL, NO_RANGE, false,                                     \
	    "HOST:PORT of the portal's control-listen: makes this proxy one of its "               \
	    "installation; kept, so that a later start needs neither this nor token")              \
	ROW(TOKEN, "token", SETTING_TEXT, NULL, NO_RANGE, false,                                   \
	    "token of mqpaasctl proxy invite, for the first start with join")                      \
	ROW(TLS_CERT, "tls-cert", SETTING_TEXT, NULL, NO_RANGE, true,                              \
	    "PEM file of the certificate chain, for clients and REST")                             \
	ROW(TLS_KEY, "tls-key", SETTING_TEXT, NULL, NO_RANGE, true,                                \
	    "PEM file of its private key; without it the key is looked for in tls-cert")           \
	ROW(LOG_LEVEL, "log-level", SETTING_CHOICE, "info", 0, 0, "debug|info|warn|error", true,   \
	    "least weight of the lines that are logged")                                           \
	ROW(PROXY_ID, "proxy-id", SETTING_TEXT, NULL, NO_RANGE, false,                             \
	    "name of this proxy among others; the host's name unless set")                         \
	ROW(WORKERS, "workers", SETTING_COUNT, "0", 0, 64, NULL, false,                            \
	    "event loops; 0: one a core")                                                          \
	ROW(DRAIN, "drain", SETTING_DURATION, "10s", 0, 600000, NULL, true,                        \
	    "how long clients may take to leave after SIGTERM")                                    \
	ROW(MAX_MESSAGE, "max-message", SETTING_SIZE, "16MiB", 1024, 16u << 20, NULL, false,       \
	    "largest message, whatever tenant and topic allow")                                    \
	ROW(KEEPALIVE, "keepalive", SETTING_DURATION, "30s", 1000, 3600000, NULL, true,            \
	    "a silent client is asked after this long and closed after twice as long")             \
	ROW(READY_TIMEOUT, "ready-timeout", SETTING_DURATION, "10s", 100, 600000, NULL, true,      \
	    "from connecting to being authenticated")                                              \
	ROW(UNAUTHENTICATED, "unauthenticated", SETTING_COUNT, "1024", 1, 65536, NULL, true,       \
	    "connections a worker that are not authenticated yet; beyond, the source with the "    \
	    "most gives way")                                                                      \
	ROW(MESSAGE_MEMORY, "message-memory", SETTING_SIZE, "512MiB", 64u << 20, 1ull << 40, NULL, \
	    true,                                                                                  \
	    "memory for messages on their way: frames, unanswered batches, deliveries; tenants "   \
	    "share it, and one above its share waits")                                             \
	ROW(PROBE_INTERVAL, "probe-interval", SETTING_DURATION, "0", 0, 3600000, NULL, true,       \
	    "between two messages that the service sends through every cluster, reads back and "   \
	    "acknowledges (docs/probe.md); 0: none, and what was made for it is removed")          \
	ROW(PROBE_TIMEOUT, "probe-timeout", SETTING_DURATION, "10s", 100, 600000, NULL, true,      \
	    "such a message that is not back and acknowledged by then counts as failed")           \
	ROW(PROXY_PROTOCOL_FROM, "proxy-protocol-from", SETTING_LIST, NULL, NO_RANGE, false,       \
	    "address or block of balancers: what comes from there begins with a PROXY protocol "   \
	    "header (version 1 or 2), which says the client's address")                            \
	ROW(CLIENT_HEADER, "client-header", SETTING_TEXT, NULL, NO_RANGE, false,                   \
	    "header in which balancers of client-header-from tell REST the client's address, "     \
	    "such "                                                                                \
	    "as X-Forwarded-For")                                                                  \
	ROW(CLIENT_HEADER_FROM, "client-header-from", SETTING_LIST, NULL, NO_RANGE, false,         \
	    "address or block of balancers whose client-header is believed")                       \
	ROW(PID_FILE, "pid-file", SETTING_TEXT, NULL, NO_RANGE, false,                             \
	    "file that holds the process id while the daemon runs")

#define SERVER_ENUM(id, ...) SERVER_##id,
enum server_setting { SERVER_SETTINGS(SERVER_ENUM) SERVER_SETTING_COUNT };
#undef SERVER_ENUM

extern const struct setting server_settings[SERVER_SETTING_COUNT];
