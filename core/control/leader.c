// Accepts links of proxies, of those that join and of those that have joined, and runs a feed for
// each of the latter.
//
// A link begins without rights. JOIN with a token gets a certificate and ends the link; HELLO over
// a link with a certificate of this authority, whose key the registry knows, makes it a proxy's.
// What is refused is said in words before the link ends.
//
// The full copy is made from the catalog, on the thread that changes it, and shared by all feeds
// that need one.
//
// Not here: who may join (the hooks ask the registry), and what a feed sends when (feed.c).

#include "core/control/leader.h"

#include "core/base/base64url.h"
#include "core/base/clock.h"
#include "core/base/list.h"
#include "core/base/log.h"
#include "core/base/text.h"
#include "core/catalog/catalog.h"
#include "core/control/certificate.h"
#include "core/control/envelope.h"
#include "core/control/feed.h"
#include "core/control/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

#define SESSIONS_MAX  1024u
#define HISTORY_COUNT 4096u
#define HISTORY_BYTES (8u << 20)
#define UNNAMED_NS    (10 * S_NS)
#define HEAD_SIZE     24u // of LINK_FOLLOW, LINK_SLICE; LINK_CURRENT has 32
#define PEER_SIZE     64

struct session {
	struct list in_leader;
	struct leader *leader;
	struct link link;
	struct feed feed;
	char peer[PEER_SIZE];
	uint64_t opened_ns;
	bool named; // it is a proxy's
	struct leader_proxy proxy;
	uint64_t process;
	int64_t since_ms;
	char version[64];
	struct link_position holds;
	uint64_t current_ns; // when it held what is the newest here; 0: never
};

struct leader {
	struct loop *loop;
	struct leader_config config;
	char *authority_key, *authority, *certificate, *portal_key;
	uint8_t *secrets;
	SSL_CTX *context;
	struct loop_io io;
	unsigned port;
	struct list sessions;
	size_t session_count;
	struct history history;
	struct loop_timer timer; // renews the certificate
};

// ---- certificates

static char *issue(struct leader *leader, const char *name, const char *public_key)
{
	const struct certificate_order order = {.name = name,
						.public_key = public_key,
						.authority_key = leader->authority_key,
						.authority = leader->authority,
						.now_ms = clock_wall_ms()};

	return certificate_issue(&order);
}

// Links that are open keep the old one.
static int certificate_renew(struct leader *leader)
{
	_cleanup_(freep) char *public_key = certificate_key_public(leader->portal_key);
	char name[CERTIFICATE_NAME_SIZE], *certificate;
	SSL_CTX *context;

	certificate_name_portal(leader->config.installation, name);
	certificate = public_key ? issue(leader, name, public_key) : NULL;
	context = certificate ? certificate_context(true, leader->portal_key, certificate,
						    leader->authority)
			      : NULL;
	if (!context) {
		free(certificate);
		return -ENOMEM;
	}
	free(leader->certificate);
	leader->certificate = certificate;
	SSL_CTX_free(leader->context);
	leader->context = context;
	return 0;
}

static void on_timer(struct loop_timer *timer)
{
	struct leader *leader = CONTAINER_OF(timer, struct leader, timer);

	if (certificate_is_old(leader->certificate, clock_wall_ms()) &&
	    certificate_renew(leader) < 0)
		log_error(NULL, "CONTROL-CERTIFICATE",
			  "the portal's certificate for control links "
			  "cannot be renewed");
	loop_timer_set(timer, loop_now_ns(leader->loop) + 3600 * S_NS);
}

// ---- refusing

static void refuse(struct session *session, const char *reason, const char *text)
{
	log_warn(NULL, "CONTROL-REFUSED", "%s%s%s: %s", session->peer, session->named ? " " : "",
		 session->named ? session->proxy.name : "", text);
	link_send_json(&session->link, FRAME_LINK_REFUSED,
		       json_pack("{s:s, s:s}", "reason", reason, "text", text));
	link_end(&session->link, "refused");
}

static unsigned number_of(const json_t *body, const char *name)
{
	json_int_t number = json_integer_value(json_object_get(body, name));

	return number > 0 && number < 1000000 ? (unsigned)number : 0;
}

// The version of both, or 0: refused.
static unsigned agree(struct session *session, const json_t *body)
{
	unsigned theirs = number_of(body, "version"), least = number_of(body, "least"),
		 version = link_version(theirs, least);
	_cleanup_(freep) char *text = NULL;

	if (version)
		return version;
	text = text_format(
		"the portal (%s) speaks versions %d to %d of the control link, the proxy "
		"%u to %u: upgrade the %s first",
		session->leader->config.version, LINK_LEAST, LINK_VERSION, least, theirs,
		theirs < LINK_LEAST ? "proxy" : "portal");
	refuse(session, "version", text);
	return 0;
}

// ---- joining

static json_t *wrap_secrets(struct leader *leader, const char *public_key, const char *bound)
{
	size_t size = leader->config.secrets_size + ENVELOPE_OVERHEAD;
	_cleanup_(freep) uint8_t *closed = malloc(size);
	_cleanup_(freep) char *text = malloc(BASE64URL_SIZE(size));

	if (!closed || !text ||
	    envelope_close(public_key, bound, leader->secrets, leader->config.secrets_size,
			   closed) < 0)
		return NULL;
	base64url_encode(closed, size, text);
	return json_string(text);
}

static void answer_joined(struct session *session, const char *public_key)
{
	struct leader *leader = session->leader;
	char name[CERTIFICATE_NAME_SIZE], installation[24];
	_cleanup_(freep) char *certificate = NULL;
	json_t *secrets;

	certificate_name_proxy(leader->config.installation, session->proxy.id, name);
	snprintf(installation, sizeof installation, "%016" PRIx64, leader->config.installation);
	certificate = issue(leader, name, public_key);
	secrets = wrap_secrets(leader, public_key, name);
	if (!certificate || !secrets) {
		json_decref(secrets);
		refuse(session, "failed", "the portal cannot make a certificate now; try again");
		return;
	}
	log_info(NULL, "CONTROL-JOINED", "%s: proxy %s has joined", session->peer,
		 session->proxy.name);
	link_send_json(&session->link, FRAME_LINK_JOINED,
		       json_pack("{s:I, s:s, s:s, s:s, s:s, s:o}", "id",
				 (json_int_t)session->proxy.id, "name", session->proxy.name,
				 "installation", installation, "certificate", certificate,
				 "authority", leader->authority, "secrets", secrets));
	link_end(&session->link, "joined");
}

static void on_join(struct session *session, const json_t *body)
{
	struct leader *leader = session->leader;
	const char *token = json_string_value(json_object_get(body, "token")),
		   *public_key = json_string_value(json_object_get(body, "public_key"));
	uint8_t hash[CERTIFICATE_HASH_SIZE];
	_cleanup_(freep) char *wrong = NULL;

	if (!agree(session, body))
		return;
	if (!token || !public_key || certificate_hash(public_key, hash) < 0) {
		refuse(session, "malformed", "the request to join is not well-formed");
		return;
	}
	wrong = leader->config.join(leader->config.ctx, token, hash, session->peer,
				    &session->proxy);
	if (wrong)
		refuse(session, "token", wrong);
	else
		answer_joined(session, public_key);
}

// ---- proxies that have joined

static struct session *find_session(const struct leader *leader, uint64_t id)
{
	LIST_FOREACH(pos, next, (struct list *)&leader->sessions)
	{
		struct session *session = LIST_ENTRY(pos, struct session, in_leader);

		if (session->named && session->proxy.id == id && !session->link.ending)
			return session;
	}
	return NULL;
}

// Fills in whose link this is. False: refused.
static bool identify(struct session *session)
{
	struct leader *leader = session->leader;
	const struct leader_config *config = &leader->config;
	SSL *ssl = session->link.transport.ssl;
	char name[CERTIFICATE_NAME_SIZE], expected[CERTIFICATE_NAME_SIZE];
	enum certificate_fault fault = certificate_check(ssl, leader->authority, name);
	_cleanup_(freep) char *public_key = certificate_peer_public(ssl);
	uint8_t hash[CERTIFICATE_HASH_SIZE];
	uint64_t id;

	if (fault != CERTIFICATE_FINE) {
		refuse(session, "certificate",
		       fault == CERTIFICATE_ABSENT ? "the proxy shows no certificate; it must join "
						     "with a token of mqpaasctl proxy invite"
		       : fault == CERTIFICATE_EXPIRED
			       ? "the proxy's certificate has expired, or its clock or the "
				 "portal's "
				 "is wrong; remove the proxy and invite it again"
			       : "the proxy belongs to another installation");
		return false;
	}
	id = strtoull(name, NULL, 10);
	certificate_name_proxy(config->installation, id, expected);
	if (strcmp(name, expected) != 0 || !public_key || certificate_hash(public_key, hash) < 0 ||
	    !config->knows(config->ctx, id, hash, session->proxy.name)) {
		refuse(session, "removed", "the proxy was removed from the installation");
		return false;
	}
	session->proxy.id = id;
	return true;
}

// A copied data directory; or the same process, whose earlier link has not ended here yet.
static bool is_only_one(struct session *session)
{
	struct session *other = find_session(session->leader, session->proxy.id);
	_cleanup_(freep) char *text = NULL;

	if (other && other->process == session->process)
		link_close(&other->link, "the proxy has connected again");
	else if (other) {
		text = text_format("another process with the identity of proxy %s is connected "
				   "from %s: was its data directory copied?",
				   session->proxy.name, other->peer);
		refuse(session, "twice", text);
		return false;
	}
	return true;
}

static void welcome(struct session *session)
{
	struct leader *leader = session->leader;
	SSL *ssl = session->link.transport.ssl;
	_cleanup_(freep) char *public_key = certificate_peer_public(ssl), *renewed = NULL;
	char name[CERTIFICATE_NAME_SIZE];

	// Whenever it connects: so the portal keeps no date of it.
	certificate_name_proxy(leader->config.installation, session->proxy.id, name);
	renewed = public_key ? issue(leader, name, public_key) : NULL;
	session->named = true;
	session->since_ms = clock_wall_ms();
	log_info(NULL, "CONTROL-LINK", "%s: proxy %s is connected", session->peer,
		 session->proxy.name);
	link_send_json(&session->link, FRAME_LINK_WELCOME,
		       json_pack("{s:i, s:s, s:s?, s:s}", "version", LINK_VERSION, "server_version",
				 leader->config.version, "certificate", renewed, "authority",
				 leader->authority));
}

static void on_hello(struct session *session, const json_t *body)
{
	const char *version = json_string_value(json_object_get(body, "server_version"));

	session->process = (uint64_t)json_integer_value(json_object_get(body, "process"));
	snprintf(session->version, sizeof session->version, "%s", version ? version : "");
	if (agree(session, body) && identify(session) && is_only_one(session))
		welcome(session);
}

// ---- feeding

static void send_slice(struct session *session, const struct feed_slice *slice)
{
	uint8_t head[HEAD_SIZE];

	le32_put(head, slice->turn);
	le32_put(head + 4, 0);
	le64_put(head + 8, slice->total);
	le64_put(head + 16, slice->offset);
	link_send(&session->link, FRAME_LINK_SLICE, head, sizeof head, slice->data, slice->size);
}

static void send_current(struct session *session)
{
	struct leader *leader = session->leader;
	uint8_t head[HEAD_SIZE + 8];

	le32_put(head, session->feed.turn);
	le32_put(head + 4, 0);
	le64_put(head + 8, leader->history.newest.source);
	le64_put(head + 16, leader->history.newest.revision);
	le64_put(head + 24, catalog_age_ns(leader->config.catalog, clock_now_ns()));
	link_send(&session->link, FRAME_LINK_CURRENT, head, sizeof head, NULL, 0);
}

static bool give_full(struct leader *leader)
{
	struct catalog_change *full;
	int r = catalog_copy(leader->config.catalog, &full);

	if (r == 0) {
		r = history_give_full(&leader->history, full->data, full->size);
		free(full);
	}
	if (r < 0)
		log_error(NULL, "CONTROL-COPY",
			  "a full copy of the configuration cannot be made: "
			  "%s",
			  strerror(-r));
	return r == 0;
}

static bool anyone_sends(const struct leader *leader)
{
	LIST_FOREACH(pos, next, (struct list *)&leader->sessions)
	if (LIST_ENTRY(pos, struct session, in_leader)->feed.sending)
		return true;
	return false;
}

static void pump(struct session *session)
{
	struct leader *leader = session->leader;
	struct feed_slice slice;

	while (session->named && session->link.open && link_has_room(&session->link)) {
		switch (feed_next(&session->feed, &leader->history, clock_now_ns(),
				  LINK_SLICE_BYTES, &slice)) {
		case FEED_IDLE:
			if (!anyone_sends(leader))
				history_rest(&leader->history);
			return;
		case FEED_SLICE: send_slice(session, &slice); break;
		case FEED_CURRENT: send_current(session); break;
		case FEED_FULL:
			if (!give_full(leader))
				return;
		}
	}
}

static void on_follow(struct session *session, struct slice payload)
{
	const uint8_t *at = payload.data;

	if (payload.size != HEAD_SIZE || (le32_get(at + 4) & ~1u)) {
		link_close(&session->link, "LINK_FOLLOW is not well-formed");
		return;
	}
	feed_follow(&session->feed, le32_get(at),
		    (struct link_position){le64_get(at + 8), le64_get(at + 16)},
		    le32_get(at + 4) & 1);
	pump(session);
}

static void on_status(struct session *session, const json_t *body)
{
	session->holds.source = (uint64_t)json_integer_value(json_object_get(body, "source"));
	session->holds.revision = (uint64_t)json_integer_value(json_object_get(body, "revision"));
	if (link_position_same(session->holds, session->leader->history.newest))
		session->current_ns = clock_now_ns();
}

static void on_frame(struct link *link, uint8_t type, struct slice payload)
{
	struct session *session = CONTAINER_OF(link, struct session, link);
	json_t *body = type == FRAME_LINK_FOLLOW ? NULL : link_json(payload);

	if (type == FRAME_LINK_FOLLOW && session->named)
		on_follow(session, payload);
	else if (type == FRAME_LINK_STATUS && session->named && body)
		on_status(session, body);
	else if (type == FRAME_LINK_JOIN && !session->named && body)
		on_join(session, body);
	else if (type == FRAME_LINK_HELLO && !session->named && body)
		on_hello(session, body);
	else
		link_close(link, "a frame that does not belong here");
	json_decref(body);
}

// ---- links

static void on_established(struct link *link)
{
}

// Also once a second: an unauthenticated client that sends byte by byte holds no place for long.
static void on_room(struct link *link)
{
	struct session *session = CONTAINER_OF(link, struct session, link);

	if (!session->named && clock_now_ns() > session->opened_ns + UNNAMED_NS)
		link_close(link, "it has not said who it is");
	else
		pump(session);
}

static void on_closed(struct link *link, const char *why)
{
	struct session *session = CONTAINER_OF(link, struct session, link);

	if (session->named)
		log_info(NULL, "CONTROL-LINK", "%s: proxy %s is no longer connected: %s",
			 session->peer, session->proxy.name, why);
	list_unlink(&session->in_leader);
	--session->leader->session_count;
	feed_deinit(&session->feed);
	loop_free_later(session->leader->loop, session, free);
}

static const struct link_ops session_ops = {
	.established = on_established, .frame = on_frame, .room = on_room, .closed = on_closed};

static void peer_text(const struct sockaddr_storage *address, socklen_t size, char ret[PEER_SIZE])
{
	char host[PEER_SIZE - 10], port[8];

	if (getnameinfo((const struct sockaddr *)address, size, host, sizeof host, port,
			sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) == 0)
		snprintf(ret, PEER_SIZE, "%s:%s", host, port);
	else
		snprintf(ret, PEER_SIZE, "?");
}

static void accept_one(struct leader *leader, int fd, const struct sockaddr_storage *address,
		       socklen_t size)
{
	struct session *session =
		leader->session_count < SESSIONS_MAX ? calloc(1, sizeof *session) : NULL;

	if (!session) {
		close(fd);
		return;
	}
	session->leader = leader;
	session->opened_ns = clock_now_ns();
	feed_init(&session->feed);
	peer_text(address, size, session->peer);
	if (link_open(&session->link, leader->loop, fd, leader->context, true, &session_ops) < 0) {
		free(session);
		return;
	}
	list_push_back(&leader->sessions, &session->in_leader);
	++leader->session_count;
}

static void on_accept(struct loop_io *io, unsigned events)
{
	struct leader *leader = CONTAINER_OF(io, struct leader, io);
	struct sockaddr_storage address;
	socklen_t size = sizeof address;
	int fd = accept4(io->fd, (struct sockaddr *)&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0)
		accept_one(leader, fd, &address, size);
}

// ---- life

static int socket_listen(const char *text, unsigned *ret_port)
{
	char host[256];
	const char *colon = strrchr(text, ':');
	bool bracket = text[0] == '[';
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				       .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV};
	struct sockaddr_storage bound;
	socklen_t size = sizeof bound;
	struct addrinfo *info;
	int fd, on = 1, r = 0;

	if (!colon)
		return -EINVAL;
	snprintf(host, sizeof host, "%.*s", (int)(colon - text) - 2 * bracket, text + bracket);
	if (getaddrinfo(host, colon + 1, &hints, &info) != 0)
		return -EINVAL;
	fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
	    bind(fd, info->ai_addr, info->ai_addrlen) < 0 || listen(fd, 128) < 0 ||
	    getsockname(fd, (struct sockaddr *)&bound, &size) < 0)
		r = -errno;
	freeaddrinfo(info);
	if (r < 0) {
		closep(&fd);
		return r;
	}
	*ret_port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
						      : ((struct sockaddr_in *)&bound)->sin_port);
	return fd;
}

static int leader_listen(struct leader *leader)
{
	int fd = socket_listen(leader->config.address, &leader->port), r;

	if (fd < 0)
		return fd;
	r = loop_io_init(&leader->io, leader->loop, fd, on_accept);
	if (r < 0) {
		close(fd);
		leader->io.fd = -1;
		return r;
	}
	return loop_io_want(&leader->io, LOOP_READ);
}

static int leader_init(struct leader *leader)
{
	const struct leader_config *config = &leader->config;
	int r;

	leader->authority_key = strdup(config->authority_key);
	leader->authority = strdup(config->authority);
	leader->portal_key = certificate_key_new();
	leader->secrets = malloc(config->secrets_size);
	if (!leader->authority_key || !leader->authority || !leader->portal_key || !leader->secrets)
		return -ENOMEM;
	memcpy(leader->secrets, config->secrets, config->secrets_size);
	r = certificate_renew(leader);
	if (r == 0)
		r = history_init(&leader->history, HISTORY_COUNT, HISTORY_BYTES);
	if (r < 0)
		return r;
	history_start(&leader->history, (struct link_position){catalog_source(config->catalog),
							       catalog_revision(config->catalog)});
	return leader_listen(leader);
}

int leader_new(struct loop *loop, const struct leader_config *config, struct leader **ret)
{
	struct leader *leader = calloc(1, sizeof *leader);
	int r;

	if (!leader)
		return -ENOMEM;
	leader->loop = loop;
	leader->config = *config;
	leader->io.fd = -1;
	list_init(&leader->sessions);
	loop_timer_init(&leader->timer, loop, on_timer);
	r = leader_init(leader);
	if (r < 0) {
		leader_free(leader);
		return r;
	}
	loop_timer_set(&leader->timer, clock_now_ns() + 3600 * S_NS);
	*ret = leader;
	return 0;
}

void leader_free(struct leader *leader)
{
	if (!leader)
		return;
	loop_timer_cancel(&leader->timer);
	LIST_FOREACH(pos, next, &leader->sessions)
	link_close(&LIST_ENTRY(pos, struct session, in_leader)->link, "the portal ends");
	loop_io_deinit(&leader->io);
	closep(&leader->io.fd);
	if (leader->history.changes)
		history_deinit(&leader->history);
	SSL_CTX_free(leader->context);
	if (leader->secrets)
		explicit_bzero(leader->secrets, leader->config.secrets_size);
	free(leader->secrets);
	free(leader->authority_key);
	free(leader->authority);
	free(leader->certificate);
	free(leader->portal_key);
	free(leader);
}

unsigned leader_port(const struct leader *leader)
{
	return leader->port;
}

void leader_published(struct leader *leader, const struct catalog_change *change)
{
	int r = history_add(&leader->history, change->data, change->size);

	if (r < 0)
		log_warn(NULL, "CONTROL-HISTORY",
			 "a change is not kept for proxies, which take a "
			 "full copy: %s",
			 strerror(-r));
	LIST_FOREACH(pos, next, &leader->sessions)
	pump(LIST_ENTRY(pos, struct session, in_leader));
}

json_t *leader_status(const struct leader *leader, uint64_t id)
{
	const struct session *session = find_session(leader, id);
	uint64_t now_ns = clock_now_ns();

	if (!session)
		return json_pack("{s:b}", "connected", 0);
	return json_pack(
		"{s:b, s:s, s:I, s:s, s:I, s:b, s:o}", "connected", 1, "address", session->peer,
		"since_ms", (json_int_t)session->since_ms, "version", session->version, "revision",
		(json_int_t)session->holds.revision, "current",
		link_position_same(session->holds, leader->history.newest), "age_ms",
		session->current_ns
			? json_integer((json_int_t)((now_ns - session->current_ns) / MS_NS))
			: json_null());
}

void leader_remove(struct leader *leader, uint64_t id)
{
	struct session *session = find_session(leader, id);

	if (session)
		refuse(session, "removed", "the proxy was removed from the installation");
}
