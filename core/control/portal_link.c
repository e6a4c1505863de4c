// Keeps a link to one of the portal's addresses, and applies what comes to the catalog.
//
// Waits between attempts are doubled from 0.2 s to 5 s and begin anew when a link was welcomed. A
// reason is logged when it is another one than before, so that a portal that is away for a day is
// one line.
//
// Decoding, indexes and the file are this thread's work; loops see new pointers (catalog.c).
//
// Not here: what to do with a change (follower.c), and the file that the identity is kept in.

#include "core/control/portal_link.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/catalog/catalog.h"
#include "core/control/certificate.h"
#include "core/control/dial.h"
#include "core/control/follower.h"
#include "core/control/link.h"
#include "core/loop/loop_thread.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

#define WAIT_LEAST_NS (200 * MS_NS)
#define WAIT_MOST_NS  (5 * S_NS)
#define RENEW_NS      (3600 * S_NS)
#define HEAD_SIZE     24u
#define CURRENT_SIZE  32u

struct portal_link {
	struct portal_link_config config;
	char *version, *key, *certificate, *authority, **portals;
	struct loop *loop;
	struct loop_thread thread;
	struct loop_timer dial_timer, renew_timer;
	SSL_CTX *context;
	struct link link;
	struct follower follower;
	bool welcomed, gone;
	size_t which; // of the portals
	uint64_t wait_ns, status_ns, process;
	char why[256]; // the last one logged
};

static struct portal_link *owner_of(struct link *link)
{
	return CONTAINER_OF(link, struct portal_link, link);
}

static const char *address_of(const struct portal_link *link)
{
	return link->portals[link->which % link->config.portal_count];
}

// ---- what is sent

static void send_status(struct portal_link *link)
{
	link->status_ns = clock_now_ns();
	link_send_json(&link->link, FRAME_LINK_STATUS,
		       json_pack("{s:I, s:I}", "source", (json_int_t)link->follower.holds.source,
				 "revision", (json_int_t)link->follower.holds.revision));
}

static void send_requests(struct portal_link *link)
{
	struct follower_request request;
	uint8_t head[HEAD_SIZE];

	while (follower_next(&link->follower, &request)) {
		le32_put(head, request.turn);
		le32_put(head + 4, request.full);
		le64_put(head + 8, request.position.source);
		le64_put(head + 16, request.position.revision);
		link_send(&link->link, FRAME_LINK_FOLLOW, head, sizeof head, NULL, 0);
	}
}

static void on_room(struct link *connection)
{
	struct portal_link *link = owner_of(connection);

	if (link->welcomed && clock_now_ns() >= link->status_ns + S_NS)
		send_status(link);
}

// ---- what comes

static int apply(struct portal_link *link)
{
	struct follower *follower = &link->follower;
	struct catalog_change *change = malloc(sizeof *change + follower->got);
	int r = -ENOMEM;

	if (change) {
		change->size = follower->got;
		memcpy(change->data, follower->data, change->size);
		r = catalog_apply(link->config.catalog, change);
	}
	free(change);
	return r;
}

static void take_change(struct portal_link *link)
{
	struct follower *follower = &link->follower;
	int r;

	switch (follower_judge(follower)) {
	case FOLLOWER_GAP: return;
	case FOLLOWER_PASS:
		log_error(NULL, "CONTROL-OLDER",
			  "the portal at %s offers a configuration that is older than the one held "
			  "here: was its registry replaced by an older file? It is restored with "
			  "mqpaasd --restore",
			  address_of(link));
		return;
	case FOLLOWER_APPLY: break;
	}
	r = apply(link);
	if (r == 0) {
		follower_applied(follower);
		send_status(link);
		return;
	}
	log_error(NULL, "CONTROL-APPLY", "a change of the configuration is not taken: %s",
		  r == -ENOTSUP ? "it is in a format of a newer version; upgrade this proxy"
				: strerror(r < 0 ? -r : EPROTO));
	if (follower_refused(follower))
		link_close(&link->link, "the configuration cannot be taken");
}

static int on_slice(struct portal_link *link, struct slice payload)
{
	struct follower_slice slice;
	int r;

	if (payload.size <= HEAD_SIZE || le32_get(payload.data + 4))
		return -EPROTO;
	slice = (struct follower_slice){.turn = le32_get(payload.data),
					.total = le64_get(payload.data + 8),
					.offset = le64_get(payload.data + 16),
					.data = payload.data + HEAD_SIZE,
					.size = payload.size - HEAD_SIZE};
	r = follower_slice(&link->follower, 0, &slice);
	if (r == FOLLOWER_CHANGE)
		take_change(link);
	return MIN(r, 0);
}

static int on_current(struct portal_link *link, struct slice payload)
{
	uint64_t before = link->follower.confirmed_ns;
	struct follower_offer offer;

	if (payload.size != CURRENT_SIZE || le32_get(payload.data + 4))
		return -EPROTO;
	offer = (struct follower_offer){
		.turn = le32_get(payload.data),
		.position = {le64_get(payload.data + 8), le64_get(payload.data + 16)},
		.age_ns = le64_get(payload.data + 24)};
	follower_offered(&link->follower, 0, &offer, clock_now_ns());
	if (link->follower.confirmed_ns != before)
		catalog_confirm(link->config.catalog, link->follower.confirmed_ns);
	return 0;
}

static void renew(struct portal_link *link, const char *certificate, const char *authority)
{
	SSL_CTX *context = certificate_context(false, link->key, certificate, authority);
	char *new_certificate = strdup(certificate), *new_authority = strdup(authority);

	if (!context || !new_certificate || !new_authority) {
		SSL_CTX_free(context);
		free(new_certificate);
		free(new_authority);
		return;
	}
	SSL_CTX_free(link->context);
	free(link->certificate);
	free(link->authority);
	link->context = context;
	link->certificate = new_certificate;
	link->authority = new_authority;
	link->config.renewed(link->config.ctx, certificate, authority);
}

static int on_welcome(struct portal_link *link, const json_t *body)
{
	const char *certificate = json_string_value(json_object_get(body, "certificate")),
		   *authority = json_string_value(json_object_get(body, "authority"));

	if (!body || link->welcomed)
		return -EPROTO;
	link->welcomed = true;
	link->wait_ns = WAIT_LEAST_NS;
	link->why[0] = '\0';
	log_info(NULL, "CONTROL-LINK", "follows the portal at %s", address_of(link));
	if (certificate && authority && certificate_is_old(link->certificate, clock_wall_ms()))
		renew(link, certificate, authority);
	follower_up(&link->follower, 0, true);
	send_status(link);
	return 0;
}

static void on_refused(struct portal_link *link, const json_t *body)
{
	const char *reason = json_string_value(json_object_get(body, "reason")),
		   *text = json_string_value(json_object_get(body, "text"));
	char why[200];

	snprintf(why, sizeof why, "refused: %s", text ? text : "without a reason");
	link->gone = reason && strcmp(reason, "removed") == 0;
	link_close(&link->link, why);
	if (link->gone)
		link->config.removed(link->config.ctx);
}

static void on_frame(struct link *connection, uint8_t type, struct slice payload)
{
	struct portal_link *link = owner_of(connection);
	bool binary = type == FRAME_LINK_SLICE || type == FRAME_LINK_CURRENT;
	json_t *body = binary ? NULL : link_json(payload);
	int r = -EPROTO;

	if (type == FRAME_LINK_SLICE && link->welcomed)
		r = on_slice(link, payload);
	else if (type == FRAME_LINK_CURRENT && link->welcomed)
		r = on_current(link, payload);
	else if (type == FRAME_LINK_WELCOME)
		r = on_welcome(link, body);
	if (type == FRAME_LINK_REFUSED)
		on_refused(link, body);
	else if (r < 0)
		link_close(connection, r == -ENOMEM ? "out of memory"
						    : "the portal sends what does not belong here");
	else if (connection->open)
		send_requests(link);
	json_decref(body);
}

// ---- connecting

static void on_established(struct link *connection)
{
	struct portal_link *link = owner_of(connection);
	char name[CERTIFICATE_NAME_SIZE], expected[CERTIFICATE_NAME_SIZE];
	enum certificate_fault fault =
		certificate_check(connection->transport.ssl, link->authority, name);

	certificate_name_portal(link->config.installation, expected);
	if (fault == CERTIFICATE_EXPIRED) {
		link_close(connection, "the portal's certificate has expired, or its clock or this "
				       "one is wrong");
	} else if (fault != CERTIFICATE_FINE || strcmp(name, expected) != 0) {
		link_close(connection, "it is the portal of another installation");
	} else {
		link_send_json(connection, FRAME_LINK_HELLO,
			       json_pack("{s:i, s:i, s:s, s:I}", "version", LINK_VERSION, "least",
					 LINK_LEAST, "server_version", link->version, "process",
					 (json_int_t)link->process));
	}
}

static void try_later(struct portal_link *link, const char *why)
{
	char text[sizeof link->why];

	if (link->gone)
		return;
	snprintf(text, sizeof text, "%s: %s", address_of(link), why);
	if (strcmp(text, link->why) != 0)
		log_warn(NULL, "CONTROL-LINK",
			 "the portal is not followed (%s); this proxy serves what it holds, and "
			 "tries again",
			 text);
	snprintf(link->why, sizeof link->why, "%s", text);
	++link->which;
	loop_timer_set(&link->dial_timer, clock_now_ns() + link->wait_ns);
	link->wait_ns = MIN(link->wait_ns * 2, WAIT_MOST_NS);
}

static void on_closed(struct link *connection, const char *why)
{
	struct portal_link *link = owner_of(connection);

	if (link->welcomed)
		follower_down(&link->follower, 0);
	link->welcomed = false;
	try_later(link, why);
}

static const struct link_ops portal_ops = {
	.established = on_established, .frame = on_frame, .room = on_room, .closed = on_closed};

static void on_dial(struct loop_timer *timer)
{
	struct portal_link *link = CONTAINER_OF(timer, struct portal_link, dial_timer);
	int r = dial_start(address_of(link));

	if (r >= 0)
		r = link_open(&link->link, link->loop, r, link->context, false, &portal_ops);
	if (r < 0)
		try_later(link, strerror(-r));
}

// The portal gives a new certificate with each welcome.
static void on_renew(struct loop_timer *timer)
{
	struct portal_link *link = CONTAINER_OF(timer, struct portal_link, renew_timer);

	if (link->welcomed && certificate_is_old(link->certificate, clock_wall_ms()))
		link_close(&link->link, "for a new certificate");
	loop_timer_set(timer, clock_now_ns() + RENEW_NS);
}

// ---- life

static int copy_config(struct portal_link *link, const struct portal_link_config *config)
{
	bool whole;

	link->version = strdup(config->version);
	link->key = strdup(config->key);
	link->certificate = strdup(config->certificate);
	link->authority = strdup(config->authority);
	link->portals = calloc(config->portal_count, sizeof(char *));
	whole = link->version && link->key && link->certificate && link->authority &&
		link->portals && config->portal_count;
	for (size_t i = 0; whole && i < config->portal_count; ++i)
		whole = (link->portals[i] = strdup(config->portals[i])) != NULL;
	return whole ? 0 : -ENOMEM;
}

static void link_release(struct portal_link *link)
{
	follower_deinit(&link->follower);
	if (link->loop)
		loop_free(link->loop);
	SSL_CTX_free(link->context);
	for (size_t i = 0; link->portals && i < link->config.portal_count; ++i)
		free(link->portals[i]);
	free(link->portals);
	free(link->version);
	free(link->key);
	free(link->certificate);
	free(link->authority);
	free(link);
}

static int link_prepare(struct portal_link *link, const struct portal_link_config *config)
{
	int r = copy_config(link, config);

	if (r < 0)
		return r;
	if (getrandom(&link->process, sizeof link->process, 0) != sizeof link->process)
		return -EIO;
	link->process >>= 1; // as JSON's integers are signed
	link->context = certificate_context(false, link->key, link->certificate, link->authority);
	if (!link->context)
		return -EBADMSG;
	r = loop_new("control", &link->loop);
	if (r < 0)
		return r;
	loop_timer_init(&link->dial_timer, link->loop, on_dial);
	loop_timer_init(&link->renew_timer, link->loop, on_renew);
	loop_timer_set(&link->dial_timer, clock_now_ns());
	loop_timer_set(&link->renew_timer, clock_now_ns() + RENEW_NS);
	return loop_thread_start(&link->thread, link->loop);
}

int portal_link_start(const struct portal_link_config *config, struct portal_link **ret)
{
	struct portal_link *link = calloc(1, sizeof *link);
	int r;

	if (!link)
		return -ENOMEM;
	link->config = *config;
	link->wait_ns = WAIT_LEAST_NS;
	follower_init(&link->follower, (struct link_position){catalog_source(config->catalog),
							      catalog_revision(config->catalog)});
	r = link_prepare(link, config);
	if (r < 0)
		link_release(link);
	else
		*ret = link;
	return r;
}

void portal_link_stop(struct portal_link *link)
{
	if (!link)
		return;
	loop_thread_stop(&link->thread);
	link->gone = true;
	link_close(&link->link, "this proxy ends");
	loop_timer_cancel(&link->dial_timer);
	loop_timer_cancel(&link->renew_timer);
	link_release(link);
}
